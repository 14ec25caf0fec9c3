// SPDX-License-Identifier: GPL-2.0
/*
 * Who takes a CPU for himself wants no interrupt there. CPU 1 is isolated and runs a
 * loop in user space; on CPU 0 code comes and goes, and what CPU 1 received meanwhile
 * is read from /proc/interrupts. That has no causes, so each broadcast is also
 * traced, with its callers, on the CPU that sends it.
 *
 * Text from a pool may cost CPU 1 nothing, but for the patching of call sites that
 * are live and for what vmalloc() flushes for other memory, which are counted apart,
 * and for chunks, for which there is room here before anything is counted. Without
 * pools the figures are only shown.
 *
 * Needs "isolcpus=nohz,domain,1 nohz_full=1". On CPUs whose branch predictors have to
 * be flushed for classic programs, that is one more broadcast for each flush, as in
 * 6.1: see the test predictors. Ticks are shown: QEMU's clock keeps them from stopping.
 */
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "btf.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "struct_ops.hpp"
#include "tracer.hpp"
#include "types.hpp"

static constexpr int isolated = 1;
static pid_t spinner = -1;
static std::unique_ptr<call_trace> trace;

static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

/* What the isolated CPU got by now, by the names that /proc/interrupts has for it. */
static std::map<std::string, u64> received()
{
	std::map<std::string, u64> n;

	for (const std::string &line : split(read_or_fail("/proc/interrupts"))) {
		std::vector<std::string> w = words(line);

		if (w.size() > isolated + 1 && w[0].ends_with(":"))
			n[w[0].substr(0, w[0].size() - 1)] = strtoull(w[isolated + 1].c_str(), nullptr, 10);
	}
	for (const char *what : { "CAL", "RES", "LOC" })
		if (!n.count(what))
			throw cannot_read(std::string("/proc/interrupts has no line ") + what);
	return n;
}

/* What one operation cost. */
struct cost {
	u64 calls = 0, reschedules = 0, ticks = 0, other = 0;
	u64 live = 0, rcu = 0, lazy = 0, tlb = 0, sync = 0, unknown = 0;	/* requests to other CPUs, by cause */
	std::set<std::string> who;		/* of those that text from a pool must not cause */

	u64 causes() const { return live + rcu + lazy + tlb + sync + unknown; }

	void describe(const char *what, size_t n) const
	{
		diag("silence %-26s %5zu times: %5llu calls (%5llu for live text, %3llu RCU tasks, %3llu vmalloc, %5llu TLB, %5llu sync, %3llu others); "
		     "%llu reschedules, %llu ticks, %llu other interrupts", what, n, (unsigned long long)calls,
		     (unsigned long long)live, (unsigned long long)rcu, (unsigned long long)lazy, (unsigned long long)tlb,
		     (unsigned long long)sync, (unsigned long long)unknown, (unsigned long long)reschedules, (unsigned long long)ticks,
		     (unsigned long long)other);
		for (const std::string &w : who)
			diag("%s", w.c_str());
	}
};

static bool called_by_any(const call_trace::event &e, std::initializer_list<const char *> names)
{
	return std::any_of(names.begin(), names.end(), [&](const char *n) { return e.called_by(n); });
}

static cost cost_of(const std::function<void()> &operation)
{
	cost c;

	trace->begin({ "execmem_silence" });
	auto before = received();
	operation();
	auto after = received();
	for (const auto &[what, n] : after) {
		const u64 got = n - before[what];

		if (what == "CAL")
			c.calls += got;
		else if (what == "RES")
			c.reschedules += got;
		else if (what == "LOC")
			c.ticks += got;
		else if (what != "TLB")	/* among the calls */
			c.other += got;
	}
	for (const call_trace::event &e : trace->end()) {
		/* That the events themselves are switched is before and after the rest. */
		if (e.called_by("system_enable_write"))
			continue;
		if (e.patches_live_text() || e.called_by("ftrace_modify_all_code")) {
			c.live++;
			continue;
		}
		if (called_by_any(e, { "rcu_tasks_", "check_all_holdout_tasks_trace" })) {
			/* Whoever takes a trampoline away waits for tasks in it, with and without the series. */
			c.rcu++;
			continue;
		}
		const bool purge = e.called_by("__purge_vmap_area_lazy");
		if (purge && !called_by_any(e, { "_vm_unmap_aliases", "vm_unmap_aliases", "execmem_" })) {
			/*
			 * Now and then vmalloc() flushes for all that was freed by then: that of a
			 * program which is not its text, too, with and without the series.
			 */
			c.lazy++;
			continue;
		}
		if (e.called_by("text_poke_sync"))
			c.sync++;
		else if (purge || called_by_any(e, { "flush_tlb", "__cpa_flush_tlb", "cpa_flush", "native_flush_tlb_multi",
						     "change_page_attr" }))
			c.tlb++;
		else
			c.unknown++;
		std::string who;
		for (size_t n = 0; n < e.callers.size() && n < 7; n++)
			who += " < " + e.callers[n].substr(0, e.callers[n].find('+'));
		if (c.who.size() < 5)
			c.who.insert(who);
	}
	return c;
}

