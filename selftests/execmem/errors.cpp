// SPDX-License-Identifier: GPL-2.0
/*
 * What goes wrong goes wrong cleanly: an errno that says so, nothing leaked,
 * nothing writable and executable left behind, and the next try works.
 *
 * With fault injection each allocation on the way of loading a module, a BPF
 * program, a trampoline, a kprobe and an ftrace trampoline fails in turn; and
 * each one on the way of freeing them, where nothing may depend on memory.
 */
#include <linux/filter.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "counters.hpp"
#include "footprint.hpp"
#include "pool.hpp"

/* -------------------------------------------------------- refused requests */

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
	std::string image = slurp(module_path("execmem_clone_000")).value_or("");
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

/* More than the module area holds, and more than there is memory. */
static result huge_module()
{
	TRY(need_module("execmem_huge"));
	footprint before = settle();
	s64 start = now_ms();
	expected_noise noise;

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
	TRY(need_jit());
	const char *file = "/proc/sys/net/core/bpf_jit_limit";
	std::string was = trim(slurp(file).value_or(""));

	if (was.empty())
		return skip("no bpf_jit_limit");
	std::string small = std::to_string(sysconf(_SC_PAGESIZE));
	CHECK(!spit(file, small), "cannot set bpf_jit_limit");
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
 * owner of a sparse area maps there. Everything else warns and does no harm.
 */
static result misuse()
{
	TRY(need_module("execmem_misuse", "CONFIG_KPROBES"));
	std::string panic = slurp("/proc/sys/kernel/panic_on_warn").value_or("0");
	spit("/proc/sys/kernel/panic_on_warn", "0");
	defer restore([&] { spit("/proc/sys/kernel/panic_on_warn", panic); });
	loaded_module m("execmem_misuse");
	CHECK(!m.err, "execmem_misuse: %s", strerror(-m.err));

	expected_noise noise;
	std::vector<std::string> said = split(module_param("execmem_misuse", "misuse"));
	size_t warned = 0;
	for (const std::string &line : split(noise.mark.since())) {
		warned += line.find("which is not allocated") != line.npos &&
			  line.find("[execmem_misuse]") != line.npos;
		for (const char *bad : { "BUG: ", "Oops", "KASAN" })
			CHECK(line.find(bad) == line.npos, "%s", line.c_str());
	}
	for (const std::string &line : said)
		diag("%s", line.c_str());
	CHECK(said.size() == 1, "%zu misuses did harm, or were not refused", said.size());
	CHECK(said[0] == "refused 12", "expected 12 to be refused");
	CHECK(warned == 12, "%zu warnings name the caller and what he freed, expected 12", warned);
	return pass();
}

/*
 * Memory that cannot be protected is not used: a module does not load, a
 * program is interpreted or refused, a tracer does without its trampoline.
 */
static result permissions_refused()
{
	/* What set_memory_ro() is, or calls. */
	const std::string refusal = format("func=%s ret=-12", arch == arch_id::powerpc ?
					   "change_memory_attr" : arch == arch_id::s390 ?
					   "__set_memory" : "set_memory_ro");

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
	expected_noise noise;
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
	TRY(no_wx());
	{
		live_load after(10);
		CHECK(after.error.empty(), "afterwards: %s", after.error.c_str());
	}
	return no_growth(before);
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

/* --------------------------------------------------------- fault injection */

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
			spit(debugfs(std::string(attr) + "/" + file), value);
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

struct operation {
	const char *name;
	std::function<int()> make;	/* 0 or -errno */
	std::function<int()> undo;	/* must never fail */
	bool strict_undo = true;	/* nor allocate in a way it needs */
	std::function<void()> prepare = [] { };	/* before each try */
};

static result sweep(const operation &op)
{
	std::map<int, unsigned int> errors;
	unsigned int n, injected = 0, step = 1;
	s64 start = now_ms();

	/* Once without a fault: caches and spare memory are there from now on. */
	int err = op.make();
	CHECK(!err, "%s without a fault: %s", op.name, strerror(-err));
	err = op.undo();
	CHECK(!err, "undoing %s: %s", op.name, strerror(-err));
	footprint before = settle();
	expected_noise noise;

	for (n = 1; n < 20000; n += step) {
		op.prepare();
		if (!with_fault(n, op.make, &err)) {
			/* Fewer allocations than that: it has worked. */
			CHECK(!err, "%s without a fault: %s", op.name, strerror(-err));
			err = op.undo();
			CHECK(!err, "undoing %s: %s", op.name, strerror(-err));
			break;
		}
		CHECK(err != -ENODEV, "cannot write fail-nth");
		injected++;
		errors[err]++;
		CHECK(err <= 0 && err > -4096, "%s with fault %u: returned %d", op.name, n, err);
		if (!err) {
			err = op.undo();
			CHECK(!err, "%s survived fault %u but undoing it gave %s", op.name, n, strerror(-err));
		}
		/* Far along on a slow kernel: not each one any more. */
		if (now_ms() - start > 60000)
			step = 7;
		if (now_ms() - start > 120000)
			step = 61;
	}
	std::string text;
	for (const auto &[e, count] : errors) {
		/* 524, which the kernel keeps to itself, has no name. */
		const char *name = e ? strerrorname_np(-e) : "survived";

		text += format(" %s %u,", name ?: "ENOTSUPP", count);
	}
	diag("%s: %u faults, of %u allocations:%s", op.name, injected, n - 1, text.c_str());
	CHECK(injected > 0, "no allocation of %s was hit", op.name);
	CHECK(errors.size() > 1 || !errors.count(0), "no fault had any effect on %s", op.name);

	/* Undo with faults: freeing needs no memory. */
	for (n = 1; op.strict_undo && n < 200; n++) {
		err = op.make();
		CHECK(!err, "%s after the faults: %s", op.name, strerror(-err));
		bool hit = with_fault(n, op.undo, &err);
		CHECK(!err, "undoing %s with fault %u: %s", op.name, n, strerror(-err));
		if (!hit)
			break;
	}
	TRY(noise.no_splat());
	TRY(no_growth(before));
	return no_wx();
}

static std::unique_ptr<kprobe_event> probe;
static std::unique_ptr<trace_instance> tracer;
static unique_fd prog, attached;

static result fault_module()
{
	TRY(need_faults());
	TRY(need_module("execmem_clone_000"));
	static std::string image = slurp(module_path("execmem_clone_000")).value_or("");

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

/* The pool's largest free area for what comes and goes, in bytes, as it says itself. */
static std::optional<u64> largest_free()
{
	for (const std::string &line : split(slurp(debugfs("execmem")).value_or(""))) {
		std::vector<std::string> w = words(line);

		if (w.size() == 9 && w[0] == "pool" && w[5] == "largest-free")
			return strtoull(w[6].c_str(), nullptr, 10);
	}
	return std::nullopt;
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
			return *largest_free() <= size / 2;
		});
	}

	result make()
	{
		TRY(need_jit());
		if (!largest_free() || kernel_parameter("execmem") == "off")
			return skip("there is no pool");

		rlimit files { 8192, 8192 };
		CHECK(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE: %s", strerror(errno));
		unique_fd first(one_more());
		CHECK(first, "program: %s", strerror(-first.fd));
		size = bpf_images(first.fd).at(0).len;
		first = unique_fd();
		give_back();
		for (u64 room = 0; fill.size() < 5000 && (room = *largest_free()) > size / 2; ) {
			unsigned int n = std::min<u64>(room / (size / len) / 2, 8000);

			fill.emplace_back(bpf_prog_load(bpf_return_large(1, std::max(n, len / 3))));
			CHECK(fill.back(), "program %zu: %s", fill.size(), strerror(-fill.back().fd));
			give_back();
		}
		diag("%zu programs, and %llu bytes free in one piece", fill.size(),
		     (unsigned long long)*largest_free());
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
		CHECK(!spit(attr + file, value), "cannot set %s", file.c_str());

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
	spit(record, "0");
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

/* After all that the leak detector is content; scanned twice, as new objects get a grace. */
static result kmemleak_quiet()
{
	if (!exists(debugfs("kmemleak")))
		return skip("CONFIG_DEBUG_KMEMLEAK is not set");
	for (int i = 0; i < 2; i++) {
		int err = spit(debugfs("kmemleak"), "scan");

		if (err == -EBUSY)
			return skip("kmemleak is switched off");
		CHECK(!err, "kmemleak scan: %s", strerror(-err));
		sleep(6);
	}
	std::string leaks = slurp(debugfs("kmemleak")).value_or("");
	std::vector<std::string> lines = split(leaks);
	for (size_t i = 0; i < lines.size() && i < 60; i++)
		diag("%s", lines[i].c_str());
	CHECK(leaks.empty(), "kmemleak reports leaks");
	return pass();
}

static result kmemleak_start()
{
	if (!exists(debugfs("kmemleak")))
		return skip("CONFIG_DEBUG_KMEMLEAK is not set");
	/* What there was before is not ours. */
	spit(debugfs("kmemleak"), "scan");
	spit(debugfs("kmemleak"), "clear");
	return pass();
}

static result works_after_all()
{
	live_load load(20);

	CHECK(load.error.empty(), "%s", load.error.c_str());
	return no_wx();
}

int main()
{
	show_pointers();
	return run_cases({
		{ "kmemleak_start", kmemleak_start },
		{ "bad_modules", bad_modules },
		{ "huge_module", huge_module },
		{ "bad_programs", bad_programs },
		{ "bad_kprobes", bad_kprobes },
		{ "jit_limit", jit_limit },
		{ "misuse", misuse },
		{ "permissions_refused", permissions_refused },
		{ "all_given_back", all_given_back },
		{ "fault_module", fault_module },
		{ "fault_bpf", fault_bpf },
		{ "fault_growth", fault_growth },
		{ "fault_large_pages", fault_large_pages },
		{ "fault_trampoline", fault_trampoline },
		{ "fault_kprobe", fault_kprobe },
		{ "fault_slots", fault_slots },
		{ "fault_ftrace", fault_ftrace },
		{ "works_after_all", works_after_all },
		{ "kmemleak_quiet", kmemleak_quiet },
	});
}
