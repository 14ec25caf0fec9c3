// SPDX-License-Identifier: GPL-2.0
/*
 * All users of executable memory at once, each at random but from a seed that
 * is printed: BPF programs, classic ones, dispatchers, trampolines and
 * struct_ops, kprobes, tracers, modules and livepatches come and go, while what
 * is there is run and has to give what it should. In the end memory is back
 * where it was.
 *
 * "execmem_churn=SECONDS[:SEED]" on the command line; otherwise it is short.
 */
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif

#include "arch.hpp"
#include "bpf.hpp"
#include "btf.hpp"
#include "footprint.hpp"
#include "guest.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "livepatch.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "struct_ops.hpp"
#include "tracer.hpp"
#include "types.hpp"

static unsigned int seconds = 15;
static u32 seed = 20061121;
static std::atomic<bool> *time_is_over;	/* for all processes */
static constexpr const char *lock_stat = "/proc/lock_stat";

using random_numbers = std::mt19937;

static u32 below(random_numbers &rnd, u32 n)
{
	return rnd() % n;
}

/* So often at least, even if that takes longer. */
static constexpr size_t enough = 3;

static bool time_is_left()
{
	return !*time_is_over;
}

/*
 * Seconds, by the clock of the machine that runs on batteries, where it is a PC.
 * The guest's own counts ticks, and loses most of them while the emulator is busy.
 */
class machine_clock {
public:
	unsigned int elapsed() const
	{
#ifdef __x86_64__
		if (pc)
			return (of_day() + 86400 - start) % 86400;
#endif
		return (now_ms() - start_ms) / 1000;
	}

private:
	const s64 start_ms = now_ms();
#ifdef __x86_64__
	static unsigned int reg(unsigned char index)
	{
		outb(index, 0x70);
		return inb(0x71);
	}

	static unsigned int number(unsigned char index)
	{
		const unsigned int n = reg(index);

		return reg(0xb) & 4 ? n : n / 16 * 10 + n % 16;
	}

	static unsigned int of_day()
	{
		unsigned int now, again;

		/* Until it was not changing meanwhile. */
		do {
			now = number(4) * 3600 + number(2) * 60 + number(0);
			again = number(4) * 3600 + number(2) * 60 + number(0);
		} while (now != again);
		return now;
	}

	/* On a machine that others use the clock is the kernel's, whose driver may be at it. */
	const bool pc = in_guest() && !ioperm(0x70, 2, 1);
	const unsigned int start = pc ? of_day() : 0;
#endif
};

/* Programs that return what they should, however their neighbours come and go. */
static result churn_programs(random_numbers &rnd)
{
	struct live {
		unique_fd fd;
		u32 value;
	};
	std::vector<live> progs;
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		if (progs.size() < 200 && below(rnd, 5) < 3) {
			u32 value = below(rnd, 1 << 20);
			unsigned int len = below(rnd, 50) ? 2 + below(rnd, 200) : 2000 + below(rnd, 4000);
			bpf_load how;

			/* For each of these that runs the dispatcher is made anew. */
			if (!below(rnd, 4))
				how.type = BPF_PROG_TYPE_XDP;
			int fd = bpf_prog_load(bpf_return(value, len), how);

			CHECK(fd >= 0, "program of %u instructions: %s", len, strerror(-fd));
			progs.push_back({ unique_fd(fd), value });
		} else if (!progs.empty()) {
			progs.erase(progs.begin() + below(rnd, progs.size()));
		}
		if (progs.empty())
			continue;
		const live &p = progs[below(rnd, progs.size())];
		u32 ret = 0;
		int err = bpf_run(p.fd.fd, &ret, 2);
		CHECK(!err, "program does not run: %s", strerror(-err));
		CHECK(ret == p.value, "program returned %u instead of %u", ret, p.value);
	}
	diag("%zu steps with programs", rounds);
	return pass();
}

/* Classic programs: what anybody may load, and predictors are flushed for. */
static result churn_filters(random_numbers &rnd)
{
	std::vector<unique_fd> sockets;
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		if (sockets.size() > 50)
			sockets.erase(sockets.begin() + below(rnd, sockets.size()));
		sockets.emplace_back(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		CHECK(sockets.back(), "socket: %s", strerror(errno));

		int err = attach_classic(sockets.back().fd, 2 + below(rnd, 100));
		CHECK(!err, "filter: %s", strerror(-err));
	}
	diag("%zu filters", rounds);
	return pass();
}

static result churn_trampolines(random_numbers &rnd)
{
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		std::vector<unique_fd> progs, links;

		for (u32 i = 1 + below(rnd, 3); i; i--) {
			u32 type = below(rnd, 2) ? BPF_TRACE_FENTRY : BPF_TRACE_FEXIT;
			std::string func = format("bpf_fentry_test%u", 1 + below(rnd, 6));

			progs.emplace_back(bpf_tracing_load(func.c_str(), type, bpf_return(0)));
			CHECK(progs.back(), "%s: %s", func.c_str(), strerror(-progs.back().fd));
			links.emplace_back(bpf_attach(progs.back().fd));
			CHECK(links.back(), "attach %s: %s", func.c_str(), strerror(-links.back().fd));
		}
		/* The test run of a tracing program calls all these functions. */
		u32 ret = 0;
		int err = bpf_run(progs[0].fd, &ret);
		CHECK(!err, "bpf_fentry_test: %s", strerror(-err));
	}
	diag("%zu steps with trampolines", rounds);
	return pass();
}

