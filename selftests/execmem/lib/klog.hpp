/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's log. */
#ifndef EXECMEM_KLOG_HPP
#define EXECMEM_KLOG_HPP

#include <string>
#include <utility>

#include <sys/klog.h>

#include "ktap.hpp"
#include "types.hpp"

/*
 * The kernel log from the oldest record kept, without the record prefixes. A log
 * that cannot be read ends the case: nothing would be found in it.
 */
std::string kernel_log();

/* Where the log ended, and what it says after that. */
struct log_mark {
	s64 last;	/* sequence number of the last record then, -1 if there was none */

	log_mark();

	std::string since() const;
};

/*
 * While failures are provoked the kernel warns of them, with a stack dump:
 * keep that off the console, where a stack dump counts as a mistake, and look
 * for all others here.
 */
struct expected_noise {
	log_mark mark;
	std::string expected;	/* a regular expression, see splats.hpp; may be empty */

	explicit expected_noise(std::string pattern) : expected(std::move(pattern)) { klogctl(6, nullptr, 0); }
	~expected_noise() { klogctl(7, nullptr, 0); }

	result no_splat() const;
};

/* What the kernel says when it has no memory or no room, of its own or by a fault. */
inline constexpr const char *no_memory =
	"page allocation failure: order|vmalloc error: size|percpu: allocation failed|forcing a failure";

#endif /* EXECMEM_KLOG_HPP */
