/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Put run-time kernel text of every kind to use at once: modules, BPF
 * programs and trampolines, kprobes (also jump-optimised ones), ftrace
 * trampolines.  What the kernel lacks is left out and said so.
 */
#ifndef EXECMEM_LOAD_HPP
#define EXECMEM_LOAD_HPP

#include <memory>
#include <set>

#include "bpf.hpp"
#include "kcore.hpp"

/* -------------------------------------------------------------- kprobes */

static inline bool have_kprobe_events()
{
	return exists(tracefs("kprobe_events"));
}

/* The getppid system call: tests can call it and hardly anybody else does. */
static inline std::string getppid_symbol(const kallsyms &ks)
{
	for (const char *s : { "__x64_sys_getppid", "__arm64_sys_getppid", "__s390x_sys_getppid",
			       "__ia32_sys_getppid", "__se_sys_getppid", "sys_getppid" })
		if (ks.has(s))
			return s;
	return "";
}

/*
 * All names of the function @name: where two share an address, as the entries
 * of a system call do, the kernel prints either.
 */
static inline std::vector<std::string> aliases(const std::string &name)
{
	static const kallsyms ks;
	std::vector<std::string> v = { name };
	u64 addr = ks.addr(name);

	for (const symbol &s : ks.syms)
		if (addr && s.addr == addr && s.name != name)
			v.push_back(s.name);
	return v;
}

/* A line of debugfs kprobes/list for a probe at @symbol + @off, or "". */
static inline std::string kprobe_line(const std::string &symbol, unsigned int off)
{
	std::string bare = symbol.substr(symbol.find(':') + 1);

	for (const std::string &l : split(slurp(debugfs("kprobes/list")).value_or("")))
		for (const std::string &name : aliases(bare))
			if (l.find(" " + name + format("+0x%x ", off)) != l.npos)
				return l;
	return "";
}

/* A kprobe event; gone with the object. */
struct kprobe_event {
	std::string name, symbol;
	unsigned int offset = 0;
	int err = -ENOENT;

	/* @what: "SYMBOL+OFFSET" or "MODULE:SYMBOL"; @type: "p" or "r". */
	kprobe_event(const std::string &n, const std::string &what, const char *type = "p")
		: name(n)
	{
		err = append(tracefs("kprobe_events"),
			     std::string(type) + ":execmem/" + name + " " + what + "\n");
	}

	~kprobe_event() { remove(); }
	kprobe_event(const kprobe_event &) = delete;
	kprobe_event &operator=(const kprobe_event &) = delete;

	std::string dir() const { return tracefs("events/execmem/" + name); }
	int enable(bool on) const { return spit(dir() + "/enable", on ? "1" : "0"); }

	int remove()
	{
		if (err)
			return err;
		enable(false);
		err = -ENODEV;
		return append(tracefs("kprobe_events"), "-:execmem/" + name + "\n");
	}

	/* Of the probe kprobe_inside() made. */
	bool optimised() const
	{
		return kprobe_line(symbol, offset).find("[OPTIMIZED]") != std::string::npos;
	}

	/* Hits and misses of kprobe_profile, -1 when it has no such event. */
	std::pair<s64, s64> counts() const
	{
		for (const std::string &line : split(slurp(tracefs("kprobe_profile")).value_or(""))) {
			std::vector<std::string> w = words(line);

			if (w.size() == 3 && w[0] == name)
				return { atoll(w[1].c_str()), atoll(w[2].c_str()) };
		}
		return { -1, -1 };
	}
};

/*
 * Where instructions start in the first bytes of @symbol ("SYMBOL" or
 * "MODULE:SYMBOL"), for the architectures with instructions of several lengths
 * whose 6.1 kernel puts a breakpoint into the middle of one if it is told to.
 * Nothing: the kernel refuses those itself.
 */
