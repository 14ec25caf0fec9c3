// SPDX-License-Identifier: GPL-2.0
/*
 * The pool of text, as its users and whoever pays for the memory see it: small
 * pieces lie densely in large pages, what is empty goes back, nothing is wasted
 * between large pages, and all of it can be seen.
 *
 * What the pool says of itself (<debugfs>/execmem) is held against what others
 * say: the page tables, /proc/vmallocinfo, and what the system call says about
 * the length of BPF programs.
 */
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "btf.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "tracer.hpp"
#include "types.hpp"
#include "vmallocinfo.hpp"

/* What the list says agrees with itself and with the page tables. */
static result listed()
{
	TRY(need_pool());
	unique_fd prog(bpf_prog_load(bpf_return(1)));
	CHECK(prog, "program: %s", strerror(-prog.fd));
	/* The list is made area by area, while others may come and go. */
	std::unique_ptr<pool_list> before, after;
	std::unique_ptr<page_tables> tables;
	bool still = wait_for(20000, [&] {
		before = std::make_unique<pool_list>();
		tables = std::make_unique<page_tables>();
		after = std::make_unique<pool_list>();
		return before->text == after->text;
	});
	CHECK(still, "the list of areas is another one each time");
	const pool_list &list = *after;
	const page_tables &pt = *tables;
	u64 large_leaves = 0;

	for (const chunk &c : list.chunks) {
		u64 end = c.addr, live = 0;
		std::string last;

		CHECK(c.addr % large == 0 && c.size % large == 0, "chunk %#llx is not aligned",
		      (unsigned long long)c.addr);
		for (const area &a : list.areas) {
			if (a.where != "pool" || a.addr < c.addr || a.addr >= c.addr + c.size)
				continue;
			CHECK(a.addr == end, "a gap or an overlap at %#llx", (unsigned long long)a.addr);
			CHECK(a.state != "free" || last != "free", "what is free is listed in pieces at %#llx",
			      (unsigned long long)a.addr);
			last = a.state;
			end += a.size;
			live += a.live() ? a.size : 0;
		}
		CHECK(end == c.addr + c.size, "chunk %#llx is listed up to %#llx", (unsigned long long)c.addr,
		      (unsigned long long)end);
		diag("chunk %#llx: %llu kB, leaves of %llu kB, %llu bytes live", (unsigned long long)c.addr,
		     (unsigned long long)c.size >> 10, (unsigned long long)c.leaf >> 10,
		     (unsigned long long)live);

		for (u64 at = c.addr; at < c.addr + c.size; at += c.leaf) {
			const mapping *m = pt.find(at);

			CHECK(m, "%#llx is not mapped", (unsigned long long)at);
			CHECK(m->exec && !m->write, "not ROX: %s", m->line.c_str());
			CHECK((m->level == "pmd") == (c.leaf == large), "not of that size: %s", m->line.c_str());
			large_leaves += m->level == "pmd";
		}
	}
	const area *a = list.find(bpf_images(prog.fd).at(0).addr);
	CHECK(a, "no area has the program in it");
	CHECK(a->type == "bpf" && a->state == "finished", "the program is in an area %s, %s", a->type.c_str(),
	      a->state.c_str());
	CHECK(a->caller.starts_with("bpf_jit_binary"), "the program was allocated by %s", a->caller.c_str());
	if (have_large_leaves())
		CHECK(large_leaves, "there is no large page");
	else
		CHECK(!large_leaves, "%llu large pages, against the command line", (unsigned long long)large_leaves);
	return pass();
}

/* Programs of about 200 kB each, until the pool has taken three large pages more for them. */
static result large_programs(std::vector<unique_fd> &progs)
{
	const u64 before = pool_list().size();
	u64 size = before;

	for (int i = 0; i < 200 && size < before + 3 * large; i++) {
		progs.emplace_back(bpf_prog_load(bpf_return_large(i, 8000)));
		CHECK(progs.back(), "program %d: %s", i, strerror(-progs.back().fd));
		if (i % 10 == 9)
			size = pool_list().size();
	}
	CHECK(size >= before + 3 * large, "%zu large programs made %llu bytes of %llu", progs.size(),
	      (unsigned long long)size, (unsigned long long)before);
	return pass();
}

