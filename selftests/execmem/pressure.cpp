// SPDX-License-Identifier: GPL-2.0
/*
 * What executable memory costs others when it is in their way: how long it keeps
 * text_mutex, for which all wait who patch text, and what it does to all CPUs
 * when memory is short. The module execmem_pressure counts it, by probes.
 */
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "kallsyms.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

/* At most so much is filled with traps in one hold of text_mutex. */
static constexpr u64 batch_pieces = 64, batch_bytes = 256 << 10;

/* Pieces in execmem_pressure's cases of too little memory. */
static constexpr u64 short_pieces = 50;

static result need_pressure()
{
	TRY(need_pool());
	return need_module("execmem_pressure", "CONFIG_KPROBES");
}

/* What the module says: "WHAT: N name N name ..." */
struct numbers_of {
	std::string line;
	std::map<std::string, u64> m;

	/* A number that is not there is not 0. */
	u64 operator[](const std::string &name) const
	{
		auto at = m.find(name);

		if (at == m.end())
			throw cannot_read("no \"" + name + "\" in \"" + line + "\"");
		return at->second;
	}
};

static numbers_of numbers(const std::string &text, const std::string &what)
{
	numbers_of n;

	for (const std::string &line : split(text)) {
		if (!line.starts_with(what + ": "))
			continue;
		diag("%s", line.c_str());
		n.line = line;
		std::vector<std::string> w = words(line.substr(what.size() + 2));
		for (size_t i = 0; i + 1 < w.size(); i += 2)
			n.m[w[i + 1]] = strtoull(w[i].c_str(), nullptr, 10);
	}
	if (n.line.empty())
		throw cannot_read("execmem_pressure says nothing of \"" + what + "\": " + text);
	return n;
}

/* A probe that was missed has not counted. */
static result none_missed()
{
	const std::string n = module_param("execmem_pressure", "missed");

	CHECK(n == "0", "%s calls were missed", n.c_str());
	return pass();
}

static u64 dead_bytes()
{
	u64 n = 0;

	for (const area &a : pool_list().areas)
		n += a.state == "dying" || a.state == "dead" ? a.size : 0;
	return n;
}

/*
 * Many programs are freed while somebody has text_mutex. What is left to do when
 * he lets go is done in parts, between which others get it.
 */
static result backlog()
{
	static constexpr size_t nr_freed = 10000, keep_every = 20;

	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	const std::string dir = "/sys/module/execmem_pressure/parameters/";
	rlimit files { 2 * nr_freed, 2 * nr_freed };
	CHECK(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));

	/* Some stay in each chunk, or the chunk goes, and there is nothing to fill. */
	std::vector<unique_fd> freed, kept;
	std::map<size_t, u32> lengths;		/* of programs, by the number of their instructions */
	u64 bytes = 0;
	while (freed.size() < nr_freed) {
		for (size_t i = 0; i <= keep_every; i++) {
			const size_t n = 2 + i % 30;
			unique_fd prog(bpf_prog_load(bpf_return(i, n)));

			CHECK(prog, "program %zu: %s", freed.size(), strerror(-prog.fd));
			if (!lengths.count(n))
				lengths[n] = bpf_images(prog.fd).at(0).len;
			bytes += i ? lengths[n] : 0;
			(i ? freed : kept).push_back(std::move(prog));
		}
	}
	/* Takes text_mutex, so before it is held. */
	CHECK(!spit(dir + "holds", "0"), "holds cannot be forgotten");
	CHECK(!spit(dir + "hold", "1"), "text_mutex is not held");
	defer let_go([&] { spit(dir + "hold", "0"); });
	freed.clear();
	u64 dead = 0;
	bool all_dead = wait_for(60000, [&] { return (dead = dead_bytes()) >= bytes; });
	CHECK(all_dead, "%llu bytes wait to be filled with traps, of %llu", (unsigned long long)dead,
	      (unsigned long long)bytes);

	CHECK(!spit(dir + "hold", "0"), "text_mutex is not let go");
	bool none = wait_for(60000, [&] { return !(dead = dead_bytes()); });
	CHECK(none, "%llu bytes of %llu still wait to be filled with traps", (unsigned long long)dead,
	      (unsigned long long)bytes);

	const std::string text = module_param("execmem_pressure", "holds");
	auto longest = numbers(text, "longest hold"), all = numbers(text, "all");
	CHECK(all["bytes"] >= bytes, "only %llu bytes were filled, of %llu", (unsigned long long)all["bytes"],
	      (unsigned long long)bytes);
	CHECK(longest["pieces"] <= batch_pieces && longest["bytes"] <= batch_bytes,
	      "text_mutex was held for %llu pieces, for %llu bytes", (unsigned long long)longest["pieces"],
	      (unsigned long long)longest["bytes"]);
	return none_missed();
}

