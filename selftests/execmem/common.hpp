/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every execmem selftest needs: a KTAP plan run case by case, small file
 * helpers, modules, kallsyms and the kernel's page-table dump.
 *
 * Nothing here asks execmem about itself.  The oracles are the page-table
 * dump, kallsyms, /proc/modules and /proc/vmallocinfo.
 */
#ifndef EXECMEM_COMMON_HPP
#define EXECMEM_COMMON_HPP

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

/* ------------------------------------------------------------------ KTAP */

struct result {
	enum { PASS, FAIL, SKIP } verdict;
	std::string why;
};

static inline std::string vformat(const char *fmt, va_list ap)
{
	char buf[1024];

	vsnprintf(buf, sizeof(buf), fmt, ap);
	return buf;
}

[[gnu::format(printf, 1, 2)]] static inline std::string format(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	std::string s = vformat(fmt, ap);
	va_end(ap);
	return s;
}

[[gnu::format(printf, 1, 2)]] static inline void diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# %s\n", vformat(fmt, ap).c_str());
	va_end(ap);
}

static inline result pass()
{
	return { result::PASS, "" };
}

[[gnu::format(printf, 1, 2)]] static inline result fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result r = { result::FAIL, vformat(fmt, ap) };
	va_end(ap);
	return r;
}

/* A SKIP says which option or device is missing; broken setup is a failure. */
[[gnu::format(printf, 1, 2)]] static inline result skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result r = { result::SKIP, vformat(fmt, ap) };
	va_end(ap);
	return r;
}

#define CHECK(cond, ...)			\
	do {					\
		if (!(cond))			\
			return fail(__VA_ARGS__); \
	} while (0)

/* Hand on a failure or a skip of a helper. */
#define TRY(expr)					\
	do {						\
		result try_r = (expr);			\
		if (try_r.verdict != result::PASS)	\
			return try_r;			\
	} while (0)

static inline s64 now_ms()
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

struct test_case {
	std::string name;
	std::function<result()> run;
};

/* Run a function when the scope is left. */
struct defer {
	std::function<void()> fn;

	explicit defer(std::function<void()> f) : fn(std::move(f)) { }
	~defer() { if (fn) fn(); }
	defer(const defer &) = delete;
	defer &operator=(const defer &) = delete;
};

struct unique_fd {
	int fd = -1;

	unique_fd() = default;
	explicit unique_fd(int f) : fd(f) { }
	unique_fd(unique_fd &&o) noexcept : fd(std::exchange(o.fd, -1)) { }
	unique_fd &operator=(unique_fd &&o) noexcept
	{
		std::swap(fd, o.fd);
		return *this;
	}
	~unique_fd() { if (fd >= 0) close(fd); }
	explicit operator bool() const { return fd >= 0; }
};

/* ----------------------------------------------------------------- files */

static inline bool exists(const std::string &path)
{
	return access(path.c_str(), F_OK) == 0;
}

static inline std::optional<std::string> slurp(const std::string &path)
{
	unique_fd f(open(path.c_str(), O_RDONLY | O_CLOEXEC));
	std::string s;
	char buf[65536];
	ssize_t n;

	if (!f)
		return std::nullopt;
	while ((n = read(f.fd, buf, sizeof(buf))) > 0)
		s.append(buf, n);
	if (n < 0)
		return std::nullopt;
	return s;
}

/* Write @text in one write(2); 0 or -errno. */
static inline int spit(const std::string &path, std::string_view text, int flags = O_WRONLY)
{
	unique_fd f(open(path.c_str(), flags | O_CLOEXEC));

	if (!f)
		return -errno;
	ssize_t n = write(f.fd, text.data(), text.size());
	if (n < 0)
		return -errno;
	return static_cast<size_t>(n) == text.size() ? 0 : -EIO;
}

static inline int append(const std::string &path, std::string_view text)
{
	return spit(path, text, O_WRONLY | O_APPEND);
}

static inline std::vector<std::string> split(std::string_view text, char sep = '\n')
{
	std::vector<std::string> v;

	while (!text.empty()) {
		size_t at = text.find(sep);

		if (at == text.npos)
			at = text.size();
		if (at)
			v.emplace_back(text.substr(0, at));
		text.remove_prefix(std::min(at + 1, text.size()));
	}
	return v;
}

