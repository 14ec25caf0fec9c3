// SPDX-License-Identifier: GPL-2.0
/*
 * Each kind of run-time text lies in the range its architecture gives it, not
 * in the kernel image, and is mapped with the permissions it should have.
 * Where things lie is read from kallsyms, /sys/module/X/sections and the BPF
 * program info; how they are mapped from the page-table dump.
 */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "btf.hpp"
#include "footprint.hpp"
#include "host.hpp"
#include "kallsyms.hpp"
#include "klog.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "tracer.hpp"
#include "types.hpp"

/* What the architecture promises, from its memory layout (not from execmem). */
struct region {
	u64 start, end;

	bool holds(u64 addr) const { return addr >= start && addr < end; }
};

struct layout {
	region image;		/* [_text, _end) */
	region module;		/* modules, ftrace */
	region kprobe;
	region bpf;
};

/* Is there a table of ranges below? Without one nothing can be out of its range. */
static constexpr bool layout_known = arch == arch_id::x86_64 || arch == arch_id::arm64 ||
				     arch == arch_id::riscv || arch == arch_id::s390 ||
				     arch == arch_id::powerpc;

static layout arch_layout(const kallsyms &ks, const page_tables &pt)
{
	layout l { };
	const u64 GB = 1ULL << 30;

	/* riscv has its head before _text. */
	for (const char *first : { arch == arch_id::riscv ? "_start" : "_text", "_stext" })
		if (!l.image.start)
			l.image.start = ks.addr(first);
	l.image.end = ks.addr("_end");
	switch (arch) {
	case arch_id::x86_64:
		/* __START_KERNEL_map + KERNEL_IMAGE_SIZE: 1G with RANDOMIZE_BASE, else 512M. */
		l.module = { 0xffffffff80000000 + (ks.has("kernel_randomize_memory") ? GB : GB / 2),
			     0xffffffffff000000 };
		l.kprobe = l.bpf = l.module;
		break;
	case arch_id::arm64: {
		/* The upper half of the kernel's space starts with the modules. */
		u64 page_offset = pt.maps.empty() ? 0 : pt.maps[0].start;
		int bits = 0;

		while (bits < 52 && (~page_offset >> bits))
			bits++;
		u64 page_end = -(1ULL << (std::min(bits, 48) - 1));

		l.bpf = l.kprobe = { page_end, 0xfffffffffe000000 };
		/* In reach of a branch through a PLT, whichever way. */
		l.module = { std::max(page_end, l.image.end - 2 * GB), l.image.start + 2 * GB };
		break;
	}
	case arch_id::riscv: {
		/* Documentation/riscv/vm-layout.rst */
		std::string cpuinfo = read_or_fail("/proc/cpuinfo");

		l.module = { l.image.end - 2 * GB, l.image.start };
		l.bpf = { l.image.start - (128 << 20), l.image.start };
		l.kprobe = cpuinfo.find("sv57") != cpuinfo.npos ? region { 0xff20000000000000, 0xff60000000000000 } :
			   cpuinfo.find("sv48") != cpuinfo.npos ? region { 0xffff8f8000000000, 0xffffaf8000000000 } :
			   region { 0xffffffc800000000, 0xffffffd800000000 };
		break;
	}
	case arch_id::s390:
		/* Laid out at boot, and the dump has a line for what is not mapped, too. */
		l.module = { pt.area("Modules Area Start"), pt.area("Modules Area End") };
		l.kprobe = l.bpf = l.module;
		break;
	case arch_id::powerpc:
		/* The vmalloc range of radix, and what a TOC pointer reaches from its middle on. */
		l.kprobe = l.bpf = { 0xc008000000000000, 0xc00a000000000000 };
		l.module = { 0xc009000000000000, 0xc009000000000000 + 2 * GB };
		break;
	default:
		break;	/* need_places() has said so */
	}
	return l;
}

struct view {
	kallsyms ks;
	page_tables pt;
	layout where;