/* A large program is written in parts as well. */
static result large_write()
{
	static constexpr u64 most = 64 << 10;

	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	const std::string file = "/sys/module/execmem_pressure/parameters/holds";
	CHECK(!spit(file, "0"), "holds cannot be forgotten");
	unique_fd prog(bpf_prog_load(bpf_return_large(1, 20000)));
	CHECK(prog, "program: %s", strerror(-prog.fd));
	const u64 len = bpf_images(prog.fd).at(0).len;
	auto n = numbers(module_param("execmem_pressure", "holds"), "written");
	CHECK(len > 2 * most, "the program has %llu bytes only", (unsigned long long)len);
	CHECK(n["bytes"] && n["bytes"] <= most, "text_mutex was held to write %llu bytes",
	      (unsigned long long)n["bytes"]);
	return none_missed();
}

/* Text whose chunk goes with it needs no traps; other text does, and is counted. */
static result gone_unfilled()
{
	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	auto small = numbers(module_param("execmem_pressure", "free_small"), "free_small");
	CHECK(small["filled"] >= small["freed"], "%llu bytes of %llu were filled with traps",
	      (unsigned long long)small["filled"], (unsigned long long)small["freed"]);

	auto n = numbers(module_param("execmem_pressure", "free_large"), "free_large");
	CHECK(n["gone"], "it is not given back");
	CHECK(n["filled"] < batch_bytes / 2, "%llu bytes were filled with traps before they went",
	      (unsigned long long)n["filled"]);
	return none_missed();
}

/* What each chunk costs: changes of its permissions, and no second try. */
static result grow()
{
	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	auto n = numbers(module_param("execmem_pressure", "grow"), "grow");

	CHECK(n["pieces"], "there was no memory");
	CHECK(n["maps"] == n["pieces"], "%llu chunks were mapped %llu times", (unsigned long long)n["pieces"],
	      (unsigned long long)n["maps"]);
	/* Read-only in the linear mapping; and a table of small leaves in the way. */
	CHECK(n["broadcasts"] >= n["pieces"], "what is known to interrupt all CPUs was not counted");
	CHECK(n["broadcasts"] <= 2 * n["pieces"] && !n["aliases"],
	      "%llu broadcasts and %llu vm_unmap_aliases() for %llu chunks", (unsigned long long)n["broadcasts"],
	      (unsigned long long)n["aliases"], (unsigned long long)n["pieces"]);
	return none_missed();
}

/* A chunk of many runs of pages does not cost more for it when it goes. */
static result scattered()
{
	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	const std::string text = module_param("execmem_pressure", "scattered");
	auto taken = numbers(text, "taken"), back = numbers(text, "back");

	CHECK(taken["maps"] == large / page_size(), "the chunk is not of single pages: %llu",
	      (unsigned long long)taken["maps"]);
	CHECK(back["pieces"], "it is not given back");
	CHECK(back["broadcasts"], "what is known to interrupt all CPUs was not counted");
	/* One flush for all; and what others do meanwhile. */
	CHECK(back["broadcasts"] <= 8 && back["aliases"] <= 4,
	      "%llu broadcasts and %llu vm_unmap_aliases() to give back a chunk",
	      (unsigned long long)back["broadcasts"], (unsigned long long)back["aliases"]);
	return none_missed();
}

