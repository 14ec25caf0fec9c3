/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's log. */
#ifndef EXECMEM_KLOG_HPP
#define EXECMEM_KLOG_HPP

#include <string>

#include <sys/klog.h>

#include "ktap.hpp"

/* The kernel log from the oldest record kept, without the record prefixes. */
std::string kernel_log();

/* Leave a mark in the log and give back what the log says after it. */
struct log_mark {
	std::string mark;

	log_mark();

	std::string since() const;
};

/*
 * While failures are provoked the kernel warns of them, with a stack dump:
 * keep that off the console, where a stack dump counts as a mistake, and look
 * for real ones here.
 */
struct expected_noise {
	log_mark mark;

	expected_noise() { klogctl(6, nullptr, 0); }	/* console off */
	~expected_noise() { klogctl(7, nullptr, 0); }	/* and on */

	result no_splat() const;
};

#endif /* EXECMEM_KLOG_HPP */