static inline std::vector<std::string> words(std::string_view text)
{
	std::vector<std::string> v;
	size_t at = 0;

	while ((at = text.find_first_not_of(" \t\n", at)) != text.npos) {
		size_t end = std::min(text.find_first_of(" \t\n", at), text.size());

		v.emplace_back(text.substr(at, end - at));
		at = end;
	}
	return v;
}

static inline std::string trim(std::string s)
{
	while (!s.empty() && strchr(" \t\n", s.back()))
		s.pop_back();
	return s;
}

/* The value of "NAME=" on the kernel's command line; of several the last. */
static inline std::optional<std::string> kernel_parameter(const std::string &name)
{
	std::optional<std::string> value;

	for (const std::string &w : words(slurp("/proc/cmdline").value_or("")))
		if (w.starts_with(name + "="))
			value = w.substr(name.size() + 1);
	return value;
}

/* How much slower than others this kernel is, as the harness says: execmem.slow=N. */
static inline unsigned int slow()
{
	static const int factor = atoi(kernel_parameter("execmem.slow").value_or("1").c_str());

	return std::max(factor, 1);
}

/* Poll @done for up to @ms, or longer where all is slow; some memory is freed from RCU and workqueues. */
static inline bool wait_for(unsigned int ms, const std::function<bool()> &done)
{
	for (unsigned int t = 0;; t += 50) {
		if (done())
			return true;
		if (t >= ms * slow())
			return false;
		usleep(50000);
	}
}

/* What a program prints; the guest has no shell. */
static inline std::string output_of(std::vector<std::string> command)
{
	std::vector<char *> argv;
	std::string out;
	int ends[2];

	for (std::string &word : command)
		argv.push_back(word.data());
	argv.push_back(nullptr);
	if (pipe2(ends, O_CLOEXEC))
		return out;
	pid_t child = fork();
	if (!child) {
		dup2(ends[1], STDOUT_FILENO);
		execv(argv[0], argv.data());
		_exit(127);
	}
	unique_fd from(ends[0]);
	close(ends[1]);
	char buf[4096];
	for (ssize_t n; (n = read(from.fd, buf, sizeof(buf))) > 0; )
		out.append(buf, n);
	if (child > 0)
		waitpid(child, nullptr, 0);
	return out;
}

/* Root sees addresses in kallsyms and vmallocinfo only with kptr_restrict=1. */
static inline void show_pointers()
{
	spit("/proc/sys/kernel/kptr_restrict", "1");
}

static inline std::string tracefs(const std::string &file = "")
{
	static const std::string root = exists("/sys/kernel/tracing/trace") ?
		"/sys/kernel/tracing/" : "/sys/kernel/debug/tracing/";

	return root + file;
}

static inline std::string debugfs(const std::string &file)
{
	return "/sys/kernel/debug/" + file;
}

