// SPDX-License-Identifier: GPL-2.0
/*
 * Where instruction caches are not coherent, or fetched instructions have to be
 * thrown away, bringing them in line interrupts all CPUs: on arm64 by an IPI, on
 * riscv by a remote fence.i. How often that is done for text that comes, counted
 * by a probe on the function that does it.
 */
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static const char *broadcast()
{
	switch (arch) {
	case arch_id::arm64:
		return "kick_all_cpus_sync";
	case arch_id::riscv:
		return "sbi_remote_fence_i";
	default:
		return nullptr;
	}
}

/* Counts broadcasts for as long as it lives. */
class broadcasts {
	std::unique_ptr<kprobe_event> probe;
	s64 before = 0;

public:
	result begin()
	{
		if (!broadcast())
			return skip("no flush of instruction caches that interrupts other CPUs is known here");
		if (!have_kprobe_events())
			return skip("CONFIG_KPROBE_EVENTS is not set");
		probe = std::make_unique<kprobe_event>("broadcast", broadcast());
		CHECK(!probe->err, "no probe on %s: %s", broadcast(), strerror(-probe->err));
		CHECK(!probe->enable(true), "the probe cannot be enabled");
		before = probe->counts().first;
		CHECK(before >= 0, "the probe has no count");
		return pass();
	}

	/* Since begin() or the last time; -1 if any was missed. */
	s64 so_far()
	{
		const auto [hit, missed] = probe->counts();
		const s64 n = missed ? -1 : hit - before;

		before = hit;
		return n;
	}
};

/* A program of @n functions, each of them called. */
static bpf_insns functions(int n)
{
	bpf_insns v;

	/* N - 1 calls and an exit, then N - 1 functions of two instructions. */
	for (int i = 0; i < n - 1; i++)
		v.push_back(call_subprog(n + 1 + 2 * i - (i + 1)));
	v.push_back(mov_imm(BPF_REG_0, n));
	v.push_back(exit_insn());
	for (int i = 0; i < n - 1; i++) {
		v.push_back(mov_imm(BPF_REG_0, i));
		v.push_back(exit_insn());
	}
	return v;
}

/* One for each function of a program that is loaded, at most. */
static result programs(int nr_functions)
{
	static constexpr int n = 20;
	broadcasts count;

	TRY(need_jit());
	TRY(count.begin());
	std::vector<unique_fd> progs;
	for (int i = 0; i < n; i++) {
		progs.emplace_back(bpf_prog_load(functions(nr_functions)));
		CHECK(progs.back(), "program: %s", strerror(-progs.back().fd));
	}
	const s64 got = count.so_far();
	CHECK(bpf_images(progs[0].fd).size() == static_cast<size_t>(nr_functions), "%zu functions",
	      bpf_images(progs[0].fd).size());
	diag("%lld broadcasts for %d programs of %d functions", (long long)got, n, nr_functions);
	CHECK(got > 0, "not one was counted: is this the function that does it?");
	CHECK(got <= n * nr_functions, "%lld broadcasts for %d functions", (long long)got, n * nr_functions);
	return pass();
}

/*
 * A page for slots of kprobes takes none. On riscv each slot takes one when it is
 * written, as in 6.1; on arm64 none does.
 */
static result slot_pages()
{
	broadcasts count;
	std::vector<std::string> made;

	TRY(count.begin());
	auto pages = [] { return kallsyms().with_prefix("kprobe_insn_page").size(); };
	defer remove([&] {
		for (const std::string &name : made)
			append(tracefs("kprobe_events"), "-:execmem_slots/" + name + "\n");
	});
	const kallsyms ks;
	const size_t before = pages();
	count.so_far();
	for (const symbol &s : ks.with_prefix(arch == arch_id::arm64 ? "__arm64_sys_" : "sys_")) {
		if (made.size() >= 1200)
			break;
		/* Not armed, so it does no harm if it is no instruction that begins there. */
		for (int off = 8; off < 40; off += 4) {
			const std::string name = format("%s_%d", s.name.c_str(), off);

			if (s.module.empty() &&
			    !append(tracefs("kprobe_events"), format("p:execmem_slots/%s %s+%d\n", name.c_str(),
								     s.name.c_str(), off)))
				made.push_back(name);
		}
	}
	const s64 got = count.so_far();
	const size_t more = pages() - before;
	diag("%lld broadcasts for %zu pages of slots with %zu probes", (long long)got, more, made.size());
	CHECK(more > 0, "%zu probes took no page of slots", made.size());
	const s64 allowed = arch == arch_id::riscv ? made.size() : 0;
	CHECK(got >= 0 && got <= allowed, "%lld broadcasts", (long long)got);
	return pass();
}

int main()
{
	return run_cases({
		{ "one_function", [] { return programs(1); } },
		{ "ten_functions", [] { return programs(10); } },
		{ "slot_pages", slot_pages },
	});
}
