// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs all CPUs when code comes and goes: TLB shootdowns, splits of the
 * linear mapping, changes of permissions, and broadcasts that make CPUs
 * serialize, for each of many operations. Counted by probes on the functions
 * that do it, in the kernel as it is: the same test says what a kernel without
 * execmem does.
 *
 * Where text comes from a pool none of them may happen at all, but for making
 * CPUs serialize while a live call site is patched, which is counted apart. Where
 * it does not the figures are only shown.
 *
 * That nothing was paid means something only for what has happened: so pieces
 * that come and go are counted too, and what frees them later is waited for.
 */
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "btf.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "tracer.hpp"
#include "types.hpp"

static std::unique_ptr<counters> count;
static bool in_large;
static figures idle;

/*
 * Text from a pool causes no shootdown, no split, no change of permissions and no
 * broadcast to make CPUs serialize;
 * and at least @min_allocs pieces of it were allocated and @min_frees freed.
 */
static result judge(const char *what, size_t n, const figures &f, size_t min_allocs, size_t min_frees)
{
	std::string line = f.describe(what, n);

	diag("%s", line.c_str());
	CHECK(count->error.empty(), "%s", count->error.c_str());
	if (have_pool() && f.shootdowns)
		count->tell_shootdowns();
	CHECK(!have_pool() || f.none(), "%s", line.c_str());
	CHECK(!count->tells_pieces() || (f.allocs >= static_cast<s64>(min_allocs) &&
					 f.frees >= static_cast<s64>(min_frees)),
	      "%s: expected at least %zu allocs and %zu frees", line.c_str(), min_allocs, min_frees);
	return pass();
}

/*
 * Until at least @n pieces of @type were freed since counting began, and what is
 * to be done for them later is done: they are filled with traps, and chunks
 * that are empty go back, but for a spare one.
 */
static result freed(const char *what, const char *type, size_t n)
{
	size_t gone = 0;

	if (!count->tells_pieces()) {
		settle();	/* what a kernel without execmem has to offer */
		return pass();
	}
	bool all = wait_for(60000, [&] { return (gone = count->freed(type)) >= n; });
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(all, "%s: %zu of %zu pieces were freed", what, gone, n);
	if (!have_pool())
		return pass();
	std::string left;
	bool done = wait_for(20000, [&] {
		const pool_list list;

		left.clear();
		for (const area &a : list.areas)
			if (a.state == "dying" || a.state == "dead" || a.state == "quarantined")
				left = a.state + format(" area at %#llx", (unsigned long long)a.addr);
		if (list.idle > 1)
			left = format("%llu chunks idle", (unsigned long long)list.idle);
		return left.empty();
	});
	CHECK(done, "%s: %s", what, left.c_str());
	return pass();
}

/* Where text comes from, which decides what the other cases ask for. */
static result source()
{
	TRY(need_counters(count));
	TRY(need_jit());
	unique_fd prog(bpf_prog_load(bpf_return(1)));
	page_tables pt;
	CHECK(prog && !bpf_images(prog.fd).empty(), "no program");
	const mapping *m = pt.find(bpf_images(prog.fd)[0].addr);
	CHECK(m, "the program is not mapped");
	in_large = m->level == "pmd";
	CHECK(in_large || !have_large_leaves(),
	      "text is not in large pages, without a reason: %s", m->line.c_str());
	diag("text comes %s, in %s pages", have_pool() ? "from a pool" : "piece by piece", in_large ? "large" : "small");

	/*
	 * What to begin and to end with counting costs by itself. Without the series
	 * freed text may split a large page some time later.
	 */
	for (int i = 0; i < 5 && (!i || !idle.none()); i++) {
		settle();
		count->begin();
		idle = count->end();
	}
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(idle.none(), "%s", idle.describe("nothing", 1).c_str());
	return pass();
}

/* kB of the linear mapping that are in pages of more than 4 kB. */
static u64 linear_in_large_pages()
{
	u64 n = 0;

	for (const std::string &line : split(read_or_fail("/proc/meminfo")))
		if (line.starts_with("DirectMap2M:") || line.starts_with("DirectMap1G:"))
			n += strtoull(words(line)[1].c_str(), nullptr, 10);
	return n;
}

/* The probes count: a page made executable and back is seen. */
static result counters_count()
{
	TRY(need_counters(count));
	TRY(need_module("execmem_clone_000"));
	count->begin();
	CHECK(!load_module("execmem_clone_000"), "execmem_clone_000 does not load");
	CHECK(!unload_module("execmem_clone_000"), "execmem_clone_000 does not unload");
	figures f = count->end();
	diag("%s", f.describe("module load and unload", 1).c_str());
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(f.shootdowns > 0 && f.permissions > 0, "a module came and went, and nothing was counted");
	/* More than it takes to begin and to end with counting. */
	CHECK(f.patches > idle.patches, "a module came and went, and no live text was patched");
	CHECK(!count->tells_pieces() || (f.allocs > 0 && f.frees > 0),
	      "a module came and went, and none of its pieces was counted");
	return pass();
}

