/* SPDX-License-Identifier: GPL-2.0 */
/* What <debugfs>/execmem says of the pools. */
#ifndef EXECMEM_POOL_HPP
#define EXECMEM_POOL_HPP

#include <string>
#include <string_view>
#include <vector>

#include "bpf.hpp"

static constexpr u64 granule = 64, large = 2 << 20;

struct chunk {
	u64 addr, size;
	std::string pool;
	u64 leaf, live, node, largest_free, map;
	std::string alias;
};

struct area {
	u64 addr, size;
	std::string type, state, where, caller;

	bool live() const { return state == "allocated" || state == "finishing" || state == "finished"; }
};

/* <debugfs>/execmem */
struct pool_list {
	std::string text;
	std::vector<chunk> chunks;
	std::vector<area> areas;
	u64 start = 0;	/* of the range of the first pool */
	u64 idle = 0;	/* spare chunks, of all pools */
	u64 quarantined = 0;
	u64 fallbacks = 0;	/* how often there was no memory for a piece */

	/* Empty where there is no such file; cannot_read where it says what nobody understands. */
	pool_list();

	u64 size() const;

	/* Bytes that belong to somebody, of that type. */
	u64 live(std::string_view of = "") const;

	/* The largest piece that there is room for without another chunk, in a pool of that name. */
	u64 largest_free(std::string_view pool) const;

	/* Bytes that describe what lies in the chunks. */
	u64 book_keeping() const;

	const area *find(u64 addr) const;
};

/* There is one; it has taken memory at the first request. */
result need_pool();

#endif /* EXECMEM_POOL_HPP */
