// SPDX-License-Identifier: GPL-2.0
/*
 * With fault injection each allocation on the way of loading a module, a BPF
 * program, a trampoline, a kprobe and an ftrace trampoline fails in turn; and
 * each one on the way of freeing them, where nothing may depend on memory. What
 * fails gives an errno and leaves nothing behind, and the next try works.
 *
 * Of many allocations a sample fails, the same one each time:
 * "execmem_faults=COUNT[:SEED]" on the command line, or "execmem_faults=all".
 */
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "btf.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "kallsyms.hpp"
#include "kcore.hpp"
#include "klog.hpp"
#include "kmemleak.hpp"
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

static result need_faults()
{
	if (!exists("/proc/self/fail-nth"))
		return skip("CONFIG_FAULT_INJECTION is not set");
	if (!exists(debugfs("failslab")) && !exists(debugfs("fail_page_alloc")))
		return skip("CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC are not set");
	/* All allocations, also those that may sleep; and no stack dumps. */
	for (const char *attr : { "failslab", "fail_page_alloc" }) {
		for (const auto &[file, value] : std::map<std::string, std::string>{
				{ "verbose", "0" }, { "ignore-gfp-wait", "0" },
				{ "ignore-gfp-highmem", "0" }, { "min-order", "0" } })
			set_for_now(debugfs(std::string(attr) + "/" + file), value);
	}
	return pass();
}

/* Let the @n-th allocation of this task fail while @fn runs; false when there were fewer. */
static bool with_fault(unsigned int n, const std::function<int()> &fn, int *err)
{
	unique_fd f(open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC));
	std::string num = std::to_string(n);
	char left[16] = { };

	if (!f || write(f.fd, num.data(), num.size()) < 0) {
		*err = -ENODEV;
		return true;
	}
	*err = fn();
	ssize_t got = pread(f.fd, left, sizeof(left) - 1, 0);
	pwrite(f.fd, "0", 1, 0);
	return got > 0 && atoi(left) == 0;
}

/* How many allocations of this task there are while @fn runs, which gives *@err. */
static unsigned int allocations(const std::function<int()> &fn, int *err)
{
	static constexpr unsigned int never = 1u << 30;
	unique_fd f(open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC));
	const std::string num = std::to_string(never);
	char left[16] = { };

	if (!f || write(f.fd, num.data(), num.size()) < 0)
		throw cannot_read("cannot write fail-nth");
	*err = fn();
	if (pread(f.fd, left, sizeof(left) - 1, 0) <= 0 || pwrite(f.fd, "0", 1, 0) < 0)
		throw cannot_read("cannot read fail-nth");
	return never - strtoul(left, nullptr, 10);
}

/*
 * Which of @total allocations fail, in turn. All of them, if they are no more than
 * asked for; else one at random out of each of so many equal parts.
 */
struct sample {
	size_t most = 300;
	u32 seed = 20061121;
	bool all = false;
	std::vector<unsigned int> faults;
	std::string text;

	explicit sample(unsigned int total)
	{
		if (auto given = kernel_parameter("execmem_faults"))
			parse(*given);
		all = all || total <= most;
		if (all) {
			/* Until there are fewer: how many it takes differs a little. */
			for (unsigned int n = 1; n <= 2 * total + 100; n++)
				faults.push_back(n);
			text = format("all of %u", total);
			return;
		}
		std::mt19937 rnd(seed);
		for (size_t i = 0; i < most; i++) {
			const u64 first = u64(total) * i / most, next = u64(total) * (i + 1) / most;

			faults.push_back(1 + first + rnd() % (next - first));
		}
		text = format("sampled %zu of %u, seed %u", most, total, seed);
	}

private:
	void parse(const std::string &given)
	{
		char *end = nullptr;

		if (given == "all") {
			all = true;
			return;
		}
		most = strtoul(given.c_str(), &end, 10);
		if (*end == ':')
			seed = strtoul(end + 1, &end, 10);
		if (!most || *end)
			throw std::invalid_argument("execmem_faults=" + given + ": neither all nor COUNT[:SEED]");
	}
};