static inline std::optional<std::set<unsigned int>> instructions(const std::string &symbol, unsigned int len)
{
	std::function<unsigned int(const u8 *)> length;
	std::set<unsigned int> starts;

	if (arch == arch_id::riscv)
		length = [](const u8 *p) { return (p[0] & 3) == 3 ? 4 : 2; };
	else if (arch == arch_id::s390)
		length = [](const u8 *p) { return p[0] < 0x40 ? 2 : p[0] < 0xc0 ? 4 : 6; };
	else
		return std::nullopt;

	const size_t colon = symbol.find(':');
	const std::string module = colon == symbol.npos ? "" : symbol.substr(0, colon);
	const u64 addr = kallsyms().addr(symbol.substr(module.empty() ? 0 : colon + 1), module);
	kcore core;
	std::string code = core.read(addr, len);

	if (code.size() < len) {
		/* riscv's image is elsewhere than its memory, and only that is in kcore */
		page_tables pt;
		const mapping *m = pt.find(addr);

		if (m)
			code = core.read_phys(m->phys + (addr - m->start), len);
	}
	for (size_t at = 0; at < code.size(); at += length(reinterpret_cast<const u8 *>(code.data()) + at)) {
		/* The first 8 bytes are ftrace's on riscv: nops of two bytes, or its call. */
		if (arch == arch_id::riscv && at < 8)
			continue;
		/*
		 * A probe on compare-and-branch goes on where the branch does not
		 * when it is taken, in 6.1 as it is, under TCG of QEMU 7.2.
		 */
		if (arch == arch_id::s390 && static_cast<u8>(code[at]) == 0xec)
			continue;
		starts.insert(at);
	}
	return starts;
}

/*
 * An enabled kprobe behind the entry of @symbol: at the entry it would be
 * handled by ftrace and need no instruction slot.  Which offsets are
 * instruction boundaries is for the kernel to say.
 */
static inline std::unique_ptr<kprobe_event> kprobe_inside(const std::string &name, const std::string &symbol,
							 unsigned int first = 1, unsigned int last = 40)
{
	const auto starts = instructions(symbol, last + 1);

	for (unsigned int off = first; off <= last; off++) {
		if (starts && !starts->count(off))
			continue;
		auto ev = std::make_unique<kprobe_event>(name, symbol + format("+%u", off));

		if (ev->err)
			continue;
		if (ev->enable(true))
			continue;
		/* "[FTRACE]" in the list: still the entry. */
		if (kprobe_line(symbol, off).find("[FTRACE]") != std::string::npos)
			continue;
		ev->symbol = symbol;
		ev->offset = off;
		return ev;
	}
	return nullptr;
}

/* The same, at a place where it becomes jump-optimised. */
static inline std::unique_ptr<kprobe_event> kprobe_optimised(const std::string &name, const std::string &symbol)
{
	for (unsigned int first = 1; first <= 40; ) {
		auto ev = kprobe_inside(name, symbol, first);

		if (!ev)
			break;
		if (wait_for(3000, [&] { return ev->optimised(); }))
			return ev;
		first = ev->offset + 1;
	}
	return nullptr;
}

/* --------------------------------------------------------------- ftrace */

static inline bool have_function_tracer()
{
	auto t = slurp(tracefs("available_tracers"));

	return t && (" " + *t).find(" function ") != std::string::npos &&
		exists(tracefs("set_ftrace_filter"));
}

/* The name under which the function tracer knows the getppid system call. */
static inline std::string traceable_getppid()
{
	std::string all = "\n" + slurp(tracefs("available_filter_functions")).value_or("");
	std::string fn = getppid_symbol(kallsyms());

	for (const std::string &name : aliases(fn))
		if (all.find("\n" + name + "\n") != all.npos)
			return name;
	return fn;
}

/* A trace instance that traces one function: an ftrace_ops of its own. */
struct trace_instance {
	std::string dir;
	int err = 0;

	trace_instance(const std::string &name, const std::string &function)
		: dir(tracefs("instances/" + name))
	{
		if (mkdir(dir.c_str(), 0755)) {
			err = -errno;
			dir.clear();
			return;
		}
		/* Without the setting, 6.1 instances cost 1.4 MB a CPU. */
		spit(dir + "/buffer_size_kb", "16");
		err = spit(dir + "/set_ftrace_filter", function + "\n");
		/* An unknown name gives no error, and then everything is traced. */
		if (!err && function.find('*') == function.npos &&
		    slurp(dir + "/set_ftrace_filter").value_or("").find(function) == function.npos)
			err = -ESRCH;
		if (!err)
			err = spit(dir + "/current_tracer", "function");
	}

	~trace_instance() { remove(); }
	trace_instance(const trace_instance &) = delete;
	trace_instance &operator=(const trace_instance &) = delete;

	int remove()
	{
		if (dir.empty())
			return 0;
		spit(dir + "/current_tracer", "nop");
		int e = rmdir(dir.c_str()) ? -errno : 0;
		dir.clear();
		return e;
	}

	std::string trace() const { return slurp(dir + "/trace").value_or(""); }