/* Memory for text is taken where the CPU is for which it is made. */
static result near_the_cpu()
{
	TRY(need_pool());
	cpu_set_t all;
	CHECK(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity: %s", strerror(errno));
	defer restore([&] { sched_setaffinity(0, sizeof(all), &all); });
	std::set<unsigned int> nodes;

	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		cpu_set_t one;
		unsigned int cpu = 0, node = 0;

		CPU_ZERO(&one);
		CPU_SET(i, &one);
		CHECK(!sched_setaffinity(0, sizeof(one), &one), "CPU %d: %s", i, strerror(errno));
		CHECK(!getcpu(&cpu, &node), "getcpu: %s", strerror(errno));
		if (!nodes.insert(node).second)
			continue;

		std::vector<unique_fd> progs;
		std::set<u64> old;
		for (const chunk &c : pool_list().chunks)
			old.insert(c.addr);
		TRY(large_programs(progs));
		for (const chunk &c : pool_list().chunks)
			CHECK(old.count(c.addr) || c.node == node, "CPU %u is on node %u, and took memory of node %llu",
			      cpu, node, (unsigned long long)c.node);
	}
	if (nodes.size() < 2)
		return skip("all CPUs are on one node");
	return pass();
}

/* How many runs of chunks that lie side by side there are. */
static size_t runs(const pool_list &list)
{
	std::set<u64> ends;
	size_t n = 0;

	for (const chunk &c : list.chunks)
		ends.insert(c.addr + c.size);
	for (const chunk &c : list.chunks)
		n += !ends.count(c.addr);
	return n;
}

/* What /proc/vmallocinfo shows as reserved for chunks: address and size; mapped of it. */
struct reservations {
	std::map<u64, u64> windows;
	u64 pages = 0;

	reservations()
	{
		for (const vmalloc_area &a : vmallocinfo()) {
			if (!a.owner_mapped)
				continue;
			windows[a.addr] = a.size;
			pages += a.pages;
		}
	}
};

/* Chunks lie side by side there, and no address between two of them is lost. */
static result side_by_side()
{
	TRY(need_pool());
	/* So that the pool of BPF has a chunk, and a window. */
	unique_fd keep(bpf_prog_load(bpf_return(1)));
	CHECK(keep, "program: %s", strerror(-keep.fd));
	settle();
	const size_t runs_before = runs(pool_list());
	std::vector<unique_fd> progs;
	TRY(large_programs(progs));
	/* Text of the kernel, whose trampoline is in another pool. */
	trace_instance tracer("execmem_side_by_side", traceable_getppid());
	pool_list list;
	reservations reserved;
	std::map<u64, bool> of_bpf;

	CHECK(!reserved.windows.empty(), "/proc/vmallocinfo shows no area that its owner maps");
	for (const chunk &c : list.chunks) {
		auto it = reserved.windows.upper_bound(c.addr);

		CHECK(it != reserved.windows.begin() && c.addr + c.size <= (--it)->first + it->second,
		      "chunk %#llx is in no window", (unsigned long long)c.addr);
		auto window = of_bpf.emplace(it->first, c.pool == "text-bpf").first;
		CHECK(window->second == (c.pool == "text-bpf"), "chunk %#llx of %s is in a window of others",
		      (unsigned long long)c.addr, c.pool.c_str());
	}
	for (const auto &[addr, size] : reserved.windows)
		CHECK(size % large == 0, "a window of %llu bytes", (unsigned long long)size);
	CHECK(reserved.pages * page_size() == list.size(), "%llu pages are mapped for chunks of %llu bytes",
	      (unsigned long long)reserved.pages, (unsigned long long)list.size());
	diag("%zu chunks in %zu runs, which were %zu, in %zu windows", list.chunks.size(), runs(list), runs_before,
	     reserved.windows.size());
	/* The first at a random place of a window, the others from its beginning on. */
	CHECK(runs(list) <= runs_before + 1, "%zu chunks lie in %zu runs, which were %zu", list.chunks.size(),
	      runs(list), runs_before);
	return pass();
}