struct operation {
	const char *name;
	std::function<int()> make;	/* 0 or -errno */
	std::function<int()> undo;	/* must never fail */
	bool strict_undo = true;	/* nor allocate in a way it needs */
	std::function<void()> prepare = [] { };	/* before each try */
};

/* So often it is looked whether something was left behind, so that a leak has few faults to come from. */
static constexpr unsigned int faults_between_looks = 50;

static result sweep(const operation &op)
{
	std::map<int, unsigned int> errors;
	unsigned int injected = 0, reached = 0;

	/* Twice without a fault: caches and spare memory are there the second time. */
	int err = op.make();
	CHECK(!err, "%s without a fault: %s", op.name, strerror(-err));
	err = op.undo();
	CHECK(!err, "undoing %s: %s", op.name, strerror(-err));
	op.prepare();
	const sample which(allocations(op.make, &err));
	CHECK(!err, "%s without a fault: %s", op.name, strerror(-err));
	err = op.undo();
	CHECK(!err, "undoing %s: %s", op.name, strerror(-err));
	footprint before = settle();
	expected_noise noise(no_memory);

	/* After the faults number @first to @last of this operation. */
	auto nothing_left = [&](const char *what, unsigned int first, unsigned int last) -> result {
		for (const auto &look : { std::function<result()>([&] { return noise.no_splat(); }),
					  std::function<result()>([&] { return no_growth(before); }),
					  std::function<result()>([&] { return no_wx(); }) }) {
			const result r = look();

			CHECK(r.verdict != result::FAIL, "%s, %s %u to %u (%s): %s", op.name, what, first, last,
			      which.text.c_str(), r.why.c_str());
		}
		/* The log does not hold the dumps of all faults. */
		noise.mark = log_mark();
		return pass();
	};

	unsigned int first = 0, last = 0;
	for (unsigned int n : which.faults) {
		op.prepare();
		const bool hit = with_fault(n, op.make, &err);

		CHECK(err != -ENODEV, "cannot write fail-nth");
		reached++;
		last = n;
		if (!first)
			first = n;
		if (!hit) {
			/* Fewer allocations than that: it has worked. */
			CHECK(!err, "%s without a fault, %u allocations: %s", op.name, n, strerror(-err));
			err = op.undo();
			CHECK(!err, "undoing %s: %s", op.name, strerror(-err));
			if (which.all)
				break;
			continue;
		}
		injected++;
		errors[err]++;
		CHECK(err <= 0 && err > -4096, "%s with fault %u: returned %d", op.name, n, err);
		if (!err) {
			err = op.undo();
			CHECK(!err, "%s survived fault %u but undoing it gave %s", op.name, n, strerror(-err));
		}
		if (injected % faults_between_looks == 0) {
			TRY(nothing_left("with faults", first, last));
			first = 0;
		}
	}
	if (first)
		TRY(nothing_left("with faults", first, last));

	std::string text;
	for (const auto &[e, count] : errors) {
		/* 524, which the kernel keeps to itself, has no name. */
		const char *name = e ? strerrorname_np(-e) : "survived";

		text += format(" %s %u,", name ?: "ENOTSUPP", count);
	}
	diag("%s: %u faults, %s:%s", op.name, injected, which.text.c_str(), text.c_str());
	CHECK(injected > 0, "no allocation of %s was hit", op.name);
	CHECK(which.all || injected >= reached * 9 / 10, "%s: %u of %u faults were never reached", op.name,
	      reached - injected, reached);
	CHECK(errors.size() > 1 || !errors.count(0), "no fault had any effect on %s", op.name);

	/* Undo with faults: freeing needs no memory. */
	unsigned int n = 1;
	for (; op.strict_undo && n < 200; n++) {
		err = op.make();
		CHECK(!err, "%s after the faults: %s", op.name, strerror(-err));
		bool hit = with_fault(n, op.undo, &err);
		CHECK(!err, "undoing %s with fault %u: %s", op.name, n, strerror(-err));
		if (!hit)
			break;
	}
	TRY(nothing_left("undone with faults", 1, n));
	return need_dump();	/* without one, that nothing was writable and executable was not seen */
}