/* Splits count: a page of the linear mapping gets permissions of its own on purpose. */
static result splits_count()
{
	TRY(need_counters(count));
	TRY(need_module("execmem_bad"));
	if (!linear_in_large_pages())
		return skip("the linear mapping has no large page that could be split (debug_pagealloc)");
	loaded_module bad("execmem_bad", "mode=split");
	CHECK(!bad.err, "execmem_bad: %s", strerror(-bad.err));
	const s64 expected = atoll(module_param("execmem_bad", "splits").c_str());
	CHECK(expected > 0, "execmem_bad has nothing to split");
	count->begin();
	int err = spit("/sys/module/execmem_bad/parameters/split", "1");
	figures f = count->end();
	diag("%s", f.describe("a split on purpose", 1).c_str());
	CHECK(!err, "split: %s", strerror(-err));
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(f.splits == expected, "%lld pages of the linear mapping were split, %lld counted", (long long)expected,
	      (long long)f.splits);
	CHECK(f.permissions == 2 && f.shootdowns > 0, "permissions changed twice, and that was not counted");
	return pass();
}

static result bpf_programs()
{
	TRY(need_counters(count));
	TRY(need_jit());
	size_t n = how_often();
	std::vector<unique_fd> progs;
	auto load = [&] {
		for (size_t i = 0; i < n; i++)
			progs.emplace_back(bpf_prog_load(bpf_return(i, 20)));
	};
	/* Room for all of them is there from now on. */
	count->begin();
	load();
	progs.clear();
	TRY(freed("BPF programs that make room", "bpf", n));
	settle();
	count->begin();
	load();
	figures in = count->end();
	for (const unique_fd &p : progs)
		CHECK(p, "program: %s", strerror(-p.fd));
	count->begin();
	progs.clear();
	TRY(freed("BPF program unload", "bpf", n));
	figures out = count->end();
	result r = judge("BPF program load", n, in, n, 0);
	TRY(judge("BPF program unload", n, out, 0, n));
	return r;
}

