// SPDX-License-Identifier: GPL-2.0
#include "arch.hpp"

#include <string>

#include <unistd.h>

#include "proc.hpp"

bool have_pool()
{
	return arch == arch_id::x86_64 && exists(debugfs("execmem")) && kernel_parameter("execmem") != "off";
}

bool have_large_leaves()
{
	return have_pool() && kernel_parameter("execmem") != "pages" &&
	       read_or_fail("/proc/cmdline").find("nohugevmalloc") == std::string::npos;
}

u64 page_size()
{
	return sysconf(_SC_PAGESIZE);
}