static std::unique_ptr<kprobe_event> probe;
static std::unique_ptr<trace_instance> tracer;
static unique_fd prog, attached;

static result fault_module()
{
	TRY(need_faults());
	TRY(need_module("execmem_clone_000"));
	static std::string image = read_or_fail(module_path("execmem_clone_000"));

	return sweep({ "module load",
		       [] { return init_module_image(image); },
		       [] { return unload_module("execmem_clone_000"); } });
}

static int keep_prog(int fd)
{
	if (fd < 0)
		return fd;
	prog = unique_fd(fd);
	return 0;
}

static int close_prog()
{
	prog = unique_fd();
	return 0;
}

static result fault_bpf()
{
	TRY(need_faults());
	TRY(need_jit());
	static const bpf_insns insns = {
		mov_imm(BPF_REG_1, 1), call_subprog(1), exit_insn(),
		mov_reg(BPF_REG_0, BPF_REG_1), exit_insn(),
	};

	return sweep({ "BPF program load",
		       [] { return keep_prog(bpf_prog_load(insns)); }, close_prog });
}

/* Programs that fill the pool, so that there is no room for one more. */
struct full_pool {
	static constexpr unsigned int len = 300;
	std::vector<unique_fd> fill;
	u64 size = 0;

	/* The one for which there is no room. */
	static int one_more() { return bpf_prog_load(bpf_return_large(1, len)); }

	/* The idle chunk goes, and what is free in the others is taken. */
	static void give_back() { spit("/proc/sys/vm/drop_caches", "2"); }

	bool no_room() const
	{
		/* Programs are freed some time after they are closed. */
		return wait_for(5000, [&] {
			give_back();
			return pool_list().largest_free("text-bpf") <= size / 2;
		});
	}

	result make()
	{
		TRY(need_jit());
		TRY(need_pool());

		rlimit files { 8192, 8192 };
		CHECK(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));
		unique_fd first(one_more());
		CHECK(first, "program: %s", strerror(-first.fd));
		size = bpf_images(first.fd).at(0).len;
		first = unique_fd();
		give_back();
		for (u64 room = 0; fill.size() < 5000 && (room = pool_list().largest_free("text-bpf")) > size / 2; ) {
			unsigned int n = std::min<u64>(room / (size / len) / 2, 8000);

			fill.emplace_back(bpf_prog_load(bpf_return_large(1, std::max(n, len / 3))));
			CHECK(fill.back(), "program %zu: %s", fill.size(), strerror(-fill.back().fd));
			give_back();
		}
		diag("%zu programs, and %llu bytes free in one piece", fill.size(),
		     (unsigned long long)pool_list().largest_free("text-bpf"));
		CHECK(no_room(), "%zu programs do not fill the pool", fill.size());
		return pass();
	}
};

/* A program for which the pool has to take another chunk, each time. */
static result fault_growth()
{
	TRY(need_faults());
	full_pool full;
	TRY(full.make());

	call_trace trace("execmem_growth");
	trace.begin({ "execmem/execmem_grow" });
	TRY(sweep({ "BPF program load, in a new chunk",
		    [] { return keep_prog(full_pool::one_more()); }, close_prog,
		    true, [&] { full.no_room(); } }));
	const size_t grown = trace.end().size();
	diag("the pool has grown %zu times", grown);
	CHECK(grown >= 10, "the pool has grown %zu times", grown);
	return pass();
}