/* Each run has a trampoline made for it. */
static result churn_struct_ops(random_numbers &rnd)
{
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		unique_fd p = dummy_ops_load();

		CHECK(p, "struct_ops: %s", strerror(-p.fd));
		for (u32 i = 1 + below(rnd, 10); i; i--) {
			u32 a = below(rnd, 1000), b = below(rnd, 1000), c = below(rnd, 1000), sum = 0;
			int err = dummy_ops_run(p.fd, a, b, c, &sum);

			CHECK(!err, "struct_ops: %s", strerror(-err));
			CHECK(sum == a + b + c, "%u + %u + %u is %u", a, b, c, sum);
		}
	}
	diag("%zu struct_ops", rounds);
	return pass();
}

/* A patch of a module and of the image is applied and taken back. */
static result churn_livepatches(random_numbers &)
{
	size_t rounds = 0;

	for (; time_is_left() || !rounds; rounds++) {
		int err = load_module("execmem_klp");

		CHECK(!err, "execmem_klp: %s", strerror(-err));
		CHECK(wait_for(60000, [] { return patch_settled(); }), "the transition does not end");
		TRY(remove_patch());
	}
	diag("%zu livepatches", rounds);
	return pass();
}

static result churn_kprobes(random_numbers &rnd)
{
	const std::vector<unsigned int> offsets = offsets_to_try("execmem_clone_000:execmem_clone_work", 80);
	size_t rounds = 0, set = 0;
	std::vector<std::unique_ptr<kprobe_event>> live;
	for (; time_is_left() || (set < enough && rounds < 200); rounds++) {
		unsigned int clone = below(rnd, 10), off = offsets[below(rnd, offsets.size())];
		auto ev = std::make_unique<kprobe_event>(format("churn_%zu", rounds),
							 format("execmem_clone_%03u:execmem_clone_work+%u",
								clone, off));

		if (!ev->err) {
			CHECK(!ev->enable(true), "kprobe at %u: cannot be enabled", off);
			set++;
			live.push_back(std::move(ev));
		}
		if (live.size() > 30)
			live.erase(live.begin() + below(rnd, live.size()));
	}
	diag("%zu kprobes, %zu of them could be set", rounds, set);
	CHECK(set >= enough, "only %zu kprobes could be set", set);
	return pass();
}

static result churn_tracers(random_numbers &rnd)
{
	std::vector<std::unique_ptr<trace_instance>> live;
	const std::string function = traceable_getppid();
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		auto t = std::make_unique<trace_instance>(format("churn_%zu", rounds), function);

		CHECK(!t->err, "trace instance: %s", strerror(-t->err));
		getppid();
		CHECK(t->count(function) > 0, "getppid() was not traced");
		live.push_back(std::move(t));
		if (live.size() > 1 + below(rnd, 4))
			live.erase(live.begin() + below(rnd, live.size()));
	}
	diag("%zu tracers", rounds);
	return pass();
}

static result churn_modules(random_numbers &rnd)
{
	size_t rounds = 0;

	for (; time_is_left() || rounds < enough; rounds++) {
		module_clones clones(1 + below(rnd, 10), 100);

		CHECK(!clones.err, "module: %s", strerror(-clones.err));
		CHECK(!clones.unload(), "a module does not go");
	}
	diag("%zu steps with modules", rounds);
	return pass();
}

/* How long others have to wait for those who hold a lock of execmem, as CONFIG_LOCK_STAT counts. */
static result show_locks()
{
	std::vector<std::string> names = { "text_mutex:", "execmem_lock:" };
	size_t seen = 0;

	if (!exists(lock_stat))
		return pass();
	if (have_pool())
		names.push_back("execmem_grow_lock:");
	for (const std::string &line : split(read_or_fail(lock_stat))) {
		/* name, contentions (2), waits (4), acquisitions (2), holds: least, most, sum, average */
		std::vector<std::string> w = words(line);

		if (w.size() != 13 || std::find(names.begin(), names.end(), w[0]) == names.end())
			continue;
		seen++;
		diag("lock %s held %s times, for %s us at most, %s us on average", w[0].c_str(), w[8].c_str(), w[10].c_str(),
		     w[12].c_str());
	}
	CHECK(seen == names.size(), "%s has %zu locks of %zu", lock_stat, seen, names.size());
	return pass();
}