	view() : where(arch_layout(ks, pt)) { }
};

/* Where things lie can be seen, and it is known where they should. */
static result need_places()
{
	if (!layout_known)
		return skip("no table of ranges for this architecture");
	return need_dump();
}

enum perm { ROX, RO, RW };

static result check_place(const view &v, const char *what, u64 addr, const region &r, perm p)
{
	const mapping *m = v.pt.find(addr);
	bool write = p == RW, exec = p == ROX;

	CHECK(addr, "%s: no address", what);
	CHECK(r.holds(addr), "%s at %#llx is outside %#llx-%#llx", what, (unsigned long long)addr,
	      (unsigned long long)r.start, (unsigned long long)r.end);
	CHECK(!v.where.image.holds(addr), "%s at %#llx lies in the kernel image", what, (unsigned long long)addr);
	CHECK(m, "%s at %#llx is not mapped", what, (unsigned long long)addr);
	CHECK(m->write == write && m->exec == exec, "%s at %#llx should be %s: %s", what,
	      (unsigned long long)addr, p == ROX ? "ROX" : p == RO ? "RO" : "RW", m->line.c_str());
	return pass();
}

/* For the table of the host, which compares boots: what KASLR did to this one. */
static void note_bases()
{
	host_channel host;
	kallsyms ks;
	std::string bases = format("image %#llx", (unsigned long long)ks.addr("_text"));

	if (have_modules()) {
		loaded_module m("execmem_test");
		bases += format(" first-module %#llx", (unsigned long long)section_addr("execmem_test", ".text"));
	}
	unique_fd prog(bpf_prog_load(bpf_return(1)));
	if (prog && !bpf_images(prog.fd).empty())
		bases += format(" first-program %#llx",
				(unsigned long long)bpf_images(prog.fd)[0].addr & ~(page_size() - 1));
	diag("%s", bases.c_str());
	host.send("summary bases: " + bases);
}

static result image_is_known()
{
	note_bases();
	TRY(need_places());
	view v;

	CHECK(v.where.image.start && v.where.image.end > v.where.image.start, "_text and _end are not in kallsyms");
	diag("image %#llx-%#llx, modules %#llx-%#llx", (unsigned long long)v.where.image.start,
	     (unsigned long long)v.where.image.end, (unsigned long long)v.where.module.start,
	     (unsigned long long)v.where.module.end);
	return pass();
}

static result module_sections()
{
	TRY(need_places());
	TRY(need_module("execmem_test"));
	loaded_module m("execmem_test");

	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	view v;
	static const struct {
		const char *section;
		perm p;
		bool needed;
	} sections[] = {
		{ ".text", ROX, true },
		{ ".exit.text", ROX, false },
		{ ".rodata", RO, true },
		{ ".rodata.str1.1", RO, false },
		{ "__ex_table", RO, false },
		{ "__bug_table", RW, false },
		{ ".data", RW, true },
		{ ".bss", RW, true },
		{ ".data..ro_after_init", RO, true },
		{ "__jump_table", RO, false },
	};
	u64 text = section_addr("execmem_test", ".text");

	for (const auto &s : sections) {
		u64 addr = section_addr("execmem_test", s.section);

		if (!addr && !s.needed)
			continue;
		TRY(check_place(v, s.section, addr, v.where.module, s.p));
		s64 away = addr - text;
		CHECK(away == (int)away, "%s at %#llx is over 2G from .text at %#llx", s.section,
			      (unsigned long long)addr, (unsigned long long)text);
	}

	/* kallsyms and the section agree where the text is. */
	u64 target = v.ks.addr("execmem_target", "execmem_test");
	CHECK(target >= text && target < text + (1 << 20), "execmem_target at %#llx, .text at %#llx",
	      (unsigned long long)target, (unsigned long long)text);
	return pass();
}