static result need_isolated()
{
	if (arch != arch_id::x86_64)
		return skip("the interrupts and functions that are counted are those of x86-64");
	if (kernel_parameter("nohz_full") != "1" || !kernel_parameter("isolcpus"))
		return skip("not booted with isolcpus=nohz,domain,1 nohz_full=1");
	if (trim(slurp("/sys/devices/system/cpu/nohz_full").value_or("")) != "1")
		return skip("CONFIG_NO_HZ_FULL is not set");
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	CHECK(trim(read_or_fail("/sys/devices/system/cpu/isolated")) == "1", "CPU 1 is not isolated");
	if (spinner >= 0)
		return pass();

	CHECK(!run_on(0), "CPU 0 is not there");
	/* To many CPUs at once, and to the isolated one alone. */
	for (const char *probe : { "many smp_call_function_many_cond", "one smp_call_function_single cpu=$arg1:s32",
				   "async smp_call_function_single_async cpu=$arg1:s32", "work __smp_call_single_queue cpu=$arg1:s32" })
		CHECK(!append(tracefs("kprobe_events"), format("p:execmem_silence/%s\n", probe)), "no probe %s", probe);
	trace = std::make_unique<call_trace>("execmem_silence");
	CHECK(trace->error.empty(), "%s", trace->error.c_str());
	for (const char *event : { "one", "async", "work" })
		CHECK(!spit(tracefs(format("instances/execmem_silence/events/execmem_silence/%s/filter", event)),
			    format("cpu == %d", isolated)), "no filter for %s", event);
	spinner = fork();
	CHECK(spinner >= 0, "fork: %s", strerror(errno));
	if (!spinner) {
		volatile u64 n = 0;

		if (run_on(isolated) || syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0))
			_exit(1);
		for (;;)
			n = n + 1;
	}
	return pass();
}

static void stop_spinner()
{
	if (spinner > 0) {
		kill(spinner, SIGKILL);
		waitpid(spinner, nullptr, 0);
	}
	trace.reset();
	remove_kprobe_events("execmem_silence");
}

/* What is sent on purpose is counted, and with its cause; and nothing comes by itself. */
static result interrupts_count()
{
	static constexpr u64 n = 20;

	TRY(need_isolated());
	/* When there are random numbers at last, live text is patched: not while others count. */
	char byte;
	CHECK(getrandom(&byte, 1, 0) == 1, "getrandom: %s", strerror(errno));
	/* It has to arrive at its loop; and what KUnit left has to go, which is chunks. */
	settle();
	CHECK(!have_pool() || wait_for(20000, [] { return pool_list().idle <= 1; }), "idle chunks stay");
	cost quiet = cost_of([] { usleep(1000000); });
	quiet.describe("nothing for a second", 1);
	CHECK(!quiet.calls, "%llu function calls when nothing is done", (unsigned long long)quiet.calls);

	cost c = cost_of([] {
		for (u64 i = 0; i < n; i++)
			syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
	});
	c.describe("membarrier", n);
	CHECK(c.calls == n && c.unknown >= n, "%llu membarriers, and CPU 1 received %llu calls, of %llu requests",
	      (unsigned long long)n, (unsigned long long)c.calls, (unsigned long long)c.causes());

	/* A program on CPU 0 gets traced: call sites that are live change. */
	c = cost_of([] { trace_instance t("execmem_silence_live", traceable_getppid()); });
	CHECK(!have_function_tracer() || (c.live && c.calls >= c.live), "a tracer came and went: %llu calls, %llu patches",
	      (unsigned long long)c.calls, (unsigned long long)c.live);
	return pass();
}