/* That there is no memory for a chunk is not found out again by each piece. */
static result pieces_when_short(const char *what)
{
	TRY(need_pressure());
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	auto n = numbers(module_param("execmem_pressure", what), what);

	CHECK(n["pieces"] == short_pieces, "%llu of %llu pieces have pages of their own",
	      (unsigned long long)n["pieces"], (unsigned long long)short_pieces);
	CHECK(!n["maps"] && !n["aliases"] && n["broadcasts"] <= 5,
	      "%llu times something was mapped that could not be enough, %llu vm_unmap_aliases(), %llu broadcasts",
	      (unsigned long long)n["maps"], (unsigned long long)n["aliases"],
	      (unsigned long long)n["broadcasts"]);
	/* It is tried once, and again after a second. */
	CHECK(n["requests"], "no chunk was asked for");
	CHECK(n["requests"] <= short_pieces * large / page_size() / 5, "pages were asked for %llu times",
	      (unsigned long long)n["requests"]);
	CHECK(strcmp(what, "locked") || !n["reclaims"], "%llu requests for blocks of pages could wait for memory",
	      (unsigned long long)n["reclaims"]);
	return none_missed();
}

static result memory_short()
{
	TRY(need_pressure());
	const u64 before = pool_list().fallbacks;
	TRY(pieces_when_short("short"));
	const u64 now = pool_list().fallbacks;
	CHECK(now >= before + short_pieces, "<debugfs>/execmem tells of %llu fallbacks, and of %llu before",
	      (unsigned long long)now, (unsigned long long)before);
	return pass();
}

/* With text_mutex held nobody waits for memory for a chunk. */
static result memory_short_locked()
{
	return pieces_when_short("locked");
}

/*
 * All who patch text wait for whoever has text_mutex. So he does not wait for
 * somebody who waits for memory: his chunk is there before that one's.
 */
static result waits_for_nobody()
{
	TRY(need_pressure());
	if (!have_large_leaves())
		return skip("a chunk of small leaves waits for memory for single pages only");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return skip("one CPU only");
	cpu_set_t all, first;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	CHECK(!sched_getaffinity(0, sizeof(all), &all) && !sched_setaffinity(0, sizeof(first), &first),
	      "CPU 0: %s", strerror(errno));
	defer back([&] { sched_setaffinity(0, sizeof(all), &all); });
	loaded_module m("execmem_pressure");
	CHECK(!m.err, "execmem_pressure: %s", strerror(-m.err));
	const std::string text = module_param("execmem_pressure", "waits");
	if (text == "waits: interrupts are off")
		return skip("CONFIG_FUNCTION_TRACER is not set (who waits would keep interrupts off)");
	auto n = numbers(text, "waits");

	CHECK(n["chunks"] == 1, "there was no chunk for who has text_mutex");
	CHECK(n["before"] == 1, "it was there only when the other had waited for %llu ms", (unsigned long long)n["waited"]);
	return pass();
}

/* What could not be protected is not finished: it can only be freed. */
static result half_finished()
{
	if (!kallsyms().has("execmem_text_alloc"))
		return skip("not in the kernel without the series");
	TRY(need_module("execmem_misuse", "CONFIG_KPROBES"));
	TRY(need_module("execmem_skip", "CONFIG_KPROBES"));
	if (module_loaded("execmem_skip"))
		return skip("execmem_skip breaks something else (execmem_mutant=)");
	if (arch != arch_id::x86_64)
		return skip("what is to fail is a function of x86-64");
	loaded_module misuse("execmem_misuse");
	CHECK(!misuse.err, "execmem_misuse: %s", strerror(-misuse.err));
	loaded_module skip("execmem_skip", "func=set_memory_ro ret=-12");
	CHECK(!skip.err, "execmem_skip: %s", strerror(-skip.err));
	const std::string said = module_param("execmem_misuse", "unfinished");
	CHECK(said == "refused", "%s", said.c_str());
	return pass();
}

int main()
{
	return run_cases({
		{ "backlog", backlog },
		{ "large_write", large_write },
		{ "gone_unfilled", gone_unfilled },
		{ "grow", grow },
		{ "scattered", scattered },
		{ "memory_short", memory_short },
		{ "memory_short_locked", memory_short_locked },
		{ "waits_for_nobody", waits_for_nobody },
		{ "half_finished", half_finished },
	});
}