static result bpf_trampolines()
{
	TRY(need_counters(count));
	TRY(need_bpf_trampolines());
	size_t n = how_often();
	unique_fd prog(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
	CHECK(prog, "fentry: %s", strerror(-prog.fd));
	{
		unique_fd warm(bpf_attach(prog.fd));
		CHECK(warm, "attach: %s", strerror(-warm.fd));
	}
	settle();
	count->begin();
	for (size_t i = 0; i < n; i++) {
		unique_fd link(bpf_attach(prog.fd));
		CHECK(link, "attach: %s", strerror(-link.fd));
	}
	TRY(freed("BPF trampoline on and off", "bpf", n));
	return judge("BPF trampoline on and off", n, count->end(), n, n);
}

static result kprobe_slots()
{
	TRY(need_counters(count));
	TRY(need_module("execmem_clone_000"));
	/* At least 20 places in each. */
	module_clones clones(std::max<size_t>(how_often() / 20 + 1, 10));
	CHECK(!clones.err, "clones: %s", strerror(-clones.err));
	kprobe_set probes("execmem_slots");
	auto probe = [&] {
		for (const std::string &clone : clones.names)
			probes.fill(clone + ":execmem_clone_work");
	};
	probe();
	probes.remove();
	settle();
	count->begin();
	probe();
	figures in = count->end();
	const size_t n = probes.size();
	/* 256 slots are in a page, one of which may be there. */
	const size_t pages = (n - 1) / 256;
	CHECK(n >= how_often() && pages > 0, "only %zu probes", n);
	count->begin();
	probes.remove();
	TRY(freed("kprobe off", "kprobes", pages));
	figures out = count->end();
	result r = judge("kprobe on", n, in, pages, 0);
	TRY(judge("kprobe off", n, out, 0, pages));
	return r;
}

/*
 * Those that become a jump to code of their own, in so many modules at a time
 * that they need more than one page of slots, which one page that stays is not
 * enough for.
 */
static result optprobe_slots()
{
	static constexpr size_t nr_clones = 40;

	TRY(need_counters(count));
	TRY(need_module("execmem_clone_000"));
	if (trim(slurp("/proc/sys/debug/kprobes-optimization").value_or("0")) != "1")
		return skip("CONFIG_OPTPROBES is not set");
	module_clones clones(nr_clones);
	CHECK(!clones.err, "clones: %s", strerror(-clones.err));
	unsigned int offset = 0;
	{
		auto first = kprobe_optimised("first", clones.names[0] + ":execmem_clone_work");
		CHECK(first, "no kprobe becomes a jump");
		offset = first->offset;
	}
	auto on_and_off = [&] {
		std::vector<std::unique_ptr<kprobe_event>> probes;

		for (const std::string &clone : clones.names) {
			auto p = std::make_unique<kprobe_event>("opt_" + clone, clone + format(":execmem_clone_work+%u", offset));

			CHECK(!p->err && !p->enable(true), "no kprobe in %s", clone.c_str());
			p->symbol = clone + ":execmem_clone_work";
			p->offset = offset;
			probes.push_back(std::move(p));
		}
		for (const auto &p : probes)
			CHECK(wait_for(10000, [&] { return p->optimised(); }), "%s does not become a jump", p->name.c_str());
		return pass();
	};
	TRY(on_and_off());
	settle();
	size_t n = 0, rounds = 0;
	count->begin();
	for (; n < how_often(); n += nr_clones, rounds++)
		TRY(on_and_off());
	TRY(freed("optprobe on and off", "kprobes", rounds));
	return judge("optprobe on and off", n, count->end(), rounds, rounds);
}

static result ftrace_trampolines()
{
	TRY(need_counters(count));
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	size_t n = how_often();
	{
		trace_instance warm("warm", traceable_getppid());
		CHECK(!warm.err, "trace instance: %s", strerror(-warm.err));
	}
	figures f;
	for (size_t i = 0; i < n; i++) {
		/* An instance has buffers, which are vmalloc() memory: not counted. */
		trace_instance t("counted", traceable_getppid());
		CHECK(!t.err, "trace instance: %s", strerror(-t.err));
		spit(t.dir + "/current_tracer", "nop");
		count->begin();
		spit(t.dir + "/current_tracer", "function");
		spit(t.dir + "/current_tracer", "nop");
		f += count->end();
	}
	return judge("ftrace trampoline", n, f, n, n);
}

/* Bytes of text outside the image, as the page tables have it. */
static u64 text_bytes()
{
	static const kallsyms ks;
	const u64 image = ks.addr("_text"), image_end = ks.addr("_end");
	page_tables pt;
	u64 n = 0;

	for (const mapping &m : pt.maps)
		if (m.exec && (m.end <= image || m.start >= image_end))
			n += m.end - m.start;
	return n;
}

/*
 * What is paid once, when there is no room: shown apart, as the other cases do
 * not have it. A new large page costs one shootdown, for its alias, and one more
 * where it replaces a table of small ones, which happens once at most to an
 * address; one that goes costs one. It splits nothing.
 */
static result more_room()
{
	TRY(need_counters(count));
	TRY(need_jit());
	TRY(need_dump());
	settle();
	const u64 before = text_bytes();
	std::vector<unique_fd> progs;
	count->begin();
	for (int i = 0; i < 100; i++)
		progs.emplace_back(bpf_prog_load(bpf_return_large(i, 8000)));
	figures in = count->end();
	const s64 tables = count->below({ "vm_area_map_run" }).shootdowns;
	for (const unique_fd &p : progs)
		CHECK(p, "program: %s", strerror(-p.fd));
	const u64 most = text_bytes();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(most >= before + 2 * large, "%llu bytes of text became %llu", (unsigned long long)before,
	      (unsigned long long)most);
	const size_t grown = (most - before) / large;
	diag("%s, %lld of the shootdowns for tables", in.describe("2 MB more for text", grown).c_str(),
	     (long long)tables);
	if (in_large && in.shootdowns - tables > static_cast<s64>(grown))
		count->tell_shootdowns();
	CHECK(!in_large || (in.shootdowns - tables <= static_cast<s64>(grown) &&
			  tables <= static_cast<s64>(grown) && !in.splits),
	      "%lld shootdowns and %lld splits for %zu large pages", (long long)in.shootdowns,
	      (long long)in.splits, grown);

	count->begin();
	const size_t nr_progs = progs.size();
	progs.clear();
	TRY(freed("2 MB less for text", "bpf", nr_progs));
	figures out = count->end();
	const u64 after = text_bytes();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	const s64 given_back = (most - std::min(most, after)) / large;
	diag("%s", out.describe("2 MB less for text", given_back).c_str());
	CHECK(given_back > 0, "%llu bytes of text became %llu", (unsigned long long)most, (unsigned long long)after);
	CHECK(!in_large || out.shrinks == given_back, "%lld large pages went, and %lld chunks were given back",
	      (long long)given_back, (long long)out.shrinks);
	CHECK(!in_large || (out.shootdowns <= given_back && !out.splits),
	      "%lld shootdowns and %lld splits when %lld large pages go", (long long)out.shootdowns,
	      (long long)out.splits, (long long)given_back);
	return pass();
}

int main()
{
	int ret = run_cases({
		{ "source", source },
		{ "counters_count", counters_count, "source" },
		{ "splits_count", splits_count },
		{ "bpf_programs", bpf_programs, "source" },
		{ "bpf_trampolines", bpf_trampolines },
		{ "kprobe_slots", kprobe_slots },
		{ "optprobe_slots", optprobe_slots },
		{ "ftrace_trampolines", ftrace_trampolines },
		{ "more_room", more_room, "source" },
	});

	count.reset();
	return ret;
}
