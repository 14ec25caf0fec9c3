// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked for and cannot be had is refused cleanly: an errno that says so,
 * nothing leaked, nothing writable and executable left behind, and the next try
 * works. So is misuse.
 */
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "btf.hpp"
#include "elf.hpp"
#include "footprint.hpp"
#include "guest.hpp"
#include "kallsyms.hpp"
#include "klog.hpp"
#include "kmemleak.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "tracer.hpp"
#include "types.hpp"

static result expect(const char *what, int got, int want)
{
	if (got > 0)
		close(got);
	CHECK(got == want, "%s gave %d (%s), expected %d (%s)", what, got, got < 0 ? strerror(-got) : "success",
	      want, want < 0 ? strerror(-want) : "success");
	return pass();
}

static result bad_modules()
{
	TRY(need_module("execmem_test"));
	TRY(need_module("execmem_clone_000"));
	std::string image = read_or_fail(module_path("execmem_clone_000"));
	CHECK(image.size() > 4096, "cannot read execmem_clone_000.ko");
	{
		/* It uses a kprobe once, whose slot page may stay. */
		loaded_module m("execmem_test");
		CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	}
	footprint before = settle();

	TRY(expect("empty module", init_module_image(""), -ENOEXEC));
	TRY(expect("a module of zeroes", init_module_image(std::string(65536, '\0')), -ENOEXEC));
	TRY(expect("truncated module", init_module_image(image.substr(0, image.size() / 2)), -ENOEXEC));
	/* Its init has run, all of it has been set up. */
	for (int i = 0; i < 10; i++)
		TRY(expect("failing init", load_module("execmem_test", "fail_init=5"), -EIO));
	CHECK(!module_loaded("execmem_test"), "a module whose init failed is loaded");
	{
		loaded_module m("execmem_test");
		CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
		TRY(expect("second load", load_module("execmem_test"), -EEXIST));
	}
	return no_growth(before);
}

/* The module @file with the header of one section changed; "" if it has none of that name. */
template <typename change>
static std::string with_section(const elf_file &file, const std::string &name, change apply)
{
	std::string image = file.image;

	for (size_t i = 0; i < file.sections.size(); i++) {
		Elf64_Shdr section = file.sections[i];

		if (file.name(section) != name)
			continue;
		apply(section);
		memcpy(&image[file.header.e_shoff + i * sizeof(section)], &section, sizeof(section));
		return image;
	}
	return "";
}

/*
 * Sizes that no file has to cover, and alignments, can be any number of 64 bits.
 * Memory that is not the module's is written where that is not seen.
 */
static result corrupt_sections()
{
	TRY(need_guest());
	TRY(need_module("execmem_test"));
	if (!kallsyms().has("execmem_text_alloc"))
		return skip("not refused without the series");
	if (sizeof(long) < sizeof(u64))
		return skip("sizes have 32 bits on this architecture");
	const elf_file file(read_or_fail(module_path("execmem_test")));
	CHECK(!file.sections.empty(), "execmem_test.ko has no sections");
	footprint before = settle();

	auto refused = [&](const std::string &what, const std::string &bad) -> result {
		CHECK(!bad.empty(), "%s: execmem_test.ko has no such section", what.c_str());
		int err = init_module_image(bad);
		if (!err)
			unload_module("execmem_test");
		return expect(what.c_str(), err, -ENOEXEC);
	};
	for (u64 size : { 1ULL << 32, 1ULL << 32 | 4096, 1ULL << 31, 0xfffffffffffff000ULL, ~0ULL })
		TRY(refused(format(".bss of %#llx bytes", (unsigned long long)size),
			    with_section(file, ".bss", [=](Elf64_Shdr &s) { s.sh_size = size; })));
	/* The first section of a memory begins at its start, aligned or not. */
	for (const char *name : { ".data", ".rodata" })
		for (u64 align : { 1ULL << 32, 1ULL << 63 })
			TRY(refused(format("%s aligned to %#llx", name, (unsigned long long)align),
				    with_section(file, name, [=](Elf64_Shdr &s) { s.sh_addralign = align; })));
	return no_growth(before);
}

/* More than the module area holds, and more than there is memory. */
static result huge_module()
{
	TRY(need_disruptive());
	TRY(need_module("execmem_huge"));
	footprint before = settle();
	s64 start = now_ms();
	expected_noise noise(no_memory);

	for (int i = 0; i < 3; i++)
		TRY(expect("a module of 1.25 GB", load_module("execmem_huge"), -ENOMEM));
	CHECK(now_ms() - start < 60000, "the refusal took %lld ms", (long long)(now_ms() - start));
	TRY(noise.no_splat());
	return no_growth(before);
}