/* The kernel log from the oldest record kept, without the record prefixes. */
static inline std::string kernel_log()
{
	unique_fd f(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	std::string log;
	char buf[8192];

	if (!f)
		return log;
	for (;;) {
		ssize_t n = read(f.fd, buf, sizeof(buf) - 1);

		if (n < 0 && errno == EPIPE)	/* overwritten meanwhile */
			continue;
		if (n <= 0)
			break;
		std::string_view rec(buf, n);
		size_t at = rec.find(';');

		if (at != rec.npos)
			log.append(rec.substr(at + 1));
	}
	return log;
}

/* Leave a mark in the log and give back what the log says after it. */
struct log_mark {
	std::string mark;

	log_mark()
	{
		static unsigned int nr;

		mark = format("execmem-selftest mark %d.%u", getpid(), nr++);
		spit("/dev/kmsg", mark + "\n");
	}

	std::string since() const
	{
		std::string log = kernel_log();
		size_t at = log.rfind(mark);

		return at == log.npos ? log : log.substr(at + mark.size());
	}
};

/*
 * While failures are provoked the kernel warns of them, with a stack dump:
 * keep that off the console, where a stack dump counts as a mistake, and look
 * for real ones here.
 */
struct expected_noise {
	log_mark mark;

	expected_noise() { klogctl(6, nullptr, 0); }	/* console off */
	~expected_noise() { klogctl(7, nullptr, 0); }	/* and on */

	result no_splat() const
	{
		for (const std::string &line : split(mark.since()))
			for (const char *bad : { "WARNING: ", "BUG: ", "BUG at ", "Oops", "KASAN",
						 "possible recursive locking", "circular locking",
						 "suspicious RCU usage", "general protection" })
				if (line.find(bad) != line.npos)
					return fail("in the kernel log: %s", line.c_str());
		return pass();
	}
};

/* ------------------------------------------------------------------ arch */

enum class arch_id { x86_64, i386, arm64, arm, riscv, powerpc, s390, other };

#if defined(__x86_64__)
static constexpr arch_id arch = arch_id::x86_64;
#elif defined(__i386__)
static constexpr arch_id arch = arch_id::i386;
#elif defined(__aarch64__)
static constexpr arch_id arch = arch_id::arm64;
#elif defined(__arm__)
static constexpr arch_id arch = arch_id::arm;
#elif defined(__riscv)
static constexpr arch_id arch = arch_id::riscv;
#elif defined(__powerpc__)
static constexpr arch_id arch = arch_id::powerpc;
#elif defined(__s390__)
static constexpr arch_id arch = arch_id::s390;
#else
static constexpr arch_id arch = arch_id::other;
#endif

/* Does text, but for that of modules, come from a pool? */
static inline bool have_pool()
{
	return arch == arch_id::x86_64 && exists(debugfs("execmem")) && kernel_parameter("execmem") != "off";
}

/* Are the pages of that large, if there are such pages? */
static inline bool have_large_leaves()
{
	return have_pool() && kernel_parameter("execmem") != "pages" &&
	       slurp("/proc/cmdline").value_or("").find("nohugevmalloc") == std::string::npos;
}

static inline u64 page_size()
{
	return sysconf(_SC_PAGESIZE);
}

/* -------------------------------------------------------------- kallsyms */

struct symbol {
	u64 addr;
	char type;
	std::string name;
	std::string module;	/* empty for the image; "bpf", "__builtin__kprobes", ... */
};

struct kallsyms {
	std::vector<symbol> syms;

	kallsyms()
	{
		show_pointers();
		std::string all = slurp("/proc/kallsyms").value_or("");
		const char *p = all.c_str();

		while (*p) {
			const char *nl = strchrnul(p, '\n');
			char *end;
			symbol s;

			s.addr = strtoull(p, &end, 16);
			if (end[0] == ' ' && end[1] && end[2] == ' ') {
				const char *name = end + 3;
				const char *tab = static_cast<const char *>(memchr(name, '\t', nl - name));

				s.type = end[1];
				s.name.assign(name, tab ? tab : nl);
				if (tab && nl - tab > 3)
					s.module.assign(tab + 2, nl - 1);
				syms.push_back(std::move(s));
			}
			p = *nl ? nl + 1 : nl;
		}
	}

	/* Address of @name (in @module, where given), or 0. */
	u64 addr(std::string_view name, std::string_view module = "") const
	{
		for (const symbol &s : syms)
			if (s.name == name && s.module == module)
				return s.addr;
		return 0;
	}

	std::vector<symbol> with_prefix(std::string_view prefix) const
	{
		std::vector<symbol> v;

		for (const symbol &s : syms)
			if (s.name.starts_with(prefix))
				v.push_back(s);
		return v;
	}

	std::vector<symbol> of_module(std::string_view module) const
	{
		std::vector<symbol> v;

		for (const symbol &s : syms)
			if (s.module == module)
				v.push_back(s);
		return v;
	}

	bool has(std::string_view name) const { return addr(name) != 0; }
};

/* ------------------------------------------------------- page-table dump */

struct mapping {
	u64 start, end;
	u64 phys;		/* 0 where the dump does not say */
	bool write, exec;
	std::string level;	/* "pte", "PMD", ... */
	std::string area;	/* the marker above the line */
	std::string line;

	bool wx() const { return write && exec; }
};

struct area_marker {
	std::string name;
	u64 start;		/* of the first line below it */
};

/*
 * PTDUMP_DEBUGFS in the formats of x86, arm64, arm, riscv, s390 and powerpc:
 *
 *   ---[ name ]---
 *   0xSTART-0xEND [0xPHYS] SIZE flag flag ... level
 *
 * Only mapped ranges are kept.  A line that is neither is an error, so that
 * a new format cannot pass for an empty address space.
 */
struct page_tables {
	std::vector<mapping> maps;
	std::vector<area_marker> areas;
	size_t lines = 0, exec_ranges = 0;
	std::string error;

	static std::string path()
	{
		for (const char *p : { "page_tables/kernel", "kernel_page_tables" })
			if (exists(debugfs(p)))
				return debugfs(p);
		return "";
	}

	page_tables() : page_tables(slurp_or_empty()) { }

	explicit page_tables(std::string_view text)
	{
		std::string area;

		for (const std::string &line : split(text)) {
			lines++;
			if (line.starts_with("---[ ")) {
				area = line.substr(5, line.find(" ]---") - 5);
				areas.push_back({ area, 0 });
				continue;
			}
			/* x86 cuts the repetitive ESPfix area short and says so. */
			if (line.find("skipped ...") != line.npos && area == "ESPfix Area")
				continue;
			if (!parse_range(line, area) && error.empty())
				error = "cannot parse \"" + line + "\"";
		}
		if (lines == 0)
			error = "empty page-table dump";
	}

	const mapping *find(u64 addr) const
	{
		auto it = std::upper_bound(maps.begin(), maps.end(), addr,
			[](u64 a, const mapping &m) { return a < m.start; });

		if (it == maps.begin())
			return nullptr;
		--it;
		return addr < it->end ? &*it : nullptr;
	}

	/* Start of the marker named @name, or 0. */
	u64 area(std::string_view name) const
	{
		for (const area_marker &a : areas)
			if (a.name == name)
				return a.start;
		return 0;
	}

	/*
	 * All of the kernel but the first page of s390: lowcore, which the machine
	 * writes to and in which two instructions stand that leave the kernel.
	 */
	std::vector<mapping> wx() const
	{
		std::vector<mapping> v;

		for (const mapping &m : maps)
			if (m.wx() && (arch != arch_id::s390 || m.start || m.end != 4096))
				v.push_back(m);
		return v;
	}

private:
	static std::string slurp_or_empty()
	{
		std::string p = path();

		return p.empty() ? "" : slurp(p).value_or("");
	}

	bool parse_range(const std::string &line, const std::string &area)
	{
		mapping m { };
		bool mapped = false, invalid = false;
		char *end;

		if (!line.starts_with("0x"))
			return false;
		m.start = strtoull(line.c_str(), &end, 16);
		if (*end != '-')
			return false;
		m.end = strtoull(end + 1, &end, 16);
		if ((m.end & 0xfff) == 0xfff)	/* powerpc: the last byte */
			m.end++;
		if (*end != ' ')
			return false;
		for (area_marker &a : areas)
			if (!a.start && &a == &areas.back())
				a.start = m.start;
		for (const std::string &w : words(end)) {
			if (w.starts_with("0x"))
				m.phys = strtoull(w.c_str(), nullptr, 16);
			else if (w == "x" || w == "X")
				m.exec = true;
			else if (w == "RW" || w == "W" || w == "rw" || w == "w")
				m.write = mapped = true;
			else if (w == "ro" || w == "RO" || w == "r" || w == "R" || w == "NX")
				mapped = true;
			else if (w == "F" || w == "I")
				invalid = true;
			else if (w == "pte" || w == "PTE" || w == "pmd" || w == "PMD" ||
				 w == "pud" || w == "PUD" || w == "p4d" || w == "P4D" ||
				 w == "pgd" || w == "PGD")
				m.level = w;
		}
		if (m.exec)
			mapped = true;
		if (!mapped || invalid)
			return true;
		if (m.exec)
			exec_ranges++;
		m.area = area;
		m.line = line;
		maps.push_back(std::move(m));
		return true;
	}
};

/* Nothing is writable and executable now; says nothing without a dump to look at. */
static inline result no_wx()
{
	if (page_tables::path().empty())
		return pass();
	page_tables pt;

	CHECK(pt.error.empty(), "%s", pt.error.c_str());
	for (const mapping &m : pt.wx())
		diag("W+X: %s", m.line.c_str());
	CHECK(pt.wx().empty(), "%zu W+X ranges", pt.wx().size());
	return pass();
}

/* --------------------------------------------------------------- modules */

static inline bool have_modules()
{
	return exists("/proc/modules");
}

static inline std::string self_dir()
{
	char buf[4096];
	ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);
	std::string s(buf, std::max<ssize_t>(n, 0));

	return s.substr(0, s.rfind('/'));
}