/* Without 2 MB in one piece a chunk is made of pages, by the same rules, and goes back. */
static result fault_large_pages()
{
	TRY(need_faults());
	if (!exists(debugfs("fail_page_alloc")))
		return skip("CONFIG_FAIL_PAGE_ALLOC is not set");
	if (!have_large_leaves())
		return skip("there are no large pages");
	full_pool full;
	TRY(full.make());

	auto small = [] {
		const pool_list list;

		return std::count_if(list.chunks.begin(), list.chunks.end(),
				     [](const chunk &c) { return c.leaf != large; });
	};
	CHECK(wait_for(5000, [&] { return !small(); }), "there are chunks of small pages already");
	const std::string attr = debugfs("fail_page_alloc/");
	defer restore([&] {
		for (const char *file : { "probability", "min-order" })
			spit(attr + file, "0");
	});
	for (const auto &[file, value] : std::map<std::string, std::string>{
			{ "min-order", "9" }, { "times", "-1" }, { "probability", "100" } })
		CHECK(!set_for_now(attr + file, value), "cannot set %s", file.c_str());

	unique_fd p(full_pool::one_more());
	CHECK(p, "program: %s", strerror(-p.fd));
	u32 ret = 0;
	CHECK(!bpf_run(p.fd, &ret) && ret == 1, "the program gives %u", ret);
	CHECK(small() == 1, "%zu chunks are of small pages, not 1", static_cast<size_t>(small()));
	page_tables pt;
	const mapping *m = pt.find(bpf_images(p.fd).at(0).addr);
	CHECK(m && m->level == "pte" && m->exec && !m->write, "the program lies in %s",
	      m ? m->line.c_str() : "no page");
	TRY(no_wx());

	p = unique_fd();
	CHECK(wait_for(10000, [&] {
		full_pool::give_back();
		return !small();
	}), "a chunk of small pages stays");
	return pass();
}

