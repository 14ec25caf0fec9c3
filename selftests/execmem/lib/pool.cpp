// SPDX-License-Identifier: GPL-2.0
#include "pool.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "arch.hpp"
#include "proc.hpp"

pool_list::pool_list()
{
	show_pointers();
	text = read_if_there(debugfs("execmem"));
	for (const std::string &line : split(text)) {
		std::vector<std::string> w = words(line);
		auto number = [&](size_t i) { return strtoull(w[i].c_str(), nullptr, 0); };

		if (w.size() == 9 && w[0] == "pool" && w[7] == "fallbacks") {
			start = start ?: number(2);
			idle = number(4);
			quarantined += number(6);
			fallbacks += number(8);
		} else if (w.size() == 18 && w[0] == "chunk" && w[3].starts_with("RO") && w[16] == "alias")
			chunks.push_back({ number(1), number(2), w[5], number(7), number(9), number(11),
					   number(13), number(15), w[17] });
		else if (w.size() >= 4 && w[0] == "user")
			continue;
		else if (w.size() >= 6 && w[0] == "area")
			areas.push_back({ number(1), number(2), w[3], w[4], w[5],
					  w.size() > 6 ? w[6].substr(0, w[6].find('+')) : "" });
		else
			throw cannot_read("<debugfs>/execmem: cannot parse \"" + line + "\"");
	}
}

u64 pool_list::size() const
{
	return std::accumulate(chunks.begin(), chunks.end(), u64(0),
			       [](u64 n, const chunk &c) { return n + c.size; });
}

u64 pool_list::live(std::string_view of) const
{
	u64 n = 0;

	for (const area &a : areas)
		if (a.where == "pool" && a.live() && (of.empty() || of == a.type))
			n += a.size;
	return n;
}

u64 pool_list::largest_free(std::string_view pool) const
{
	u64 most = 0;

	for (const chunk &c : chunks)
		if (c.pool == pool)
			most = std::max(most, c.largest_free);
	return most;
}

u64 pool_list::book_keeping() const
{
	return std::accumulate(chunks.begin(), chunks.end(), u64(0),
			       [](u64 n, const chunk &c) { return n + c.map; });
}

const area *pool_list::find(u64 addr) const
{
	for (const area &a : areas)
		if (addr >= a.addr && addr - a.addr < a.size)
			return &a;
	return nullptr;
}

result need_pool()
{
	if (!have_pool() && kernel_parameter("execmem") == "off")
		return skip("execmem=off");
	if (!have_pool())
		return skip("CONFIG_EXECMEM_POOL is not set");
	CHECK(exists(debugfs("execmem")), "the kernel has no <debugfs>/execmem");
	TRY(need_jit());
	unique_fd prog(bpf_prog_load(bpf_return(1)));
	CHECK(prog, "program: %s", strerror(-prog.fd));
	CHECK(!pool_list().chunks.empty(), "there is no pool, without a reason");
	return pass();
}