/* The guest has all modules in /modules; a build directory has ours beside us. */
static inline std::string module_path(const std::string &name)
{
	for (const std::string &dir : { std::string("/modules"), self_dir() }) {
		for (char c : { '_', '-' }) {
			std::string file = name;

			std::replace_if(file.begin(), file.end(),
				[](char d) { return d == '_' || d == '-'; }, c);
			for (const std::string &p : { dir + "/" + name + ".ko", dir + "/" + file + ".ko" })
				if (exists(p))
					return p;
		}
	}
	return "";
}

static inline bool module_loaded(std::string name)
{
	std::replace(name.begin(), name.end(), '-', '_');
	return exists("/sys/module/" + name + "/initstate");
}

/* 0 or -errno. */
static inline int unload_module(std::string name)
{
	std::replace(name.begin(), name.end(), '-', '_');
	return syscall(SYS_delete_module, name.c_str(), O_NONBLOCK) ? -errno : 0;
}

static inline int init_module_image(const std::string &image, const std::string &params = "")
{
	return syscall(SYS_init_module, image.data(), image.size(), params.c_str()) ? -errno : 0;
}

static inline std::string modinfo(const std::string &image, const std::string &key)
{
	std::string needle = std::string(1, '\0') + key + "=";
	size_t at = image.find(needle);

	return at == image.npos ? "" : std::string(image.c_str() + at + needle.size());
}

