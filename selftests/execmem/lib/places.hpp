/* SPDX-License-Identifier: GPL-2.0 */
/* Where the architecture wants run-time text to lie, and how it has to be mapped there. */
#ifndef EXECMEM_PLACES_HPP
#define EXECMEM_PLACES_HPP

#include <string>

#include "kallsyms.hpp"
#include "ktap.hpp"
#include "page_tables.hpp"
#include "types.hpp"

/* What the architecture promises, from its memory layout (not from execmem). */
struct region {
	u64 start, end;

	bool holds(u64 addr) const { return addr >= start && addr < end; }
};

struct layout {
	region image;		/* [_text, _end) */
	region module;		/* modules, ftrace */
	region kprobe;
	region bpf;
};

/* All that is asked where things lie, as it is now. */
struct view {
	kallsyms ks;
	page_tables pt;
	layout where;

	view();
};

/* Where things lie can be seen, and it is known where they should. */
result need_places();

enum perm { ROX, RO, RW };

/* @addr lies in @r, and not in the image, and is mapped as @p. */
result check_place(const view &v, const char *what, u64 addr, const region &r, perm p);

#endif /* EXECMEM_PLACES_HPP */