/* fentry programs on so many functions, of those that nothing here calls often. */
static std::vector<unique_fd> trampolines(size_t n, std::vector<unique_fd> &progs)
{
	std::vector<unique_fd> links;

	for (const std::string &f : split(read_or_fail(tracefs("available_filter_functions")))) {
		if (links.size() == n)
			break;
		if (!f.starts_with("pci_"))
			continue;
		unique_fd prog(bpf_tracing_load(f.c_str(), BPF_TRACE_FENTRY, bpf_return(0)));
		unique_fd link(prog ? bpf_attach(prog.fd) : -1);

		if (!link)
			continue;
		progs.push_back(std::move(prog));
		links.push_back(std::move(link));
	}
	return links;
}

/* What a program takes: with a header of 8 bytes, and 16 so that it begins at random. */
static u64 granules(const unique_fd &prog)
{
	return (bpf_images(prog.fd).at(0).len + 8 + 16 + granule - 1) / granule * granule;
}

/*
 * Bytes of @type, or of all, that somebody has in @after and nobody had in @before.
 * A difference of two sums would be less by what earlier cases freed meanwhile.
 */
static u64 added(const pool_list &before, const pool_list &after, std::string_view type = "")
{
	u64 n = 0;

	for (const area &a : after.areas) {
		if (a.where != "pool" || !a.live() || (!type.empty() && a.type != type))
			continue;
		const area *old = before.find(a.addr);
		if (!old || !old->live() || old->addr != a.addr || old->size != a.size)
			n += a.size;
	}
	return n;
}

static result density()
{
	static constexpr size_t nr_progs = 1000, nr_kprobes = 500, nr_trampolines = 100;

	TRY(need_pool());
	TRY(need_bpf_trampolines());
	TRY(need_module("execmem_clone_000"));
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");

	rlimit files { 4096, 4096 };
	CHECK(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));
	module_clones clones(30);
	CHECK(!clones.err, "clones: %s", strerror(-clones.err));
	/* A spare chunk of small pages may be left, of a test in which there was no memory. */
	spit("/proc/sys/vm/drop_caches", "2");
	settle();
	pool_list before;
	std::vector<unique_fd> progs, tracers;
	kprobe_set probes("execmem_dense");

	u64 rounded = 0;
	for (size_t i = 0; i < nr_progs; i++) {
		progs.emplace_back(bpf_prog_load(bpf_return(i, 2 + i % 30)));
		CHECK(progs.back(), "program %zu: %s", i, strerror(-progs.back().fd));
		rounded += granules(progs.back());
	}
	pool_list with_progs;
	u64 bpf = 0;
	for (const unique_fd &prog : progs) {
		const area *a = with_progs.find(bpf_images(prog.fd).at(0).addr);

		CHECK(a && a->live(), "a program is in no area");
		bpf += a->size;
	}

	for (const std::string &clone : clones.names)
		probes.fill(clone + ":execmem_clone_work", nr_kprobes);
	std::vector<unique_fd> links = trampolines(nr_trampolines, tracers);
	CHECK(probes.size() == nr_kprobes, "only %zu kprobes", probes.size());
	CHECK(links.size() == nr_trampolines, "only %zu trampolines", links.size());

	pool_list after;
	page_tables pt;
	u64 live = added(before, after), grown = after.size() - std::min(before.size(), after.size());
	u64 trampoline = added(with_progs, after, "bpf");
	for (const unique_fd &tracer : tracers)
		trampoline -= granules(tracer);
	u64 in_large = 0, all = 0;
	for (const area &a : after.areas) {
		const mapping *m = a.live() && a.type != "module_data" && a.type != "module_rodata" &&
				   a.type != "module_text" ? pt.find(a.addr) : nullptr;

		if (m && m->exec) {
			all += a.size;
			in_large += m->level == "pmd" ? a.size : 0;
		}
	}
	diag("1000 programs: %llu bytes, their lengths rounded to granules: %llu", (unsigned long long)bpf,
	     (unsigned long long)rounded);
	const u64 slots = added(before, after, "kprobes");
	const u64 book = after.book_keeping() - std::min(before.book_keeping(), after.book_keeping());
	const u64 book_progs = with_progs.book_keeping() - std::min(before.book_keeping(), with_progs.book_keeping());
	diag("book-keeping: %llu bytes for the programs, %.1f %%; %llu bytes for all, %.1f %%",
	     (unsigned long long)book_progs, 100.0 * book_progs / bpf, (unsigned long long)book,
	     100.0 * book / live);
	diag("100 trampolines: %llu bytes; 500 kprobes: %llu bytes", (unsigned long long)trampoline,
	     (unsigned long long)slots);
	diag("%llu bytes live, for which the pool has taken %llu", (unsigned long long)live,
	     (unsigned long long)grown);
	diag("%.1f %% of the text that is not of modules lies in 2 MB leaves", all ? 100.0 * in_large / all : 0);

	CHECK(bpf == rounded, "programs of %llu bytes take %llu", (unsigned long long)rounded,
	      (unsigned long long)bpf);
	CHECK(trampoline >= nr_trampolines * granule && trampoline < nr_trampolines * 256,
	      "100 trampolines take %llu bytes", (unsigned long long)trampoline);
	/* 16 bytes each, and less than 128 where it is optimised; in whole pages. */
	CHECK(slots > 0 && slots <= nr_kprobes * (16 + 128) + 2 * page_size(), "500 kprobes take %llu bytes",
	      (unsigned long long)slots);
	CHECK(book_progs <= bpf / 5 && book <= live / 5, "%llu bytes of book-keeping for %llu bytes of text",
	      (unsigned long long)book, (unsigned long long)live);
	/* Programs are apart from all other text. */
	CHECK(grown <= live * 11 / 10 + 2 * large, "the pool has taken %llu bytes for %llu",
	      (unsigned long long)grown, (unsigned long long)live);
	if (have_large_leaves())
		CHECK(in_large >= all * 95 / 100, "%llu of %llu bytes lie in large pages",
		      (unsigned long long)in_large, (unsigned long long)all);
	return pass();
}

