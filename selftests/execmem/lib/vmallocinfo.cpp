// SPDX-License-Identifier: GPL-2.0
#include "vmallocinfo.hpp"

#include <cstdlib>

#include "proc.hpp"

std::vector<vmalloc_area> vmallocinfo()
{
	std::vector<vmalloc_area> areas;

	show_pointers();
	for (const std::string &line : split(read_or_fail("/proc/vmallocinfo"))) {
		/* START-END SIZE CALLER+OFFSET/LENGTH pages=N FLAG ... */
		const std::vector<std::string> w = words(line);
		char *end = nullptr;
		const u64 size = w.size() < 3 ? 0 : strtoull(w[1].c_str(), &end, 10);

		if (!line.starts_with("0x") || w.size() < 3 || *end)
			throw cannot_read("/proc/vmallocinfo: cannot parse \"" + line + "\"");
		vmalloc_area a { strtoull(w[0].c_str(), nullptr, 16), size, 0, w[2].substr(0, w[2].find('+')), false };
		for (const std::string &word : w) {
			if (word.starts_with("pages="))
				a.pages = strtoull(word.c_str() + 6, nullptr, 10);
			a.owner_mapped |= word == "owner-mapped";
		}
		areas.push_back(std::move(a));
	}
	if (areas.empty())
		throw cannot_read("/proc/vmallocinfo is empty");
	return areas;
}