/*
 * Run @operation @n times, once before that so that there is room and memory for it.
 * From a pool CPU 1 gets what patches live call sites, if it @patches some, and nothing
 * else; how often that is, is for the stock kernel to say: it is the same there.
 */
static result silent(const char *what, size_t n, bool patches, const std::function<result()> &operation)
{
	TRY(need_isolated());
	TRY(operation());
	settle();
	const u64 fallbacks = have_pool() ? pool_list().fallbacks : 0;
	result r = pass();
	cost c = cost_of([&] {
		for (size_t i = 0; i < n && r.verdict == result::PASS; i++)
			r = operation();
		/* What is freed costs something later, if at all. */
		settle();
	});
	TRY(r);
	CHECK(trace->error.empty(), "%s", trace->error.c_str());
	c.describe(what, n);
	CHECK(c.calls <= c.causes(), "%llu calls, and only %llu requests are known", (unsigned long long)c.calls,
	      (unsigned long long)c.causes());
	if (!have_pool())
		return pass();
	/* Pages of one's own would go where all others of vmalloc() go. */
	CHECK(pool_list().fallbacks == fallbacks, "%s: not all text came from a pool", what);
	CHECK(patches || (!c.live && !c.rcu), "%s: live text was patched %llu times", what, (unsigned long long)c.live);
	CHECK(!c.tlb && !c.sync && !c.unknown && c.calls <= c.live + c.rcu + c.lazy,
	      "%s: CPU 1 was interrupted %llu times, %llu of them for live text", what, (unsigned long long)c.calls,
	      (unsigned long long)c.live);
	return pass();
}

/* In a child, whose memory, files and privileges are its own. */
static result in_child(const std::function<int()> &child)
{
	int status = 0;
	pid_t pid = fork();

	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		_exit(child());
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status), "a child failed: %#x",
	      status);
	return pass();
}

static result socket_filters()
{
	TRY(need_isolated());
	TRY(need_jit());
	return silent("socket filter, uid 65534", how_often(), false, [] {
		return in_child([] {
			int s = setgid(65534) || setuid(65534) ? -1 : socket(AF_UNIX, SOCK_DGRAM, 0);

			return s < 0 || attach_classic(s, 40) ? 1 : 0;
		});
	});
}

static result seccomp_filters()
{
	TRY(need_isolated());
	TRY(need_jit());
	if (prctl(PR_GET_SECCOMP) < 0)
		return skip("CONFIG_SECCOMP is not set");
	return silent("seccomp filter", how_often(), false, [] {
		return in_child([] {
			sock_filter allow[40];
			sock_fprog prog = { .len = 40, .filter = allow };

			for (sock_filter &f : allow)
				f = { BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 };
			allow[39] = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
			return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
			       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? 1 : 0;
		});
	});
}

/* A program of @n functions: the first one calls all others. */
static bpf_insns functions(int n)
{
	bpf_insns insns;

	for (int i = 1; i < n; i++)
		insns.push_back(call_subprog(n + 1 + 2 * (i - 1) - i));
	insns.insert(insns.end(), { mov_imm(BPF_REG_0, 1), exit_insn() });
	for (int i = 1; i < n; i++)
		insns.insert(insns.end(), { mov_imm(BPF_REG_0, i), exit_insn() });
	return insns;
}

static result program_of(int n, const char *what)
{
	TRY(need_isolated());
	TRY(need_jit());
	return silent(what, how_often(), false, [&] {
		std::string log;
		unique_fd prog(bpf_prog_load(functions(n), {}, &log));

		CHECK(prog, "%d functions: %s %s", n, strerror(-prog.fd), log.c_str());
		CHECK(bpf_images(prog.fd).size() == static_cast<size_t>(n), "%zu functions of %d are JITed",
		      bpf_images(prog.fd).size(), n);
		return pass();
	});
}

static result one_function() { return program_of(1, "eBPF program, 1 function"); }
static result many_functions() { return program_of(50, "eBPF program, 50 functions"); }

static result tracing(const char *what, bpf_attach_type type)
{
	TRY(need_isolated());
	TRY(need_bpf_trampolines());
	unique_fd prog(bpf_tracing_load("bpf_fentry_test1", type, bpf_return(0)));
	CHECK(prog, "%s: %s", what, strerror(-prog.fd));
	return silent(what, how_often(), true, [&] {
		unique_fd link(bpf_attach(prog.fd));

		CHECK(link, "attach: %s", strerror(-link.fd));
		return pass();
	});
}

