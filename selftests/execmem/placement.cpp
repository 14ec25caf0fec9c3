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
#include "host.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "places.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "tracer.hpp"
#include "types.hpp"

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
	if ((link.fd == -enotsupp || link.fd == -EOPNOTSUPP) && arch != arch_id::x86_64)
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

/*
 * Data need not be where branches reach, and leaves these addresses to text. On
 * arm64 they are 128 MB; other text may have the first of them, so ask for half.
 */
static result data_leaves_near()
{
	if (arch != arch_id::arm64)
		return skip("one range for all of a module on this architecture");
	TRY(need_module("execmem_clone_000"));
	TRY(need_module("execmem_test"));
	module_clones clones(20);
	CHECK(!clones.err, "a module: %s", strerror(-clones.err));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	std::vector<std::string> names = clones.names;
	names.push_back("execmem_test");

	u64 lo = ~0ULL, hi = 0, data = ~0ULL;
	for (const std::string &name : names) {
		u64 text = section_addr(name, ".text");

		CHECK(text, "%s has no .text", name.c_str());
		lo = std::min(lo, text);
		hi = std::max(hi, text);
		for (const char *s : { ".rodata", ".data", ".data..ro_after_init", ".bss",
				       ".gnu.linkonce.this_module" })
			if (u64 addr = section_addr(name, s))
				data = std::min(data, addr);
	}
	diag("text %#llx-%#llx, data from %#llx", (unsigned long long)lo, (unsigned long long)hi,
	     (unsigned long long)data);
	CHECK(hi - lo < 128 << 20, "the text of 21 modules is %llu MB apart", (unsigned long long)(hi - lo) >> 20);
	CHECK(data != ~0ULL && data > lo && data - lo >= 64 << 20,
	      "data begins %lld kB behind the first text", (long long)(data - lo) >> 10);
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
		{ "bpf_trampoline", bpf_trampoline },
		{ "kprobe_slot", kprobe_slot },
		{ "optprobe_slot", optprobe_slot },
		{ "ftrace_trampoline", ftrace_trampoline },
		{ "module_base_is_random", module_base_is_random },
		{ "data_leaves_near", data_leaves_near },
	});
}
