// SPDX-License-Identifier: GPL-2.0
/*
 * perf, the tool, names the module that a sample was taken in, and the BPF
 * program, also where pieces of several modules lie in between each other. perf
 * knows of a module where its text begins and how much memory it has; that is
 * in several places, so what perf takes for its range can hold the text of
 * others.
 *
 * Oracle: /proc/kallsyms, which says of each symbol whose it is.
 *
 * Not in the list of tests: it needs a perf beside it, "perf-tool", made from the
 * kernel tree. scripts/tools.sh perf brings it into the guest.
 */
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "kallsyms.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static const char placeholder[] = "execmem_busy_a";

/* The module execmem_busy_X, made from execmem_busy_a. */
struct busy_module {
	std::string name = placeholder;
	int err;

	explicit busy_module(char x)
	{
		std::string image = read_or_fail(module_path(placeholder));

		name.back() = x;
		for (size_t at = 0; (at = image.find(placeholder, at)) != image.npos; at += name.size())
			image.replace(at, name.size(), name);
		err = init_module_image(image);
	}

	~busy_module()
	{
		if (!err)
			unload_module(name);
	}

	busy_module(const busy_module &) = delete;
	busy_module &operator=(const busy_module &) = delete;
};

/* What /proc/modules says: where text begins, and the size of all memory. */
struct extent {
	u64 base = 0, size = 0;

	bool holds(u64 addr) const { return addr >= base && addr - base < size; }
};

static std::map<std::string, extent> extents()
{
	std::map<std::string, extent> all;

	show_pointers();
	for (const std::string &line : split(read_or_fail("/proc/modules"))) {
		/* NAME SIZE USERS DEPS STATE BASE [TAINT] */
		const std::vector<std::string> w = words(line);

		if (w.size() >= 6)
			all[w[0]] = { strtoull(w[5].c_str(), nullptr, 16), strtoull(w[1].c_str(), nullptr, 10) };
	}
	return all;
}

/* Text as kallsyms has it, by address. */
class text_symbols {
	std::vector<symbol> syms;

public:
	text_symbols()
	{
		for (symbol &s : kallsyms().syms)
			if (strchr("tTwW", s.type))
				syms.push_back(std::move(s));
		std::stable_sort(syms.begin(), syms.end(),
				 [](const symbol &a, const symbol &b) { return a.addr < b.addr; });
	}

	/* The last that begins at or before @addr. */
	const symbol *at(u64 addr) const
	{
		auto it = std::upper_bound(syms.begin(), syms.end(), addr,
					   [](u64 a, const symbol &s) { return a < s.addr; });

		return it == syms.begin() ? nullptr : &*--it;
	}
};

/* One line of "perf script -F ip,sym,dso". */
struct sample {
	u64 ip = 0;
	std::string sym, dso;
};

static std::string perf_tool()
{
	return self_dir() + "/perf-tool";
}

/* A file of this run, where TMPDIR says, or beside the program. */
static std::string temporary(const char *name)
{
	const char *dir = getenv("TMPDIR");

	return (dir ? dir : self_dir()) + "/perf_names." + name;
}

static const std::string data_file = temporary("data"), kallsyms_file = temporary("kallsyms");