/* Load @name and what it depends on; 0 or -errno. */
static inline int load_module(const std::string &name, const std::string &params = "")
{
	std::string path = module_path(name);
	unique_fd f(path.empty() ? -1 : open(path.c_str(), O_RDONLY | O_CLOEXEC));

	if (!f)
		return -ENOENT;
	std::string deps = modinfo(slurp(path).value_or(""), "depends");

	for (const std::string &d : split(deps, ',')) {
		int err = module_loaded(d) ? 0 : load_module(d);

		if (err)
			return err;
	}
	return syscall(SYS_finit_module, f.fd, params.c_str(), 0) ? -errno : 0;
}

/* A module that is loaded for as long as the object lives. */
struct loaded_module {
	std::string name;
	int err;

	explicit loaded_module(const std::string &n, const std::string &params = "")
		: name(n), err(load_module(n, params)) { }
	~loaded_module() { unload(); }
	loaded_module(const loaded_module &) = delete;
	loaded_module &operator=(const loaded_module &) = delete;

	int unload()
	{
		if (err)
			return err;
		err = -ENODEV;
		return unload_module(name);
	}
};

/* Modules of ours need CONFIG_MODULES; where that is there they must be too. */
static inline result need_module(const std::string &name, const char *option = nullptr)
{
	if (!have_modules())
		return skip("CONFIG_MODULES is not set");
	if (!module_path(name).empty())
		return pass();
	if (option)
		return skip("%s is not set (no %s.ko)", option, name.c_str());
	return fail("%s.ko is missing", name.c_str());
}

/*
 * Many modules from one file: execmem_clone.ko carries a placeholder for its
 * own name wherever the name stands; give each copy another number.
 */
struct module_clones {
	std::vector<std::string> names;
	int err = 0;

	explicit module_clones(unsigned int n, unsigned int first = 0)
	{
		static const std::string placeholder = "execmem_clone_000";
		std::string image = slurp(module_path("execmem_clone_000")).value_or("");

		if (image.empty())
			err = -ENOENT;
		for (unsigned int i = first; !err && i < first + n; i++) {
			std::string name = format("execmem_clone_%03u", i);
			std::string copy = image;

			for (size_t at = 0; (at = copy.find(placeholder, at)) != copy.npos; at += name.size())
				copy.replace(at, placeholder.size(), name);
			err = init_module_image(copy);
			if (!err)
				names.push_back(name);
		}
	}

	~module_clones() { unload(); }
	module_clones(const module_clones &) = delete;
	module_clones &operator=(const module_clones &) = delete;

	int unload()
	{
		int first = 0;

		for (const std::string &n : names) {
			int e = unload_module(n);

			if (e && !first)
				first = e;
		}
		names.clear();
		return first;
	}
};

