// SPDX-License-Identifier: GPL-2.0
/*
 * Ranges without room: what still gets memory lies where it should and works
 * there, on a fallback or far from what it calls; what gets none says so. While
 * a case runs nobody else on this machine gets memory for modules.
 */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "footprint.hpp"
#include "kallsyms.hpp"
#include "klog.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "places.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "tracer.hpp"
#include "types.hpp"

/* A range without room, for as long as the object lives. */
struct full_range {
	loaded_module m;
	std::string param = "/sys/module/execmem_fill/parameters/fill";
	std::string pool = "/sys/module/execmem_fill/parameters/pool";
	int err;

	full_range() : m("execmem_fill"), err(m.err) { }
	~full_range() { empty(); }

	/* All of @r but @leave pages in one piece. */
	void fill(const region &r, unsigned long leave)
	{
		if (!err)
			err = spit(param, format("%#llx %#llx %lu", (unsigned long long)r.start,
						 (unsigned long long)r.end, leave));
		diag("%s pages of %#llx-%#llx taken", trim(slurp(param).value_or("no")).c_str(),
		     (unsigned long long)r.start, (unsigned long long)r.end);
	}

	/* What a pool has reserved of that for programs before, but for less than 2 MB in each chunk. */
	void fill_pool()
	{
		if (!err && have_pool())
			err = spit(pool, "1");
	}

	void empty()
	{
		spit(pool, "0");
		spit(param, "-");
	}
};

static u64 lowest_section(const std::string &module)
{
	u64 lo = ~0ULL;

	for (const char *s : { ".text", ".rodata", ".data", ".data..ro_after_init", ".bss" })
		if (u64 addr = section_addr(module, s))
			lo = std::min(lo, addr);
	return lo;
}

static result need_fill()
{
	TRY(need_places());
	TRY(need_module("execmem_fill"));
	TRY(need_module("execmem_test"));
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set (execmem_fill looks up a function)");
	return need_module("execmem_clone_000");
}

/* With the first range full, module text goes to the second one, and works there. */
static result module_fallback()
{
	u64 first, reach;

	switch (arch) {
	case arch_id::arm64:	/* 128M around the image, then 2G through PLTs */
		first = 128 << 20;
		reach = 2ULL << 30;
		break;
	default:
		return skip("module text has one range only on this architecture");
	}
	TRY(need_fill());
	full_range full;
	CHECK(!full.err, "execmem_fill: %s", strerror(-full.err));
	module_clones near(1);
	CHECK(!near.err, "a module in the first range: %s", strerror(-near.err));
	/* The memory of init is freed late, and would be found instead. */
	settle();

	u64 base = std::min(lowest_section("execmem_fill"), lowest_section(near.names[0]));
	region taken = { base, base + first }, second = { base + first, base + reach };
	full.fill(taken, 0);
	CHECK(!full.err, "filling the first range: %s", strerror(-full.err));

	loaded_module far("execmem_test");
	CHECK(!far.err, "execmem_test does not load: %s", strerror(-far.err));
	view v;
	TRY(check_place(v, ".text", section_addr("execmem_test", ".text"), second, ROX));
	TRY(check_place(v, ".rodata", section_addr("execmem_test", ".rodata"), second, RO));
	TRY(check_place(v, ".data", section_addr("execmem_test", ".data"), second, RW));
	for (const char *p : { "reloc_pcrel", "reloc_data", "reloc_rodata", "reloc_init", "reloc_percpu",
			       "exception_table", "bug_table" })
		CHECK(module_param("execmem_test", p) != "0", "%s is wrong in the second range", p);
	CHECK(module_param("execmem_test", "target") == "31 52", "execmem_target gives %s",
	      module_param("execmem_test", "target").c_str());
	diag("first range %#llx-%#llx, .text now at %#llx", (unsigned long long)taken.start,
	     (unsigned long long)taken.end, (unsigned long long)section_addr("execmem_test", ".text"));
	return pass();
}

/*
 * The pieces of a module find room far from each other only: it works, or it is
 * refused, as references inside of a module have 32 bits on most architectures.
 */