static result bad_programs()
{
	TRY(need_jit());
	{
		unique_fd warm(bpf_prog_load(bpf_return(1)));
		CHECK(warm, "load: %s", strerror(-warm.fd));
	}
	footprint before = settle();

	TRY(expect("a program of no instructions", bpf_prog_load({}), -E2BIG));
	TRY(expect("a program without exit", bpf_prog_load({ mov_imm(BPF_REG_0, 0) }), -EINVAL));
	TRY(expect("a read of an unset register", bpf_prog_load({ mov_reg(BPF_REG_0, BPF_REG_5), exit_insn() }),
		   -EACCES));
	TRY(expect("an oversized program", bpf_prog_load(bpf_return(1, 1000002)), -E2BIG));
	return no_growth(before);
}

static result bad_kprobes()
{
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	std::string fn = getppid_symbol(kallsyms());
	footprint before = settle();

	for (int i = 0; i < 20; i++) {
		kprobe_event none("none", "execmem_there_is_no_such_function");
		kprobe_event far("far", fn + "+1073741824");
		kprobe_event data("data", "init_task");

		CHECK(none.err == -ENOENT, "an unknown function gave %d", none.err);
		CHECK(far.err < 0, "an offset far outside the function was taken");
		CHECK(data.err < 0, "a kprobe on data was taken");
	}
	return no_growth(before);
}

/*
 * The limit for the JIT, as an unprivileged user: what does not fit is refused
 * or interpreted, and what has been charged comes back.
 */
static result jit_limit()
{
	TRY(need_disruptive());
	TRY(need_jit());
	const char *file = "/proc/sys/net/core/bpf_jit_limit";
	std::string was = trim(read_if_there(file));

	if (was.empty())
		return skip("no bpf_jit_limit");
	std::string small = std::to_string(sysconf(_SC_PAGESIZE));
	CHECK(!set_for_now(file, small), "cannot set bpf_jit_limit");
	defer restore([&] { spit(file, was); });
	footprint before = settle();

	pid_t child = fork();
	if (!child) {
		struct sock_filter code[512];
		int socks[64];

		if (setuid(65534))
			_exit(10);
		for (int i = 0; i < 511; i++)
			code[i] = BPF_STMT(BPF_LD | BPF_IMM, (u32)i);
		code[511] = BPF_STMT(BPF_RET | BPF_K, 0xffff);
		struct sock_fprog prog = { 512, code };
		for (int &s : socks) {
			s = socket(AF_UNIX, SOCK_DGRAM, 0);
			if (s < 0)
				_exit(11);
			/* Either is right; which one is up to CONFIG_BPF_JIT_ALWAYS_ON. */
			if (setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) &&
			    errno != ENOTSUP && errno != enotsupp && errno != EPERM && errno != ENOMEM)
				_exit(12);
		}
		_exit(0);
	}
	int status = -1;
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the unprivileged child ended with %#x", status);
	spit(file, was);
	unique_fd after(bpf_prog_load(bpf_return(7)));
	u32 ret = 0;
	CHECK(after && !bpf_run(after.fd, &ret) && ret == 7, "a program no longer loads and runs");
	after = unique_fd();
	return no_growth(before);
}

/* Does the first symbol with that prefix lie in a large page? */
static bool pooled(const char *prefix)
{
	std::vector<symbol> s = kallsyms().with_prefix(prefix);
	page_tables pt;
	const mapping *m = s.empty() ? nullptr : pt.find(s[0].addr);

	return m && m->level == "pmd" && !m->write;
}

/*
 * Only what was allocated is freed, only by its first byte, and once; only the
 * owner of an area maps there. Everything else warns and does no harm.
 * The module takes the taint of these warnings back, which is no one else's to do.
 */
static result misuse()
{
	TRY(need_guest());
	if (!kallsyms().has("execmem_text_alloc"))
		return skip("not in the kernel without the series");
	TRY(need_module("execmem_misuse", "CONFIG_KPROBES"));
	const char *panic = "/proc/sys/kernel/panic_on_warn";
	const std::string was = read_or_fail(panic);
	CHECK(!set_for_now(panic, "0"), "cannot write %s", panic);
	defer restore([&] { spit(panic, was); });
	/* Some warn once in a boot only. */
	CHECK(!spit(debugfs("clear_warn_once"), "1"), "cannot write clear_warn_once");
	loaded_module m("execmem_misuse");
	CHECK(!m.err, "execmem_misuse: %s", strerror(-m.err));

	expected_noise noise("WARNING: CPU: [0-9]+ PID: [0-9]+ at (\\S*/)?mm/(execmem|vmalloc)");
	std::vector<std::string> said = split(module_param("execmem_misuse", "misuse"));
	size_t warned = 0, warned_of_mapped = 0, warnings = 0;
	for (const std::string &line : split(noise.mark.since())) {
		warnings += line.find("WARNING: ") != line.npos;
		warned_of_mapped += line.find("WARNING: ") != line.npos &&
				    line.find(" free_vm_area+") != line.npos;
		warned += (line.find("which is not allocated") != line.npos ||
			   line.find("in an interrupt") != line.npos) &&
			  line.find("[execmem_misuse]") != line.npos;
	}
	TRY(noise.no_splat());
	for (const std::string &line : said)
		diag("%s", line.c_str());
	diag("%zu warnings", warnings);
	CHECK(said.size() == 1, "%zu misuses did harm, or were not refused", said.size());
	CHECK(said[0] == "refused 14", "expected 14 to be refused");
	CHECK(warned == 14, "%zu warnings name the caller and what he freed, expected 14", warned);
	CHECK(warned_of_mapped == 1, "%zu warnings of an area that was freed while mapped, expected 1",
	      warned_of_mapped);
	return pass();
}

