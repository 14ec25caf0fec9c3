// SPDX-License-Identifier: GPL-2.0
#include "ktap.hpp"

#include <cstdarg>
#include <cstdio>

std::string vformat(const char *fmt, va_list ap)
{
	char buf[1024];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	return buf;
}

std::string format(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	std::string s = vformat(fmt, ap);
	va_end(ap);
	return s;
}

void diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# %s\n", vformat(fmt, ap).c_str());
	va_end(ap);
}

result pass()
{
	return { result::PASS, "" };
}

result fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result r = { result::FAIL, vformat(fmt, ap) };
	va_end(ap);
	return r;
}

result skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result r = { result::SKIP, vformat(fmt, ap) };
	va_end(ap);
	return r;
}
