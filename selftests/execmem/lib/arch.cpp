// SPDX-License-Identifier: GPL-2.0
#include "arch.hpp"

#include <string>

#include <unistd.h>

#include "proc.hpp"

/*
 * In the words of "execmem.expect=" (see the harness, which sees to it that the
 * kernel agrees): pool, pages, off, stock. Without a harness that knows, what the
 * kernel and its command line say.
 */
static std::string source_of_text()
{
	const std::string expected = kernel_parameter("execmem.expect").value_or("any");
	const std::string asked = kernel_parameter("execmem").value_or("pools");

	if (expected != "any")
		return expected;
	if (!exists(debugfs("execmem")))
		return "stock";
	if (arch != arch_id::x86_64 || asked == "off")
		return "off";
	return asked == "pages" || read_or_fail("/proc/cmdline").find("nohugevmalloc") != std::string::npos ?
		"pages" : "pool";
}

bool have_pool()
{
	const std::string source = source_of_text();

	return source == "pool" || source == "pages";
}

bool have_large_leaves()
{
	return source_of_text() == "pool";
}

u64 page_size()
{
	return sysconf(_SC_PAGESIZE);
}
