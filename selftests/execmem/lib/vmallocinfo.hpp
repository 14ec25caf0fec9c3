/* SPDX-License-Identifier: GPL-2.0 */
/* /proc/vmallocinfo */
#ifndef EXECMEM_VMALLOCINFO_HPP
#define EXECMEM_VMALLOCINFO_HPP

#include <string>
#include <vector>

#include "types.hpp"

struct vmalloc_area {
	u64 addr, size, pages;
	std::string caller;	/* the function alone */
	bool owner_mapped;	/* piece by piece */
};

/* All areas, of which there are always some; cannot_read where a line is not understood. */
std::vector<vmalloc_area> vmallocinfo();

#endif /* EXECMEM_VMALLOCINFO_HPP */