/* Only where init text was: by now it is freed, and must not be left executable and named. */
static result module_init_text()
{
	TRY(need_places());
	TRY(need_module("execmem_test"));
	loaded_module m("execmem_test");

	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	view v;
	u64 addr = section_addr("execmem_test", ".init.text");

	CHECK(addr, "no address of .init.text");
	CHECK(v.where.module.holds(addr) && !v.where.image.holds(addr), ".init.text was at %#llx",
	      (unsigned long long)addr);
	CHECK(!v.ks.addr("check_relocations", "execmem_test"), "a symbol of the freed init text is still there");
	return pass();
}

static result many_modules()
{
	TRY(need_places());
	TRY(need_module("execmem_clone_000"));
	module_clones clones(100);

	CHECK(!clones.err, "module %zu: %s", clones.names.size(), strerror(-clones.err));
	view v;
	u64 lo = ~0ULL, hi = 0;

	for (const std::string &name : clones.names) {
		u64 text = section_addr(name, ".text"), data = section_addr(name, ".data");

		TRY(check_place(v, name.c_str(), text, v.where.module, ROX));
		TRY(check_place(v, name.c_str(), data, v.where.module, RW));
		lo = std::min(lo, text);
		hi = std::max(hi, text);
	}
	diag("100 modules: text %#llx-%#llx", (unsigned long long)lo, (unsigned long long)hi);
	return pass();
}

static result bpf_program()
{
	TRY(need_places());
	TRY(need_jit());
	/* r0 = sub(1): a program and a subprogram. */
	unique_fd prog(bpf_prog_load({
		mov_imm(BPF_REG_1, 1),
		call_subprog(1),
		exit_insn(),
		mov_reg(BPF_REG_0, BPF_REG_1),
		add_imm(BPF_REG_0, 41),
		exit_insn(),
	}));

	CHECK(prog, "program load: %s", strerror(-prog.fd));
	std::vector<bpf_image> images = bpf_images(prog.fd);
	view v;
	CHECK(images.size() == 2, "%zu JITed images, expected program and subprogram", images.size());
	for (const bpf_image &i : images) {
		TRY(check_place(v, "BPF program", i.addr, v.where.bpf, ROX));
		TRY(check_place(v, "end of BPF program", i.addr + i.len - 1, v.where.bpf, ROX));
		/* The same address under its name. */
		bool named = false;
		for (const symbol &s : v.ks.syms)
			named |= s.addr == i.addr && s.module == "bpf" && s.name.starts_with("bpf_prog_");
		CHECK(named, "no bpf_prog_* at %#llx in kallsyms", (unsigned long long)i.addr);
	}
	return pass();
}

static result named_places(const std::string &prefix, const char *what, region layout::*range,
			   const char *builtin)
{
	view v;
	size_t n = 0;

	for (const symbol &s : v.ks.with_prefix(prefix)) {
		if (s.module != builtin)
			continue;
		TRY(check_place(v, what, s.addr, v.where.*range, ROX));
		n++;
	}
	diag("%zu of %s in kallsyms", n, what);
	CHECK(n, "no %s in kallsyms", prefix.c_str());
	return pass();
}

static result bpf_trampoline()
{
	TRY(need_places());
	TRY(need_bpf_trampolines());
	unique_fd prog(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));

	if (prog.fd == -ENOENT)
		return skip("CONFIG_NET is not set (no bpf_fentry_test1)");
	CHECK(prog, "fentry load: %s", strerror(-prog.fd));
	unique_fd link(bpf_attach(prog.fd));
	if (!link && arch != arch_id::x86_64)
		return skip("no BPF trampolines on this architecture");
	CHECK(link, "attach: %s", strerror(-link.fd));
	return named_places("bpf_trampoline_", "BPF trampoline", &layout::bpf, "bpf");
}