/* Have perf record while @work runs in this program, started again with @args; what perf says of it. */
static std::vector<sample> profile(const std::vector<std::string> &args)
{
	std::vector<std::string> record = {
		perf_tool(), "record", "-q", "-e", "cpu-clock", "-F", "250", "--no-buildid", "--no-buildid-cache",
		"-o", data_file, "--", self_dir() + "/perf_names" };
	std::vector<sample> samples;

	record.insert(record.end(), args.begin(), args.end());
	for (const std::string &line : split(output_of(record)))
		diag("perf record: %s", line.c_str());
	/*
	 * Root's perf looks whether there is a kcore beside the kallsyms that it reads,
	 * and then calls all of the kernel kcore. Others' names the modules.
	 */
	unique_fd copy(open(kallsyms_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	const std::string all = read_or_fail("/proc/kallsyms");
	if (!copy || write(copy.fd, all.data(), all.size()) != static_cast<ssize_t>(all.size()))
		return samples;
	const std::string script = output_of({ perf_tool(), "script", "-i", data_file, "-F", "ip,sym,dso",
					       "--kallsyms", kallsyms_file });
	for (const std::string &line : split(script)) {
		const std::vector<std::string> w = words(line);
		sample s;

		if (w.size() < 2)
			continue;
		s.ip = strtoull(w[0].c_str(), nullptr, 16);
		s.dso = w.back();
		if (w.size() > 2)
			s.sym = w[1];
		samples.push_back(std::move(s));
	}
	unlink(data_file.c_str());
	unlink(kallsyms_file.c_str());
	return samples;
}

/* Look at what was sampled in functions called @symbol of @module: at least @enough, and @dso stands at each. */
static result judge(const std::vector<sample> &samples, const text_symbols &text, const std::string &module,
		    const std::string &symbol_name, const std::string &dso, unsigned int enough)
{
	std::map<std::string, unsigned int> wrong;
	unsigned int seen = 0;

	for (const sample &s : samples) {
		const symbol *k = text.at(s.ip);

		if (!k || k->module != module || k->name != symbol_name)
			continue;
		seen++;
		if (s.dso != "(" + dso + ")" || s.sym != symbol_name)
			wrong[s.sym + " " + s.dso]++;
	}
	diag("%u samples in %s [%s]", seen, symbol_name.c_str(), module.c_str());
	for (const auto &[what, n] : wrong)
		diag("%u of them are said to be in %s", n, what.c_str());
	CHECK(seen >= enough, "of %zu samples %u are in %s", samples.size(), seen, symbol_name.c_str());
	CHECK(wrong.empty(), "perf takes %s for something else", symbol_name.c_str());
	return pass();
}

static result need_perf()
{
	TRY(need_module(placeholder));
	CHECK(exists(perf_tool()), "%s is missing", perf_tool().c_str());
	return pass();
}

/*
 * Text of @c is behind a hole of the size of a module's text; text of @b is in
 * that hole, and the rest of its megabyte behind @c.
 */
static result each_module()
{
	TRY(need_perf());
	auto hole = std::make_unique<module_clones>(1);
	CHECK(!hole->err, "execmem_clone_000: %s", strerror(-hole->err));
	busy_module c('c');
	CHECK(!c.err, "%s: %s", c.name.c_str(), strerror(-c.err));
	hole.reset();
	busy_module b('b');
	CHECK(!b.err, "%s: %s", b.name.c_str(), strerror(-b.err));

	std::map<std::string, extent> of = extents();
	const u64 text_of_c = section_addr(c.name, ".text");

	diag("%s: 0x%llx + 0x%llx, text of %s: 0x%llx", b.name.c_str(), (unsigned long long)of[b.name].base,
	     (unsigned long long)of[b.name].size, c.name.c_str(), (unsigned long long)text_of_c);
	CHECK(text_of_c && of[b.name].holds(text_of_c), "the modules do not lie in between each other");

	const text_symbols text;
	const std::vector<sample> samples = profile({ "spin", b.name, c.name });

	TRY(judge(samples, text, b.name, b.name + "_spin", "[" + b.name + "]", 50));
	TRY(judge(samples, text, c.name, c.name + "_spin", "[" + c.name + "]", 50));
	return pass();
}

static const std::string program_file = temporary("program");

/*
 * A program lies where a module's text and two others once were, in what looks like
 * the range of @b. It comes while perf records, as perf asks for those that are there
 * already only where it was built with libbpf, and goes before @b is busy once more:
 * that must not take the module away.
 */
static result program()
{
	TRY(need_perf());
	auto hole = std::make_unique<module_clones>(1, 0);
	CHECK(!hole->err, "execmem_clone_000: %s", strerror(-hole->err));
	auto room = std::make_unique<module_clones>(2, 1);
	CHECK(!room->err, "execmem_clone_001: %s", strerror(-room->err));
	hole.reset();
	busy_module b('b');
	CHECK(!b.err, "%s: %s", b.name.c_str(), strerror(-b.err));
	room.reset();

	std::map<std::string, extent> of = extents();
	const text_symbols text;
	unlink(program_file.c_str());
	const std::vector<sample> samples = profile({ "program", b.name });
	const std::vector<std::string> where = words(read_if_there(program_file));

	CHECK(where.size() == 2, "the program did not run");
	const u64 start = strtoull(where[0].c_str(), nullptr, 16), len = strtoull(where[1].c_str(), nullptr, 10);
	diag("%s: 0x%llx + 0x%llx, program: 0x%llx", b.name.c_str(), (unsigned long long)of[b.name].base,
	     (unsigned long long)of[b.name].size, (unsigned long long)start);
	if (have_pool() && !of[b.name].holds(start))
		return skip("programs lie in a chunk of the pool, far from the module");
	CHECK(of[b.name].holds(start), "the program does not lie behind the module's text");

	std::map<std::string, unsigned int> wrong;
	unsigned int seen = 0;
	for (const sample &s : samples) {
		if (s.ip < start || s.ip >= start + len)
			continue;
		seen++;
		if (!s.sym.starts_with("bpf_prog_") || !s.dso.starts_with("(bpf_prog_"))
			wrong[s.sym + " " + s.dso]++;
	}
	diag("%u samples in the program", seen);
	for (const auto &[what, n] : wrong)
		diag("%u of them are said to be in %s", n, what.c_str());
	const result of_module = judge(samples, text, b.name, b.name + "_spin", "[" + b.name + "]", 50);
	CHECK(seen >= 50, "of %zu samples %u are in the program", samples.size(), seen);
	CHECK(wrong.empty(), "perf takes the program for something else");
	return of_module;
}

/* Loads a program, says where it is, runs it for a second, unloads it, and has @module spin. */
static int run_program(const std::string &module)
{
	u32 retval;

	{
		unique_fd fd(bpf_prog_load(bpf_return_large(7, 3000)));
		if (!fd)
			return 1;
		const std::vector<bpf_image> images = bpf_images(fd.fd);
		if (images.empty() || spit(program_file, format("%llx %u", (unsigned long long)images[0].addr, images[0].len),
					   O_WRONLY | O_CREAT | O_TRUNC))
			return 1;
		for (s64 end = now_ms() + 1000; now_ms() < end; )
			if (bpf_run(fd.fd, &retval, 100) || retval != 7)
				return 1;
	}
	/* freed behind a grace period */
	sleep(1);
	return spit("/sys/module/" + module + "/parameters/spin", "1000") ? 1 : 0;
}

/* Writes to the parameter "spin" of each module. */
static int spin(int n, char **modules)
{
	for (int i = 0; i < n; i++)
		if (spit(std::string("/sys/module/") + modules[i] + "/parameters/spin", "1000"))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "spin"))
		return spin(argc - 2, argv + 2);
	if (argc > 2 && !strcmp(argv[1], "program"))
		return run_program(argv[2]);
	return run_cases({
		{ "each_module", each_module },
		{ "program", program },
	});
}