/* Each in a process of its own, all at the same time. */
static result everything()
{
	struct worker {
		const char *name;
		result (*run)(random_numbers &);
		pid_t pid;
	};
	std::vector<worker> workers;

	TRY(need_jit());
	{
		/*
		 * What is taken at first stays: by the static ftrace_ops of kprobes and of
		 * changes of BPF trampolines, and by dispatchers.
		 */
		live_load warm(20);
		CHECK(warm.error.empty(), "%s", warm.error.c_str());
		bpf_load how;
		how.type = BPF_PROG_TYPE_XDP;
		unique_fd xdp(bpf_prog_load(bpf_return(1), how));
		u32 ret = 0;
		CHECK(!xdp || !bpf_run(xdp.fd, &ret, 2), "a program for XDP does not run");
		if (!warm.bpf_links.empty()) {
			unique_fd second(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
			unique_fd link(second ? bpf_attach(second.fd) : -1);

			CHECK(link, "a second program on bpf_fentry_test1: %s", strerror(-link.fd));
		}
	}
	workers.push_back({ "programs", churn_programs, 0 });
	workers.push_back({ "filters", churn_filters, 0 });
	if (need_bpf_trampolines().verdict == result::PASS && arch == arch_id::x86_64) {
		workers.push_back({ "trampolines", churn_trampolines, 0 });
		if (need_struct_ops("bpf_dummy_ops", "CONFIG_NET").verdict == result::PASS)
			workers.push_back({ "struct_ops", churn_struct_ops, 0 });
	}
	if (have_function_tracer())
		workers.push_back({ "tracers", churn_tracers, 0 });
	std::unique_ptr<module_clones> probed;
	std::unique_ptr<loaded_module> target;
	if (have_modules()) {
		workers.push_back({ "modules", churn_modules, 0 });
		probed = std::make_unique<module_clones>(10);
		CHECK(!probed->err, "modules: %s", strerror(-probed->err));
		if (have_kprobe_events())
			workers.push_back({ "kprobes", churn_kprobes, 0 });
		if (need_livepatch().verdict == result::PASS) {
			target = std::make_unique<loaded_module>("execmem_test");
			CHECK(!target->err, "execmem_test: %s", strerror(-target->err));
			workers.push_back({ "livepatches", churn_livepatches, 0 });
		}
	}

	if (exists(lock_stat))
		CHECK(!spit(lock_stat, "0"), "%s is not cleared", lock_stat);
	footprint before = settle();
	diag("%u s, seed %u, %zu workers, %llu kB of memory are free", seconds, seed, workers.size(),
	     (unsigned long long)free_memory() >> 10);
	const u64 pool = pool_list().size();
	time_is_over = static_cast<std::atomic<bool> *>(mmap(nullptr, sizeof(*time_is_over),
		PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	CHECK(time_is_over != MAP_FAILED, "mmap: %s", strerror(errno));
	const machine_clock clock;
	const s64 start = now_ms();
	fflush(stdout);
	for (size_t i = 0; i < workers.size(); i++) {
		worker &w = workers[i];

		w.pid = fork();
		CHECK(w.pid >= 0, "fork: %s", strerror(errno));
		if (w.pid)
			continue;
		random_numbers rnd(seed + i);
		result r = run_case([&] { return w.run(rnd); });
		if (r.verdict == result::FAIL)
			diag("%s: %s", w.name, r.why.c_str());
		fflush(stdout);
		_exit(r.verdict == result::FAIL);
	}
	while (clock.elapsed() < seconds)
		usleep(100000);
	*time_is_over = true;
	diag("%u s, of which the guest counted %lld", clock.elapsed(), (long long)(now_ms() - start) / 1000);
	std::string failed;
	for (const worker &w : workers) {
		int status = 0;

		CHECK(waitpid(w.pid, &status, 0) == w.pid, "waitpid: %s", strerror(errno));
		if (status)
			failed += format(" %s (%#x)", w.name, status);
	}
	diag("%llu kB of memory are free", (unsigned long long)free_memory() >> 10);
	CHECK(failed.empty(), "failed, with seed %u:%s", seed, failed.c_str());
	TRY(show_locks());
	TRY(no_growth(before));
	/* One spare chunk beside what is in use. */
	u64 now = 0;
	bool back = wait_for(20000, [&] { return (now = pool_list().size()) <= pool + large; });
	diag("the pool had %llu kB, has %llu kB", (unsigned long long)pool >> 10, (unsigned long long)now >> 10);
	CHECK(back, "the pool keeps %llu bytes, and had %llu", (unsigned long long)now, (unsigned long long)pool);
	return no_wx();
}

int main()
{
	const std::string key = "execmem_churn=";
	bool given = false;

	for (const std::string &w : words(read_or_fail("/proc/cmdline"))) {
		if (!w.starts_with(key))
			continue;
		std::vector<std::string> n = split(w.substr(key.size()), ':');

		seconds = atoi(n[0].c_str());
		given = true;
		if (n.size() > 1)
			seed = strtoul(n[1].c_str(), nullptr, 10);
	}
	if (!given)
		seconds *= slow();
	return run_cases({ { "growth_is_seen", growth_is_seen }, { "everything", everything } });
}