/*
 * What has been taken for many goes back when they are gone, but for a spare
 * one, and that too when memory is short.
 */
static result gives_back()
{
	TRY(need_pool());
	settle();
	const pool_list before;
	static constexpr int rounds = 3;
	u64 most = 0, now = 0, idle = 0, left = 0, less = 0;

	for (int round = 0; round < rounds; round++) {
		{
			std::vector<unique_fd> progs;

			TRY(large_programs(progs));
			most = pool_list().size();
		}
		bool back = wait_for(20000, [&] { return (now = pool_list().size()) <= before.size() + large; });
		diag("%llu kB before, %llu kB with large programs, %llu kB after",
		     (unsigned long long)before.size() >> 10, (unsigned long long)most >> 10,
		     (unsigned long long)now >> 10);
		CHECK(back, "%llu bytes were taken before, %llu are now", (unsigned long long)before.size(),
		      (unsigned long long)now);
		if (round == 1)
			left = free_memory();
	}
	/* Caches have filled by now; what is lost in each round is more than their rest. */
	bool same = wait_for(10000, [&] {
		less = left - std::min(left, free_memory());
		return less < most - before.size();
	});
	diag("%llu kB of memory less than after the second time", (unsigned long long)less >> 10);
	CHECK(same, "%llu bytes of memory are lost", (unsigned long long)less);

	CHECK(wait_for(5000, [&] { return (idle = pool_list().idle) == 1; }), "%llu spare chunks, not 1",
	      (unsigned long long)idle);
	bool given = wait_for(5000, [&] {
		spit("/proc/sys/vm/drop_caches", "2");
		return (idle = pool_list().idle) == 0;
	});
	CHECK(given, "a spare chunk stays when memory is short");
	return pass();
}