static inline u64 section_addr(const std::string &module, const std::string &section)
{
	auto s = slurp("/sys/module/" + module + "/sections/" + section);

	return s ? strtoull(s->c_str(), nullptr, 16) : 0;
}

static inline std::string module_param(const std::string &module, const std::string &param)
{
	return trim(slurp("/sys/module/" + module + "/parameters/" + param).value_or(""));
}

/* ---------------------------------------------------------- host channel */

/*
 * The virtio-serial port "execmem.host" leads to the harness, which looks at
 * the guest from outside (see selftests/README.md).
 */
struct host_channel {
	unique_fd port;

	host_channel()
	{
		for (int bus = 0; bus < 4; bus++) {
			for (int nr = 0; nr < 8; nr++) {
				std::string id = format("vport%dp%d", bus, nr);
				auto name = slurp("/sys/class/virtio-ports/" + id + "/name");

				if (!name || trim(*name) != "execmem.host")
					continue;
				port = unique_fd(open(("/dev/" + id).c_str(), O_RDWR | O_CLOEXEC));
				return;
			}
		}
	}

	bool send(const std::string &line)
	{
		std::string s = line + "\n";

		return port && write(port.fd, s.data(), s.size()) == static_cast<ssize_t>(s.size());
	}

	/* Ask; hand on the diagnostics; give back the last line, "" when lost. */
	std::string ask(const std::string &line, std::vector<std::string> *notes = nullptr)
	{
		std::string got;
		char c;

		if (!send(line))
			return "";
		for (;;) {
			struct pollfd p = { port.fd, POLLIN, 0 };

			if (poll(&p, 1, 120000) <= 0 || read(port.fd, &c, 1) != 1)
				return "";
			if (c != '\n') {
				got += c;
				continue;
			}
			if (!got.starts_with("#"))
				return got;
			diag("host:%s", got.c_str() + 1);
			if (notes)
				notes->push_back(got);
			got.clear();
		}
	}
};

/* ------------------------------------------------------------------ main */

/*
 * "execmem_mutant=FUNCTION[:VALUE]" on the kernel's command line: let FUNCTION
 * do nothing and return VALUE, to see the tests fail.
 */
static inline int load_mutant()
{
	std::string cmdline = slurp("/proc/cmdline").value_or("");
	const std::string key = "execmem_mutant=";
	size_t at = cmdline.find(key);

	if (at == cmdline.npos || module_loaded("execmem_skip"))
		return 0;
	std::string what = cmdline.substr(at + key.size());
	what.resize(std::min(what.find_first_of(" \n"), what.size()));
	size_t colon = what.find(':');
	std::string params = "func=" + what.substr(0, colon);
	if (colon != what.npos)
		params += " ret=" + what.substr(colon + 1);
	int err = load_module("execmem_skip", params);
	diag("deliberately broken kernel, %s: %s", params.c_str(), err ? strerror(-err) : "yes");
	return err;
}

/* Print the plan, run each case, return the kselftest exit code. */
static inline int run_cases(const std::vector<test_case> &cases)
{
	unsigned int n = 0, failed = 0, skipped = 0;

	setvbuf(stdout, nullptr, _IOLBF, 0);
	printf("KTAP version 1\n1..%zu\n", cases.size());
	if (load_mutant())
		failed++;
	for (const test_case &c : cases) {
		s64 start = now_ms();
		result r = c.run();
		s64 took = now_ms() - start;

		n++;
		if (took >= 5000)
			diag("%s took %lld s", c.name.c_str(), (long long)took / 1000);
		switch (r.verdict) {
		case result::PASS:
			printf("ok %u %s\n", n, c.name.c_str());
			break;
		case result::SKIP:
			skipped++;
			printf("ok %u %s # SKIP %s\n", n, c.name.c_str(), r.why.c_str());
			break;
		case result::FAIL:
			failed++;
			diag("%s: %s", c.name.c_str(), r.why.c_str());
			printf("not ok %u %s\n", n, c.name.c_str());
			break;
		}
	}
	fflush(stdout);
	if (failed)
		return KSFT_FAIL;
	return n && skipped == n ? KSFT_SKIP : KSFT_PASS;
}

#endif /* EXECMEM_COMMON_HPP */
