/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's page-table dump. */
#ifndef EXECMEM_PAGE_TABLES_HPP
#define EXECMEM_PAGE_TABLES_HPP

#include <string>
#include <string_view>
#include <vector>

#include "ktap.hpp"
#include "types.hpp"

struct mapping {
	u64 start, end;
	u64 phys;		/* 0 where the dump does not say */
	bool write, exec;
	std::string level;	/* "pte", "PMD", ... */
	std::string area;	/* the marker above the line */
	std::string line;

	bool wx() const { return write && exec; }
};

struct area_marker {
	std::string name;
	u64 start;		/* of the first line below it */
};

/*
 * PTDUMP_DEBUGFS in the formats of x86, arm64, arm, riscv, s390 and powerpc:
 *
 *   ---[ name ]---
 *   0xSTART-0xEND [0xPHYS] SIZE flag flag ... level
 *
 * Only mapped ranges are kept.  A line that is neither is an error, so that
 * a new format cannot pass for an empty address space.
 */
struct page_tables {
	std::vector<mapping> maps;
	std::vector<area_marker> areas;
	size_t lines = 0, exec_ranges = 0;
	std::string error;

	static std::string path();

	/* The dump of now. Without one @error says so; one that cannot be understood ends the case. */
	page_tables();

	explicit page_tables(std::string_view text);

	const mapping *find(u64 addr) const;

	/* Start of the marker named @name, or 0. */
	u64 area(std::string_view name) const;

	/*
	 * All of the kernel but the first page of s390: lowcore, which the machine
	 * writes to and in which two instructions stand that leave the kernel.
	 */
	std::vector<mapping> wx() const;

private:
	bool parse_range(const std::string &line, const std::string &area);
};

/* Skips without a dump to look at. */
result need_dump();

/* Nothing is writable and executable now, @when; what was found is told. */
result no_wx(const char *when = "now");

#endif /* EXECMEM_PAGE_TABLES_HPP */
