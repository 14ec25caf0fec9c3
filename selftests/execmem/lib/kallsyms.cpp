// SPDX-License-Identifier: GPL-2.0
#include "kallsyms.hpp"

#include <cstdlib>
#include <cstring>

#include "proc.hpp"

kallsyms::kallsyms()
{
	show_pointers();
	std::string all = read_or_fail("/proc/kallsyms");
	const char *p = all.c_str();

	while (*p) {
		const char *nl = strchrnul(p, '\n');
		char *end;
		symbol s;

		s.addr = strtoull(p, &end, 16);
		if (end[0] == ' ' && end[1] && end[2] == ' ') {
			const char *name = end + 3;
			const char *tab = static_cast<const char *>(memchr(name, '\t', nl - name));

			s.type = end[1];
			s.name.assign(name, tab ? tab : nl);
			if (tab && nl - tab > 3)
				s.module.assign(tab + 2, nl - 1);
			syms.push_back(std::move(s));
		}
		p = *nl ? nl + 1 : nl;
	}
}

u64 kallsyms::addr(std::string_view name, std::string_view module) const
{
	for (const symbol &s : syms)
		if (s.name == name && s.module == module)
			return s.addr;
	return 0;
}

std::vector<symbol> kallsyms::with_prefix(std::string_view prefix) const
{
	std::vector<symbol> v;

	for (const symbol &s : syms)
		if (s.name.starts_with(prefix))
			v.push_back(s);
	return v;
}

std::vector<symbol> kallsyms::of_module(std::string_view module) const
{
	std::vector<symbol> v;

	for (const symbol &s : syms)
		if (s.module == module)
			v.push_back(s);
	return v;
}
