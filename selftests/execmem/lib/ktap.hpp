/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a test case returns, and lines of KTAP.
 *
 * A SKIP says which option or device is missing; broken setup is a failure.
 */
#ifndef EXECMEM_KTAP_HPP
#define EXECMEM_KTAP_HPP

#include <cerrno>
#include <cstring>
#include <string>

struct result {
	enum { PASS, FAIL, SKIP } verdict;
	std::string why;
};

std::string vformat(const char *fmt, va_list ap);

[[gnu::format(printf, 1, 2)]] std::string format(const char *fmt, ...);

[[gnu::format(printf, 1, 2)]] void diag(const char *fmt, ...);

result pass();

[[gnu::format(printf, 1, 2)]] result fail(const char *fmt, ...);

[[gnu::format(printf, 1, 2)]] result skip(const char *fmt, ...);

#define CHECK(cond, ...)			\
	do {					\
		if (!(cond))			\
			return fail(__VA_ARGS__); \
	} while (0)

/* Hand on a failure or a skip of a helper. */
#define TRY(expr)					\
	do {						\
		result try_r = (expr);			\
		if (try_r.verdict != result::PASS)	\
			return try_r;			\
	} while (0)

#endif /* EXECMEM_KTAP_HPP */