static result fault_trampoline()
{
	TRY(need_faults());
	TRY(need_bpf_trampolines());
	unique_fd p(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
	if (p.fd == -ENOENT)
		return skip("CONFIG_NET is not set (no bpf_fentry_test1)");
	CHECK(p, "fentry load: %s", strerror(-p.fd));
	{
		unique_fd l(bpf_attach(p.fd));
		if (l.fd == -enotsupp || l.fd == -EOPNOTSUPP)
			return skip("no BPF trampolines on this architecture");
	}
	return sweep({ "BPF trampoline attach",
		       [&] {
			       int fd = bpf_attach(p.fd);

			       if (fd < 0)
				       return fd;
			       attached = unique_fd(fd);
			       return 0;
		       },
		       [] {
			       attached = unique_fd();
			       return 0;
		       },
		       /*
			* Detaching allocates the list of programs that stay, in 6.1 as
			* it is, too; and bpf_tracing_link_release() warns when it cannot.
			*/
		       false });
}

/* A kprobe at @place, "FUNCTION+OFFSET", which is also switched on or not. */
static result sweep_kprobe(const char *what, const std::string &place, bool enable)
{
	return sweep({ what,
		       [&] {
			       probe = std::make_unique<kprobe_event>("fault", place);
			       int err = probe->err || !enable ? probe->err : probe->enable(true);

			       if (err)
				       probe.reset();
			       return err;
		       },
		       [] {
			       int err = probe->remove();

			       probe.reset();
			       return err;
		       },
		       /* Writing a tracefs file copies the line. */
		       false });
}

/*
 * Where a kprobe can be set on a call, as "FUNCTION+OFFSET": the kernel emulates
 * calls, and gives the slot of such a probe back at once. The probes are there,
 * and off, as long as the object.
 */
struct probes_on_calls {
	std::vector<std::unique_ptr<kprobe_event>> events;
	std::string last;

	/* As many as need another page of slots. Then the last one goes, and that page. */
	result fill_pages()
	{
		const kallsyms ks;
		kcore core;
		const u64 before = slots();

		for (const symbol &s : ks.syms) {
			if (!s.module.empty() || (s.type != 'T' && s.type != 't') ||
			    !s.name.starts_with("pci_"))
				continue;
			const std::string code = core.read(s.addr, 128);

			for (size_t off = 8; off < code.size(); off++) {
				if (static_cast<u8>(code[off]) != 0xe8)
					continue;
				last = s.name + format("+%zu", off);
				auto ev = std::make_unique<kprobe_event>(format("fill_%zu", events.size()), last);

				if (ev->err)
					continue;
				events.push_back(std::move(ev));
				if (slots() == before)
					continue;
				events.pop_back();
				diag("%zu kprobes fill the pages of slots", events.size());
				CHECK(slots() == before, "a page without probes stays");
				return pass();
			}
		}
		return fail("%zu kprobes have needed no page", events.size());
	}

	static u64 slots()
	{
		u64 n = 0;

		for (const area &a : pool_list().areas)
			n += a.type == "kprobes" && a.live() ? a.size : 0;
		return n;
	}
};

/* A kprobe for which there is no slot in any page, each time. */
static result fault_slots()
{
	TRY(need_faults());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	if (arch != arch_id::x86_64)
		return skip("which slots are given back at once is known for x86-64 only");
	probes_on_calls probes;
	TRY(probes.fill_pages());

	call_trace trace("execmem_slots");
	trace.begin({ "execmem/execmem_alloc" });
	TRY(sweep_kprobe("kprobe, in a new page", probes.last, false));
	const size_t pages = trace.end().size();
	diag("%zu pages of slots", pages);
	CHECK(pages >= 10, "%zu pages of slots", pages);
	return pass();
}

static result fault_kprobe()
{
	TRY(need_faults());
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	std::string fn = getppid_symbol(kallsyms());
	unsigned int off;
	{
		auto ev = kprobe_inside("find", fn);
		CHECK(ev, "no kprobe inside %s", fn.c_str());
		off = ev->offset;
	}
	/* Names of tasks are recorded through tracepoints, which warn when they get no memory. */
	std::string record = tracefs("options/record-cmd");
	set_for_now(record, "0");
	defer restore([&] { spit(record, "1"); });
	return sweep_kprobe("kprobe", fn + format("+%u", off), true);
}

static result fault_ftrace()
{
	TRY(need_faults());
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	/* The first tracer has tracepoints record the names of tasks, which warn when they get no memory. */
	trace_instance first("first", traceable_getppid()), t("fault", traceable_getppid());
	CHECK(!first.err && !t.err, "trace instances: %d %d", first.err, t.err);
	CHECK(!spit(t.dir + "/current_tracer", "nop"), "nop tracer");

	/* Each change waits for all tasks; the way is the same for each event. */
	return sweep({ "ftrace trampoline",
		       [&] { return spit(t.dir + "/current_tracer", "function"); },
		       [&] { return spit(t.dir + "/current_tracer", "nop"); },
		       false });
}

static result works_after_all()
{
	TRY(need_faults());
	live_load load(20);

	CHECK(load.error.empty(), "%s", load.error.c_str());
	return no_wx();
}

static result growth()
{
	TRY(need_faults());
	return growth_is_seen();
}

static result start()
{
	TRY(need_faults());
	return kmemleak_start();
}

static result quiet()
{
	TRY(need_faults());
	return kmemleak_quiet();
}

int main()
{
	return run_cases({
		{ "kmemleak_start", start },
		{ "growth_is_seen", growth },
		{ "fault_module", fault_module },
		{ "fault_bpf", fault_bpf },
		{ "fault_growth", fault_growth },
		{ "fault_large_pages", fault_large_pages },
		{ "fault_trampoline", fault_trampoline },
		{ "fault_kprobe", fault_kprobe },
		{ "fault_slots", fault_slots },
		{ "fault_ftrace", fault_ftrace },
		{ "works_after_all", works_after_all },
		{ "kmemleak_quiet", quiet },
	});
}