static result module_apart()
{
	TRY(need_fill());
	full_range full;
	CHECK(!full.err, "execmem_fill: %s", strerror(-full.err));
	view v;
	settle();

	/* A page and its guard for some of the pieces; the others have to go behind 8 GB. */
	const region all = v.where.module;
	full.fill({ all.start, all.start + std::min<u64>(all.end - all.start, 8ULL << 30) }, 6);
	CHECK(!full.err, "filling the range: %s", strerror(-full.err));
	expected_noise noise(no_memory);
	loaded_module m("execmem_test");
	if (m.err == -ENOMEM) {
		diag("refused");
		return noise.no_splat();
	}
	u64 lo = ~0ULL, hi = 0;
	std::string where;
	for (const char *s : { ".text", ".rodata", ".data", ".data..ro_after_init", ".bss", ".toc" }) {
		u64 addr = m.err ? 0 : section_addr("execmem_test", s);

		if (!addr)
			continue;
		where += format(" %s %#llx", s, (unsigned long long)addr);
		lo = std::min(lo, addr);
		hi = std::max(hi, addr);
	}
	diag("sections:%s", where.c_str());
	CHECK(!m.err, "execmem_test: %s, and not for lack of memory: %s", strerror(-m.err),
	      noise.mark.since().c_str());
	for (const char *p : { "reloc_pcrel", "reloc_data", "reloc_rodata", "reloc_init", "reloc_percpu",
			       "exception_table", "bug_table", "string_constant", "ro_after_init_value" })
		CHECK(module_param("execmem_test", p) != "0", "%s is wrong in a module of %llu MB", p,
		      (unsigned long long)(hi - lo) >> 20);
	CHECK(module_param("execmem_test", "target") == "31 52", "execmem_target gives %s",
	      module_param("execmem_test", "target").c_str());
	CHECK(hi - lo < 1ULL << 31, "the sections of a module are %llu MB apart",
	      (unsigned long long)(hi - lo) >> 20);
	return noise.no_splat();
}

/*
 * Nearly everything is taken: what still gets memory lies where it should, what
 * gets none says so and leaves nothing behind, and what can do without does.
 */
static result exhausted()
{
	/* More than fits into the chunks that are there. */
	const size_t nr_progs = have_pool() ? 20 : 5;

	TRY(need_fill());
	full_range full;
	CHECK(!full.err, "execmem_fill: %s", strerror(-full.err));
	view v;
	{
		/* What stays for good once it was used: a slot page, a BPF pack. */
		live_load warm(10);
		CHECK(warm.error.empty(), "%s", warm.error.c_str());
	}
	footprint before = settle();
	region all = v.where.module;
	if (arch == arch_id::arm64) {
		u64 base = lowest_section("execmem_fill");

		all = { base, base + (2ULL << 30) };
	}
	expected_noise noise(no_memory);
	full.fill(all, 256);
	full.fill_pool();
	CHECK(!full.err, "filling the range: %s", strerror(-full.err));

	{
		module_clones clones(100);
		CHECK(clones.err == -ENOMEM && !clones.names.empty(), "%zu modules fit into 256 pages, then: %s",
		      clones.names.size(), strerror(-clones.err));
		diag("%zu modules fit into 256 pages", clones.names.size());
		view now;
		for (const std::string &name : clones.names) {
			TRY(check_place(now, name.c_str(), section_addr(name, ".text"), all, ROX));
			TRY(check_place(now, name.c_str(), section_addr(name, ".data"), all, RW));
		}
		if (have_function_tracer()) {
			trace_instance t("exhausted", traceable_getppid());
			CHECK(!t.err, "trace instance: %s", strerror(-t.err));
			for (int i = 0; i < 10; i++)
				syscall(SYS_getppid);
			CHECK(t.count(traceable_getppid()) == 10, "10 calls, %zu traced",
			      t.count(traceable_getppid()));
		}
		if (need_jit().verdict == result::PASS) {
			std::vector<unique_fd> progs;
			size_t jited = 0, tried = 0, without = 0;

			for (size_t i = 0; i < nr_progs && without < 3; i++) {
				tried++;
				unique_fd prog(bpf_prog_load(bpf_return_large(i, 40000)));
				u32 ret = 0;

				/* Without memory for the JIT it is interpreted, or refused. */
				if (prog.fd == -ENOMEM || prog.fd == -enotsupp) {
					without++;
					continue;
				}
				CHECK(prog && !bpf_run(prog.fd, &ret) && ret == i, "program %zu: %s, gives %u",
				      i, prog ? "runs" : strerror(-prog.fd), ret);
				const std::vector<bpf_image> images = bpf_images(prog.fd);
				without += images.empty();
				for (const bpf_image &image : images) {
					jited++;
					CHECK(v.where.bpf.holds(image.addr), "BPF program at %#llx",
					      (unsigned long long)image.addr);
				}
				progs.push_back(std::move(prog));
			}
			if (arch == arch_id::x86_64)
				CHECK(without, "all %zu BPF programs found room in a full range", tried);
			diag("%zu of %zu BPF programs were JITed", jited, tried);
		}
		TRY(no_wx());
	}

	full.fill(all, 0);
	CHECK(!full.err, "filling the range: %s", strerror(-full.err));
	int err = load_module("execmem_test");
	CHECK(err == -ENOMEM, "a module in a full range: %s", err ? strerror(-err) : "loaded");
	full.empty();
	TRY(noise.no_splat());
	err = load_module("execmem_test");
	CHECK(!err && module_param("execmem_test", "target") == "31 52", "after it: %s", strerror(-err));
	CHECK(!unload_module("execmem_test"), "execmem_test does not unload");
	TRY(no_wx());
	return no_growth(before);
}

