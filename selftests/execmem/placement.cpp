// SPDX-License-Identifier: GPL-2.0
/*
 * Each kind of run-time text lies in the range its architecture gives it, not
 * in the kernel image, and is mapped with the permissions it should have.
 * Where things lie is read from kallsyms, /sys/module/X/sections and the BPF
 * program info; how they are mapped from the page-table dump.
 */
#include "load.hpp"

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
	bool known = true;
};

static layout arch_layout(const kallsyms &ks, const page_tables &pt)
{
	layout l { };
	const u64 GB = 1ULL << 30;

	l.image = { ks.addr("_text") ? ks.addr("_text") : ks.addr("_stext"), ks.addr("_end") };
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
	case arch_id::riscv:
		l.module = { l.image.end - 2 * GB, l.image.start };
		l.bpf = { l.image.start - (128 << 20), l.image.start };
		l.kprobe = { 0, ~0ULL };
		break;
	default:
		l.module = l.kprobe = l.bpf = { 0, ~0ULL };
		l.known = false;
	}
	return l;
}

struct view {
	kallsyms ks;
	page_tables pt;
	layout where;

	view() : where(arch_layout(ks, pt)) { }
};

static result need_dump()
{
	if (page_tables::path().empty())
		return skip("CONFIG_PTDUMP_DEBUGFS is not set");
	return pass();
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

static result image_is_known()
{
	TRY(need_dump());
	view v;

	CHECK(v.pt.error.empty(), "%s", v.pt.error.c_str());
	CHECK(v.where.image.start && v.where.image.end > v.where.image.start, "_text and _end are not in kallsyms");
	diag("image %#llx-%#llx, modules %#llx-%#llx", (unsigned long long)v.where.image.start,
	     (unsigned long long)v.where.image.end, (unsigned long long)v.where.module.start,
	     (unsigned long long)v.where.module.end);
	if (!v.where.known)
		diag("no table of ranges for this architecture: only the image is excluded");
	return pass();
}

static result module_sections()
{
	TRY(need_dump());
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
		if (v.where.known)
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
	TRY(need_dump());
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
	TRY(need_dump());
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
	TRY(need_dump());
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
	TRY(need_dump());
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
	TRY(need_dump());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	/* Only probes that are not optimised keep to their slot, all have one. */
	std::string fn = getppid_symbol(kallsyms());
	auto ev = kprobe_inside("placed", fn);

	CHECK(ev, "no kprobe inside %s", fn.c_str());
	return named_places("kprobe_insn_page", "kprobe slot page", &layout::kprobe, "__builtin__kprobes");
}

static result optprobe_slot()
{
	TRY(need_dump());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	if (!exists("/proc/sys/debug/kprobes-optimization"))
		return skip("CONFIG_OPTPROBES is not set");
	if (arch != arch_id::x86_64 && arch != arch_id::i386)
		return skip("optprobes of this architecture use a fixed area");
	spit("/proc/sys/debug/kprobes-optimization", "1");
	std::string fn = getppid_symbol(kallsyms());
	auto ev = kprobe_optimised("placed", fn);

	CHECK(ev, "no kprobe in %s was optimised", fn.c_str());
	return named_places("kprobe_optinsn_page", "optprobe slot page", &layout::kprobe, "__builtin__kprobes");
}

static result ftrace_trampoline()
{
	TRY(need_dump());
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	if (arch != arch_id::x86_64 && arch != arch_id::i386)
		return skip("no ftrace trampolines on this architecture");
	trace_instance t("placed", traceable_getppid());
	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	return named_places("ftrace_trampoline", "ftrace trampoline", &layout::module, "__builtin__ftrace");
}

/* For the table of the host: what KASLR did to this boot. */
static result tell_bases()
{
	host_channel host;
	kallsyms ks;
	std::string bases = format("image %#llx", (unsigned long long)ks.addr("_text"));

	if (have_modules()) {
		loaded_module m("execmem_test");
		CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
		bases += format(" first-module %#llx",
				(unsigned long long)section_addr("execmem_test", ".text"));
	}
	diag("%s", bases.c_str());
	host.send("summary bases: " + bases);
	return pass();
}

int main()
{
	return run_cases({
		{ "image_is_known", image_is_known },
		{ "bases", tell_bases },
		{ "module_sections", module_sections },
		{ "module_init_text", module_init_text },
		{ "many_modules", many_modules },
		{ "bpf_program", bpf_program },
		{ "bpf_trampoline", bpf_trampoline },
		{ "kprobe_slot", kprobe_slot },
		{ "optprobe_slot", optprobe_slot },
		{ "ftrace_trampoline", ftrace_trampoline },
	});
}