/* Giving back takes no memory, whoever it is that frees. */
static result frees_without_memory()
{
	TRY(need_pool());
	TRY(need_module("execmem_clone_000"));
	call_trace trace("execmem_frees_memory");
	size_t freed = 0, allocated = 0;
	std::set<u64> going;

	{
		const pool_list before;
		live_load load(20);
		CHECK(load.error.empty(), "%s", load.error.c_str());
		/* Not those of kprobes and ftrace: they keep some for the next user. */
		for (const area &a : pool_list().areas) {
			const area *was = before.find(a.addr);

			if (a.live() && (a.type == "bpf" || a.type.starts_with("module_")) &&
			    (!was || was->addr != a.addr || !was->live()))
				going.insert(a.addr);
		}
		CHECK(going.size() >= 40, "only %zu pieces are there for programs and modules", going.size());
		trace.begin({ "execmem/execmem_free", "kmem/kmalloc", "kmem/kmem_cache_alloc",
			      "kmem/mm_page_alloc" });
	}
	size_t left = 0;
	bool gone = wait_for(20000, [&] {
		left = 0;
		/* What is dead side by side is listed as one. */
		for (const area &a : pool_list().areas)
			if (a.live() || a.state == "dead")
				left += std::distance(going.lower_bound(a.addr), going.lower_bound(a.addr + a.size));
		return !left;
	});
	CHECK(gone, "%zu of %zu pieces are not freed", left, going.size());
	for (const call_trace::event &e : trace.end()) {
		if (e.name == "execmem_free") {
			freed++;
			continue;
		}
		allocated++;
		/* Of which it knows nothing. */
		if (e.in_interrupt)
			continue;
		/* What it ends in, for memory of either kind; vfree() is not its own. */
		if ((e.called_by("execmem_free") && !e.called_by("__vunmap")) || e.called_by("execmem_pool_free") ||
		    e.called_by("execmem_work_fn")) {
			for (const std::string &c : e.callers)
				diag("=> %s", c.c_str());
			return fail("execmem_free() allocates memory (%s)", e.name.c_str());
		}
	}
	CHECK(trace.error.empty(), "%s", trace.error.c_str());
	diag("%zu pieces freed, memory allocated %zu times meanwhile, but not for that", freed, allocated);
	CHECK(freed >= going.size() && allocated, "%zu of %zu pieces freed, memory allocated %zu times", freed,
	      going.size(), allocated);
	return pass();
}

/* The course of a program and of a chunk, as tracefs tells it. */
static result traced()
{
	TRY(need_pool());
	std::string dir = tracefs("instances/execmem_traced");
	if (!exists(tracefs("events/execmem")))
		return skip("CONFIG_TRACING is not set");
	CHECK(!mkdir(dir.c_str(), 0755), "%s: %s", dir.c_str(), strerror(errno));
	defer remove([&] { rmdir(dir.c_str()); });

	CHECK(!spit(dir + "/events/execmem/enable", "1"), "the events cannot be enabled");
	u64 addr = 0;
	{
		std::vector<unique_fd> progs;

		TRY(large_programs(progs));
		addr = bpf_images(progs[0].fd).at(0).addr / granule * granule;
	}
	std::string trace;
	wait_for(20000, [&] {
		trace = read_or_fail(dir + "/trace");
		return trace.find("execmem_shrink: ") != trace.npos &&
		       trace.find(format("execmem_free: addr=0x%llx ", (unsigned long long)addr)) != trace.npos;
	});
	spit(dir + "/events/execmem/enable", "0");
	size_t at = 0;
	for (const char *event : { "alloc", "write", "finish", "free" }) {
		std::string what = format("execmem_%s: addr=0x%llx size=", event, (unsigned long long)addr);

		at = trace.find(what, at);
		CHECK(at != trace.npos, "no event, or out of order: %s", what.c_str());
		std::string line = trace.substr(at, trace.find('\n', at) - at);
		CHECK(line.ends_with("type=bpf"), "%s", line.c_str());
	}
	for (const char *event : { "grow", "shrink" }) {
		at = trace.find(format("execmem_%s: addr=0x", event));
		CHECK(at != trace.npos, "no execmem_%s", event);
	}
	return pass();
}

int main()
{
	return run_cases({
		{ "listed", listed },
		{ "near_the_cpu", near_the_cpu },
		{ "side_by_side", side_by_side },
		{ "density", density },
		{ "gives_back", gives_back },
		{ "frees_without_memory", frees_without_memory },
		{ "traced", traced },
	});
}