/* What bpftool shows for the calls of a program. */
static std::vector<std::string> dumped_calls(int prog)
{
	std::vector<std::string> calls;
	std::string out = output_of({ self_dir() + "/bpftool_dump", std::to_string(bpf_prog_id(prog)) });

	for (const std::string &line : split(out))
		if (line.find("call pc") != line.npos)
			calls.push_back(line);
	return calls;
}

/*
 * BPF programs and their subprograms lie apart as far as the range allows, up
 * to 8 GB: the calls arrive, and bpftool names what is called. An instruction
 * has 32 bits for the distance, which is not enough on powerpc and arm64.
 */
static result far_subprogram()
{
	TRY(need_fill());
	TRY(need_jit());
	CHECK(exists(self_dir() + "/bpftool_dump"), "bpftool_dump is missing");
	full_range full;
	CHECK(!full.err, "execmem_fill: %s", strerror(-full.err));
	view v;
	settle();

	const region all = v.where.bpf;
	const u64 farthest = std::min<u64>((all.end - all.start) / 2, 8ULL << 30);
	std::vector<unique_fd> progs;
	/* x86 has packs of 2 MB that both images go to: once will do. */
	const int steps = arch == arch_id::x86_64 ? 1 : 8;
	for (int step = 1; step <= steps; step++) {
		/*
		 * Room for so many single pages with their guards, and nothing else
		 * up to there. What else a program takes of the vmalloc range comes
		 * first; for one of these numbers the border is between the images.
		 */
		full.fill({ all.start, all.start + farthest }, 2 * step);
		CHECK(!full.err, "filling the range: %s", strerror(-full.err));
		/* f(x) = x + 41, from three places: r0 = f(1) + f(f(2)) */
		unique_fd prog(bpf_prog_load({
			mov_imm(BPF_REG_1, 1),
			call_subprog(7),
			mov_reg(BPF_REG_6, BPF_REG_0),
			mov_imm(BPF_REG_1, 2),
			call_subprog(4),
			mov_reg(BPF_REG_1, BPF_REG_0),
			call_subprog(2),
			add_reg(BPF_REG_0, BPF_REG_6),
			exit_insn(),
			mov_reg(BPF_REG_0, BPF_REG_1),
			add_imm(BPF_REG_0, 41),
			exit_insn(),
		}));
		CHECK(prog, "load: %s", strerror(-prog.fd));
		progs.push_back(std::move(prog));
	}
	full.empty();

	kallsyms ks;
	u64 most = 0;
	size_t unnamed = 0;
	for (const unique_fd &prog : progs) {
		std::vector<bpf_image> images = bpf_images(prog.fd);
		CHECK(images.size() == 2, "%zu JITed images, expected program and subprogram", images.size());
		const u64 caller = images[0].addr, callee = images[1].addr;
		const u64 away = std::max(caller, callee) - std::min(caller, callee);
		most = std::max(most, away);

		u32 got = 0;
		int err = bpf_run(prog.fd, &got);
		CHECK(!err && got == 42 + 84, "from %#llx to %#llx: the program gives %u, expected %d: %s",
		      (unsigned long long)caller, (unsigned long long)callee, got, 42 + 84, strerror(-err));

		std::string name;
		for (const symbol &s : ks.syms)
			if (s.addr == callee && s.module == "bpf")
				name = s.name;
		CHECK(!name.empty(), "no symbol at %#llx in kallsyms", (unsigned long long)callee);
		std::vector<std::string> calls = dumped_calls(prog.fd);
		CHECK(calls.size() == 3, "bpftool shows %zu calls, expected 3", calls.size());
		for (const std::string &line : calls) {
			if (line.ends_with("#" + name))
				continue;
			unnamed++;
			diag("%s: should name %s at %#llx", line.c_str(), name.c_str(), (unsigned long long)callee);
		}
	}
	diag("caller and callee up to %llu MB apart", (unsigned long long)most >> 20);
	CHECK(!unnamed, "bpftool does not name the callee of %zu calls", unnamed);
	CHECK(arch == arch_id::x86_64 || most >= farthest / 4, "no program is far from its subprogram");
	return pass();
}

int main()
{
	return run_cases({
		{ "far_subprogram", far_subprogram },
		{ "module_fallback", module_fallback },
		{ "module_apart", module_apart },
		{ "exhausted", exhausted },
	});
}
