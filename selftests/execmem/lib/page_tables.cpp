// SPDX-License-Identifier: GPL-2.0
#include "page_tables.hpp"

#include <algorithm>
#include <cstdlib>

#include "arch.hpp"
#include "proc.hpp"

std::string page_tables::path()
{
	for (const char *p : { "page_tables/kernel", "kernel_page_tables" })
		if (exists(debugfs(p)))
			return debugfs(p);
	return "";
}

page_tables::page_tables() : page_tables(path().empty() ? "" : read_or_fail(path()))
{
	if (path().empty())
		return;
	if (error.empty() && !exec_ranges)
		error = format("no executable range among %zu lines", lines);
	if (!error.empty())
		throw cannot_read(path() + ": " + error);
}

page_tables::page_tables(std::string_view text)
{
	std::string area;

	for (const std::string &line : split(text)) {
		lines++;
		if (line.starts_with("---[ ")) {
			area = line.substr(5, line.find(" ]---") - 5);
			areas.push_back({ area, 0 });
			continue;
		}
		/* x86 cuts the repetitive ESPfix area short and says so. */
		if (line.find("skipped ...") != line.npos && area == "ESPfix Area")
			continue;
		if (!parse_range(line, area) && error.empty())
			error = "cannot parse \"" + line + "\"";
	}
	if (lines == 0)
		error = "empty page-table dump";
}

const mapping *page_tables::find(u64 addr) const
{
	auto it = std::upper_bound(maps.begin(), maps.end(), addr,
		[](u64 a, const mapping &m) { return a < m.start; });

	if (it == maps.begin())
		return nullptr;
	--it;
	return addr < it->end ? &*it : nullptr;
}

u64 page_tables::area(std::string_view name) const
{
	for (const area_marker &a : areas)
		if (a.name == name)
			return a.start;
	return 0;
}

std::vector<mapping> page_tables::wx() const
{
	std::vector<mapping> v;

	for (const mapping &m : maps)
		if (m.wx() && (arch != arch_id::s390 || m.start || m.end != 4096))
			v.push_back(m);
	return v;
}

bool page_tables::parse_range(const std::string &line, const std::string &area)
{
	mapping m { };
	bool mapped = false, invalid = false;
	char *end;

	if (!line.starts_with("0x"))
		return false;
	m.start = strtoull(line.c_str(), &end, 16);
	if (*end != '-')
		return false;
	m.end = strtoull(end + 1, &end, 16);
	if ((m.end & 0xfff) == 0xfff)	/* powerpc: the last byte */
		m.end++;
	if (*end != ' ')
		return false;
	for (area_marker &a : areas)
		if (!a.start && &a == &areas.back())
			a.start = m.start;
	for (const std::string &w : words(end)) {
		if (w.starts_with("0x"))
			m.phys = strtoull(w.c_str(), nullptr, 16);
		else if (w == "x" || w == "X")
			m.exec = true;
		else if (w == "RW" || w == "W" || w == "rw" || w == "w")
			m.write = mapped = true;
		else if (w == "ro" || w == "RO" || w == "r" || w == "R" || w == "NX")
			mapped = true;
		else if (w == "F" || w == "I")
			invalid = true;
		else if (w == "pte" || w == "PTE" || w == "pmd" || w == "PMD" ||
			 w == "pud" || w == "PUD" || w == "p4d" || w == "P4D" ||
			 w == "pgd" || w == "PGD")
			m.level = w;
	}
	if (m.exec)
		mapped = true;
	if (!mapped || invalid)
		return true;
	if (m.exec)
		exec_ranges++;
	m.area = area;
	m.line = line;
	maps.push_back(std::move(m));
	return true;
}

result need_dump()
{
	if (page_tables::path().empty())
		return skip("CONFIG_PTDUMP_DEBUGFS is not set");
	return pass();
}

result no_wx(const char *when)
{
	TRY(need_dump());
	const page_tables pt;
	const std::vector<mapping> bad = pt.wx();

	for (size_t i = 0; i < bad.size() && i < 16; i++)
		diag("W+X in \"%s\": %s", bad[i].area.c_str(), bad[i].line.c_str());
	CHECK(bad.empty(), "%zu W+X ranges %s", bad.size(), when);
	return pass();
}