static result fentry() { return tracing("fentry on and off", BPF_TRACE_FENTRY); }
static result fexit() { return tracing("fexit on and off", BPF_TRACE_FEXIT); }

/* A trampoline is made for each call, and goes. */
static result struct_ops()
{
	TRY(need_isolated());
	TRY(need_struct_ops("bpf_dummy_ops", "CONFIG_NET"));
	unique_fd prog = dummy_ops_load();
	CHECK(prog, "bpf_dummy_ops: %s", strerror(-prog.fd));
	return silent("struct_ops", how_often(), false, [&] {
		u32 sum = 0;
		int err = dummy_ops_run(prog.fd, 1, 2, 3, &sum);

		CHECK(!err && sum == 6, "test run: %s, sum %u", strerror(-err), sum);
		return pass();
	});
}

static result kprobes()
{
	TRY(need_isolated());
	kallsyms ks;
	auto p = kprobe_inside("silent", getppid_symbol(ks));
	CHECK(p, "no kprobe inside of getppid");
	const std::string where = getppid_symbol(ks) + format("+%u", p->offset);
	p.reset();
	return silent("kprobe on and off", how_often(), true, [&] {
		kprobe_event e("silent", where);

		CHECK(!e.err && !e.enable(true), "kprobe at %s", where.c_str());
		return pass();
	});
}

static result optprobes()
{
	TRY(need_isolated());
	if (trim(slurp("/proc/sys/debug/kprobes-optimization").value_or("0")) != "1")
		return skip("CONFIG_OPTPROBES is not set");
	TRY(need_module("execmem_clone_000"));
	loaded_module clone("execmem_clone_000");
	CHECK(!clone.err, "execmem_clone_000: %s", strerror(-clone.err));
	auto first = kprobe_optimised("first", "execmem_clone_000:execmem_clone_work");
	CHECK(first, "no kprobe becomes a jump");
	const unsigned int offset = first->offset;
	first.reset();
	/* The optimizer takes its time. */
	return silent("optprobe on and off", std::min<size_t>(how_often(), 100), true, [&] {
		kprobe_event e("silent_opt", format("execmem_clone_000:execmem_clone_work+%u", offset));

		CHECK(!e.err && !e.enable(true), "kprobe at +%u", offset);
		e.symbol = "execmem_clone_000:execmem_clone_work";
		e.offset = offset;
		CHECK(wait_for(10000, [&] { return e.optimised(); }), "it does not become a jump");
		return pass();
	});
}

static result ftrace()
{
	TRY(need_isolated());
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	trace_instance t("execmem_silent", traceable_getppid());
	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	return silent("ftrace on and off", how_often(), true, [&] {
		spit(t.dir + "/current_tracer", "nop");
		CHECK(!spit(t.dir + "/current_tracer", "function"), "no function tracer");
		return pass();
	});
}

/* Modules have pages of their own: shown, and not judged. What thunks cost is counted by the test its. */
static result modules()
{
	TRY(need_isolated());
	TRY(need_module("execmem_clone_000"));
	const size_t n = how_often();
	int err = 0;
	cost c = cost_of([&] {
		for (size_t i = 0; i < n; i++) {
			loaded_module m("execmem_clone_000");

			err = err ?: m.err;
		}
		settle();
	});
	CHECK(!err, "execmem_clone_000: %s", strerror(-err));
	CHECK(trace->error.empty(), "%s", trace->error.c_str());
	c.describe("module load and unload", n);
	CHECK(c.tlb, "modules came and went, and no shootdown was seen");
	return pass();
}

int main()
{
	int ret = run_cases({
		{ "interrupts_count", interrupts_count },
		{ "socket_filters", socket_filters, "interrupts_count" },
		{ "seccomp_filters", seccomp_filters, "interrupts_count" },
		{ "one_function", one_function, "interrupts_count" },
		{ "many_functions", many_functions },
		{ "fentry", fentry },
		{ "fexit", fexit },
		{ "struct_ops", struct_ops },
		{ "kprobes", kprobes },
		{ "optprobes", optprobes },
		{ "ftrace", ftrace },
		{ "modules", modules },
	});

	stop_spinner();
	return ret;
}
