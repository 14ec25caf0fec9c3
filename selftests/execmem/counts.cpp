// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs all CPUs when code comes and goes: TLB shootdowns, splits of the
 * linear mapping, changes of permissions, and broadcasts that make CPUs
 * serialize, for each of many operations. Counted by probes on the functions
 * that do it, in the kernel as it is: the same test says what a kernel without
 * execmem does.
 *
 * Where text comes from a pool of large pages none of the first three may
 * happen at all. Where it does not the figures are only shown.
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
#include "proc.hpp"
#include "run.hpp"
#include "tracer.hpp"
#include "types.hpp"

static std::unique_ptr<counters> count;
static bool in_large;
static figures idle;

/* Of text from a pool at least so many @pieces are allocated, and it costs nobody anything. */
static result judge(const char *what, size_t n, const figures &f, size_t pieces = 0)
{
	std::string line = f.describe(what, n);

	diag("%s", line.c_str());
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(!have_pool() || (f.none() && f.pieces >= static_cast<s64>(pieces)), "%s", line.c_str());
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

/* The probes count: a page made executable and back is seen. */
static result counters_count()
{
	TRY(need_counters(count));
	TRY(need_module("execmem_clone_000"));
	count->begin();
	CHECK(!load_module("execmem_clone_000"), "execmem_clone_000 does not load");
	CHECK(!unload_module("execmem_clone_000"), "execmem_clone_000 does not unload");
	figures f = count->end();
	CHECK(f.shootdowns > 0 && f.permissions > 0, "a module came and went, and nothing was counted");
	diag("%s", f.describe("module load and unload", 1).c_str());
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
	load();			/* room for all of them is there from now on */
	progs.clear();
	settle();
	count->begin();
	load();
	figures in = count->end();
	for (const unique_fd &p : progs)
		CHECK(p, "program: %s", strerror(-p.fd));
	count->begin();
	progs.clear();
	usleep(1000000);
	figures out = count->end();
	result r = judge("BPF program load", n, in, n);
	TRY(judge("BPF program unload", n, out));
	/* After a program was written, and before it runs, each CPU has to serialize. */
	const s64 syncs = in.syncs - idle.syncs;
	CHECK(!have_pool() || syncs >= static_cast<s64>(n), "%lld syncs for %zu programs", (long long)syncs, n);
	/* To free one costs nobody anything: it waits for the next that is written. */
	const s64 freed = out.syncs - idle.syncs;
	CHECK(!have_pool() || freed <= static_cast<s64>(n) / 10, "%lld syncs for %zu programs that went", (long long)freed, n);
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
	usleep(1000000);
	return judge("BPF trampoline on and off", n, count->end(), n);
}

static result kprobe_slots()
{
	TRY(need_counters(count));
	TRY(need_module("execmem_clone_000"));
	/* At least 20 places in each. */
	module_clones clones(std::max<size_t>(how_often() / 20 + 1, 10));
	CHECK(!clones.err, "clones: %s", strerror(-clones.err));
	std::vector<std::string> made;
	auto probe = [&] {
		for (const std::string &clone : clones.names) {
			const auto starts = instructions(clone + ":execmem_clone_work", 80);

			for (int off = 4; off < 80; off++)
				if ((!starts || starts->count(off)) &&
				    !append(tracefs("kprobe_events"),
					    format("p:execmem_slots/%s_%d %s:execmem_clone_work+%d\n", clone.c_str(),
						   off, clone.c_str(), off)))
					made.push_back(format("-:execmem_slots/%s_%d\n", clone.c_str(), off));
		}
	};
	auto remove = [&] {
		for (const std::string &m : made)
			append(tracefs("kprobe_events"), m);
		made.clear();
	};
	probe();
	remove();
	settle();
	count->begin();
	probe();
	figures in = count->end();
	size_t n = made.size();
	count->begin();
	remove();
	usleep(2000000);
	figures out = count->end();
	CHECK(n >= how_often(), "only %zu probes", n);
	/* 256 slots are in a page, one of which may be there. */
	result r = judge("kprobe on", n, in, (n - 1) / 256);
	TRY(judge("kprobe off", n, out));
	return r;
}

/* Those that become a jump to code of their own, in ten modules at a time. */
static result optprobe_slots()
{
	static constexpr size_t nr_clones = 10;

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
	size_t n = 0;
	count->begin();
	for (; n < how_often(); n += nr_clones)
		TRY(on_and_off());
	usleep(1000000);
	return judge("optprobe on and off", n, count->end());
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
	return judge("ftrace trampoline", n, f, n);
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
 * not have it. A new large page costs two shootdowns, for itself and for its
 * alias, and one more where it replaces a table of small ones, which happens
 * once at most to an address. It splits nothing.
 */
static result more_room()
{
	static constexpr u64 large = 2 << 20;

	TRY(need_counters(count));
	TRY(need_jit());
	if (page_tables::path().empty())
		return skip("CONFIG_PTDUMP_DEBUGFS is not set");
	settle();
	const u64 before = text_bytes();
	std::vector<unique_fd> progs;
	count->begin();
	for (int i = 0; i < 100; i++)
		progs.emplace_back(bpf_prog_load(bpf_return_large(i, 8000)));
	figures in = count->end();
	const s64 tables = count->below({ "vm_sparse_map" }).shootdowns;
	for (const unique_fd &p : progs)
		CHECK(p, "program: %s", strerror(-p.fd));
	const u64 most = text_bytes();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(most >= before + 2 * large, "%llu bytes of text became %llu", (unsigned long long)before,
	      (unsigned long long)most);
	const size_t grown = (most - before) / large;
	diag("%s, %lld of the shootdowns for tables", in.describe("2 MB more for text", grown).c_str(),
	     (long long)tables);
	if (in_large && in.shootdowns - tables > 2 * static_cast<s64>(grown))
		count->tell_shootdowns();
	CHECK(!in_large || (in.shootdowns - tables <= 2 * static_cast<s64>(grown) &&
			  tables <= static_cast<s64>(grown) && !in.splits),
	      "%lld shootdowns and %lld splits for %zu large pages", (long long)in.shootdowns,
	      (long long)in.splits, grown);

	count->begin();
	progs.clear();
	usleep(2000000);
	figures out = count->end();
	const u64 after = text_bytes();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	diag("%s", out.describe("2 MB less for text", (most - std::min(most, after)) / large).c_str());
	const s64 given_back = (most - std::min(most, after)) / large;
	CHECK(!in_large || (out.shootdowns <= 2 * given_back && !out.splits),
	      "%lld shootdowns and %lld splits when %lld large pages go", (long long)out.shootdowns,
	      (long long)out.splits, (long long)given_back);
	return pass();
}

int main()
{
	int ret = run_cases({
		{ "source", source },
		{ "counters_count", counters_count },
		{ "bpf_programs", bpf_programs },
		{ "bpf_trampolines", bpf_trampolines },
		{ "kprobe_slots", kprobe_slots },
		{ "optprobe_slots", optprobe_slots },
		{ "ftrace_trampolines", ftrace_trampolines },
		{ "more_room", more_room },
	});

	count.reset();
	return ret;
}