	size_t count(const std::string &function) const
	{
		std::string t = trace();
		size_t n = 0;

		for (const std::string &name : aliases(function))
			for (size_t at = 0; (at = t.find(": " + name + " <-", at)) != t.npos; at++)
				n++;
		return n;
	}
};

/* --------------------------------------------------------- all together */

struct live_load {
	static constexpr unsigned int nr_modules = 100, nr_bpf = 100, nr_kprobes = 20, nr_instances = 3;

	std::unique_ptr<module_clones> modules;
	std::vector<unique_fd> bpf_progs;
	std::vector<unique_fd> bpf_links;
	std::vector<std::unique_ptr<kprobe_event>> kprobes;
	std::vector<std::unique_ptr<trace_instance>> instances;
	std::string error;	/* what should have worked and did not */

	explicit live_load(unsigned int percent = 100)
	{
		kallsyms ks;

		if (have_modules()) {
			modules = std::make_unique<module_clones>(nr_modules * percent / 100);
			if (modules->err)
				note("modules", modules->err);
		}
		if (need_jit().verdict == result::PASS)
			load_bpf(nr_bpf * percent / 100);
		if (have_kprobe_events())
			load_kprobes(ks, std::max(2u, nr_kprobes * percent / 100));
		if (have_function_tracer())
			load_ftrace(std::max(2u, nr_instances * percent / 100));
		diag("live: %zu modules, %zu BPF programs, %zu BPF trampolines, %zu kprobes, %zu ftrace instances",
		     modules ? modules->names.size() : 0, bpf_progs.size(), bpf_links.size(),
		     kprobes.size(), instances.size());
	}

private:
	void note(const char *what, int err)
	{
		if (error.empty())
			error = format("%s: %s", what, strerror(-err));
	}

	void load_bpf(unsigned int n)
	{
		for (unsigned int i = 0; i < n; i++) {
			int fd = bpf_prog_load(bpf_return(i, 4 + i * 8));

			if (fd < 0)
				return note("BPF program", fd);
			bpf_progs.emplace_back(fd);
		}
		if (need_bpf_trampolines().verdict != result::PASS)
			return;
		for (const char *func : { "bpf_fentry_test1", "bpf_fentry_test2", "bpf_fentry_test3" }) {
			int fd = bpf_tracing_load(func, BPF_TRACE_FENTRY, bpf_return(0));

			if (fd == -ENOENT)	/* CONFIG_NET has them */
				continue;
			if (fd < 0)
				return note("fentry program", fd);
			unique_fd prog(fd);
			int link = bpf_attach(fd);

			/* No trampolines on this architecture. */
			if (link == -enotsupp || link == -EOPNOTSUPP)
				return;
			if (link < 0)
				return note("fentry attach", link);
			bpf_links.emplace_back(link);
		}
	}

	void load_kprobes(const kallsyms &ks, unsigned int n)
	{
		static const char * const functions[] = {
			"vfs_read", "vfs_write", "vfs_open", "vfs_statx", "ksys_read",
			"ksys_write", "do_sys_openat2", "do_truncate", "vfs_mkdir",
			"vfs_rmdir", "vfs_unlink", "vfs_link", "vfs_symlink", "vfs_rename",
			"vfs_fsync_range", "vfs_getattr", "dput", "mntput", "iput", "fput",
			"filp_close", "kernel_read", "kernel_write", "vfs_readlink",
		};

		for (const char *f : functions) {
			if (kprobes.size() >= n)
				break;
			if (!ks.has(f))
				continue;
			auto ev = kprobe_inside(format("load%zu", kprobes.size()), f);

			if (ev)
				kprobes.push_back(std::move(ev));
		}
		if (kprobes.empty())
			note("no kprobe could be placed", -EINVAL);
		if (modules && !modules->names.empty()) {
			auto ev = kprobe_inside("load_mod", modules->names[0] + ":execmem_clone_work");

			if (ev)
				kprobes.push_back(std::move(ev));
			else
				note("no kprobe in a module", -EINVAL);
		}
	}

	void load_ftrace(unsigned int n)
	{
		std::string fn = traceable_getppid();

		for (unsigned int i = 0; i < n; i++) {
			auto t = std::make_unique<trace_instance>(format("execmem%u", i), fn);

			if (t->err)
				return note("trace instance", t->err);
			instances.push_back(std::move(t));
		}
	}
};

#endif /* EXECMEM_LOAD_HPP */