static result kprobe_slot()
{
	TRY(need_places());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	/* Only probes that are not optimised keep to their slot, all have one. */
	std::string fn = getppid_symbol(kallsyms());
	std::unique_ptr<module_clones> clone;
	if (arch == arch_id::s390) {
		/* Probes in the image have theirs in the image. */
		TRY(need_module("execmem_clone_000"));
		clone = std::make_unique<module_clones>(1);
		CHECK(!clone->err, "execmem_clone_000: %s", strerror(-clone->err));
		fn = "execmem_clone_000:execmem_clone_work";
	}
	auto ev = kprobe_inside("placed", fn);

	CHECK(ev, "no kprobe inside %s", fn.c_str());
	return named_places("kprobe_insn_page", "kprobe slot page", &layout::kprobe, "__builtin__kprobes");
}

static result optprobe_slot()
{
	TRY(need_places());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	if (!exists("/proc/sys/debug/kprobes-optimization"))
		return skip("CONFIG_OPTPROBES is not set");
	if (arch != arch_id::x86_64 && arch != arch_id::i386)
		return skip("optprobes of this architecture use a fixed area");
	set_for_now("/proc/sys/debug/kprobes-optimization", "1");
	std::string fn = getppid_symbol(kallsyms());
	auto ev = kprobe_optimised("placed", fn);

	CHECK(ev, "no kprobe in %s was optimised", fn.c_str());
	return named_places("kprobe_optinsn_page", "optprobe slot page", &layout::kprobe, "__builtin__kprobes");
}

static result ftrace_trampoline()
{
	TRY(need_places());
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	if (arch != arch_id::x86_64 && arch != arch_id::i386)
		return skip("no ftrace trampolines on this architecture");
	trace_instance t("placed", traceable_getppid());
	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	return named_places("ftrace_trampoline", "ftrace trampoline", &layout::module, "__builtin__ftrace");
}

/*
 * With KASLR nothing ever lies where the range of modules starts: x86 leaves
 * out 1 to 1024 pages. How random that is takes many boots (check-long).
 */
static result module_base_is_random()
{
	TRY(need_places());
	TRY(need_module("execmem_clone_000"));
	if (arch != arch_id::x86_64)
		return skip("the base of modules is not a multiple of something that could be tested in one boot");
	view v;
	if (read_or_fail("/proc/cmdline").find("nokaslr") != std::string::npos)
		return skip("nokaslr");
	if (!v.ks.has("kernel_randomize_memory"))
		return skip("CONFIG_RANDOMIZE_MEMORY is not set");
	module_clones some(3);
	CHECK(!some.err, "execmem_clone_000: %s", strerror(-some.err));
	page_tables pt;
	u64 start = v.where.module.start, lowest = v.where.module.end;
	for (const mapping &m : pt.maps)
		if (v.where.module.holds(m.start))
			lowest = std::min(lowest, m.start);
	diag("the range starts at %#llx, what is in it at %#llx", (unsigned long long)start,
	     (unsigned long long)lowest);
	CHECK(lowest > start && lowest < start + (1025 + 256) * 4096, "%#llx is %lld pages behind the start",
	      (unsigned long long)lowest, (long long)(lowest - start) / 4096);
	return pass();
}

/* A range without room, for as long as the object lives. */
struct full_range {
	loaded_module m;
	std::string param = "/sys/module/execmem_fill/parameters/fill";
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

	void empty() { spit(param, "-"); }
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
	/* More than the pool may have taken of the range already, which is 64 MB. */
	const size_t nr_progs = have_pool() ? 100 : 5;

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
		{ "image_is_known", image_is_known },
		{ "module_sections", module_sections },
		{ "module_init_text", module_init_text },
		{ "many_modules", many_modules },
		{ "bpf_program", bpf_program },
		{ "far_subprogram", far_subprogram },
		{ "bpf_trampoline", bpf_trampoline },
		{ "kprobe_slot", kprobe_slot },
		{ "optprobe_slot", optprobe_slot },
		{ "ftrace_trampoline", ftrace_trampoline },
		{ "module_base_is_random", module_base_is_random },
		{ "module_fallback", module_fallback },
		{ "module_apart", module_apart },
		{ "exhausted", exhausted },
	});
}