/*
 * Memory that cannot be protected is not used: a module does not load, a
 * program is interpreted or refused, a tracer does without its trampoline.
 */
static result permissions_refused()
{
	TRY(need_disruptive());
	/* What set_memory_ro() is, or calls; and what a pool calls, unless it makes pages writable. */
	const std::string refusal = format("func=%s%s ret=-12", arch == arch_id::powerpc ?
					   "change_memory_attr" : arch == arch_id::s390 ?
					   "__set_memory" : "set_memory_ro",
					   arch == arch_id::x86_64 && have_pool() ?
					   ",set_pages_writable_noflush arg2=-1,0" : "");

	TRY(need_module("execmem_clone_000"));
	TRY(need_module("execmem_skip", "CONFIG_KPROBES"));
	if (module_loaded("execmem_skip"))
		return skip("execmem_skip breaks something else (execmem_mutant=)");
	{
		live_load warm(10);
		CHECK(warm.error.empty(), "%s", warm.error.c_str());
		/* ftrace keeps the trampoline of kprobes that change the flow. */
		loaded_module refuse("execmem_skip", refusal);
		CHECK(!refuse.err, "execmem_skip: %s", strerror(-refuse.err));
	}
	footprint before = settle();
	expected_noise noise("");
	{
		loaded_module refuse("execmem_skip", refusal);
		CHECK(!refuse.err, "execmem_skip: %s", strerror(-refuse.err));

		for (int i = 0; i < 5; i++)
			TRY(expect("a module that cannot be protected", load_module("execmem_clone_000"), -ENOMEM));
		if (need_jit().verdict == result::PASS) {
			/* More than there may be room for in what is there already. */
			std::vector<unique_fd> progs;
			size_t tried = 0, without = 0, loaded = 0;

			for (int i = 0; i < 40 && without < 3; i++) {
				tried++;
				unique_fd p(bpf_prog_load(bpf_return_large(i, 20000)));
				u32 ret = 0;

				if (p.fd == -ENOMEM || p.fd == -enotsupp) {
					without++;
					continue;
				}
				CHECK(p && !bpf_run(p.fd, &ret) && ret == (u32)i, "program %d: %s, gives %u", i,
				      p ? "runs" : strerror(-p.fd), ret);
				loaded++;
				without += bpf_images(p.fd).empty();
				progs.push_back(std::move(p));
			}
			diag("%zu of %zu programs loaded, %zu not JITed", loaded, tried, without);
			CHECK(without, "all programs were JITed");
		}
		if (need_bpf_trampolines().verdict == result::PASS) {
			unique_fd p(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
			unique_fd l(p ? bpf_attach(p.fd) : -1);

			/* What comes from a pool is protected already. */
			CHECK(!l || pooled("bpf_trampoline_"),
			      "a trampoline that cannot be protected is in use");
		}
		if (have_function_tracer()) {
			trace_instance t("refused", traceable_getppid());

			CHECK(!t.err, "trace instance: %s", strerror(-t.err));
			for (int i = 0; i < 10; i++)
				syscall(SYS_getppid);
			CHECK(t.count(traceable_getppid()) == 10, "10 calls, %zu traced",
			      t.count(traceable_getppid()));
		}
	}
	TRY(noise.no_splat());
	{
		live_load after(10);
		CHECK(after.error.empty(), "afterwards: %s", after.error.c_str());
	}
	TRY(no_growth(before));
	return no_wx();
}

/* What was freed is gone: the same load twice more takes no more. */
static result all_given_back()
{
	{
		live_load warm(20);
		CHECK(warm.error.empty(), "%s", warm.error.c_str());
	}
	footprint before = settle();

	for (int i = 0; i < 2; i++) {
		live_load load(20);
		CHECK(load.error.empty(), "%s", load.error.c_str());
	}
	return no_growth(before);
}

int main()
{
	return run_cases({
		{ "kmemleak_start", kmemleak_start },
		{ "growth_is_seen", growth_is_seen },
		{ "bad_modules", bad_modules },
		{ "corrupt_sections", corrupt_sections },
		{ "huge_module", huge_module },
		{ "bad_programs", bad_programs },
		{ "bad_kprobes", bad_kprobes },
		{ "jit_limit", jit_limit },
		{ "misuse", misuse },
		{ "permissions_refused", permissions_refused },
		{ "all_given_back", all_given_back },
		{ "kmemleak_quiet", kmemleak_quiet },
	});
}
