// SPDX-License-Identifier: GPL-2.0
/*
 * Runs one suite of the kernel tree's own selftests in the guest and says, as
 * KTAP, what each of its tests said. The name it is called by is the suite:
 * ftrace, livepatch, kmod, static_keys, lkdtm (shell scripts in /selftests),
 * test_verifier, test_progs (programs there), or kunit (what the kernel ran at
 * boot, from debugfs).
 *
 * A test says PASS ("ok"), FAIL ("not ok"), that it cannot be run here ("ok ..
 * # SKIP WHY"), or runs out of time. One during which the kernel complains fails,
 * whatever it says itself; not so in lkdtm, whose tests are there to make the
 * kernel complain. What follows '#' is the same in each run with the same
 * outcome: results of two kernels are compared with it.
 *
 *   /tests/left-out    SUITE/TEST REASON: said, and not run
 *   execmem.only=a,b   on the kernel's command line: only these SUITE/TEST
 *   execmem.slow=N     multiplies all limits of time
 */
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "splats.hpp"

namespace fs = std::filesystem;
using strings = std::vector<std::string>;

namespace {

/* What a program said when it ended; several tests may be in one program. */
struct said {
	std::string output;
	int status = 0;		/* as waitpid() gave it */
	bool timed_out = false;
};

struct result {
	bool ok;
	std::string note;	/* "SKIP ..." or what is wrong */
	std::string output {};	/* its own part, where one program says much more */
};

/* One program to run, the tests in it, and how to read what it says. */
struct unit {
	strings tests, command;
	int limit;		/* seconds */
	/* results in the order of tests; it may find fewer */
	std::vector<result> (*read)(const said &, const strings &tests);
};

std::string suite;

double now()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

[[noreturn]] void die(const std::string &why)
{
	printf("# %s: %s\n", suite.c_str(), why.c_str());
	exit(1);
}

std::string slurp(const std::string &path)
{
	std::ifstream in(path, std::ios::binary);
	std::ostringstream text;

	text << in.rdbuf();
	return text.str();
}

void write_file(const char *path, std::string_view text)
{
	std::ofstream(path) << text;
}

strings split(const std::string &text, char separator)
{
	std::istringstream in(text);
	strings parts;

	for (std::string part; std::getline(in, part, separator); )
		parts.push_back(part);
	return parts;
}

/* KEY=value on the kernel's command line; empty without. */
std::string parameter(const std::string &key)
{
	std::istringstream words(slurp("/proc/cmdline"));

	for (std::string word; words >> word; )
		if (word.starts_with(key + "="))
			return word.substr(key.size() + 1);
	return "";
}

/* A name that survives KTAP, command lines and lists with commas. */
std::string plain(std::string name)
{
	for (char &c : name)
		if (strchr(" ,#\"\t", c))
			c = '_';
	return name;
}

/* --- the kernel's complaints ------------------------------------------------ */
class kernel_log {
public:
	kernel_log() : fd(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC))
	{
		if (fd < 0)
			die(std::string("/dev/kmsg: ") + strerror(errno));
	}

	/* What has come since the last call: the lines that complain. */
	strings complaints()
	{
		char record[8192];
		strings found;

		while (true) {
			const ssize_t n = read(fd, record, sizeof(record) - 1);

			if (n < 0 && errno == EPIPE)	/* overrun: goes on with the oldest */
				continue;
			if (n <= 0)
				return found;

			const std::string line(record, static_cast<size_t>(n));
			const size_t start = line.find(';');

			if (start != line.npos && is_splat(line))
				found.push_back(line.substr(start + 1, line.find('\n') - start - 1));
		}
	}

private:
	const int fd;
};

/* --- running a program ------------------------------------------------------ */
said run(const unit &u, int slow)
{
	const double deadline = now() + u.limit * slow;
	said s;
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		die(std::string("pipe: ") + strerror(errno));

	const pid_t child = fork();

	if (child < 0)
		die(std::string("fork: ") + strerror(errno));
	if (child == 0) {
		std::vector<char *> argv;

		setpgid(0, 0);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		for (const auto &word : u.command)
			argv.push_back(const_cast<char *>(word.c_str()));
		argv.push_back(nullptr);
		execv(argv[0], argv.data());
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(pipes[1]);

	/* over when it has exited: what it left behind may keep the pipe open */
	for (bool exited = false; ; ) {
		pollfd p { pipes[0], POLLIN, 0 };
		char buffer[65536];
		const ssize_t n = poll(&p, 1, exited ? 0 : 50) > 0 ?
				  read(pipes[0], buffer, sizeof(buffer)) : 0;

		if (n > 0)
			s.output.append(buffer, static_cast<size_t>(n));
		else if (exited)
			break;
		else if (p.revents)
			usleep(10000);	/* closed, and not yet gone */
		if (!exited)
			exited = waitpid(child, &s.status, WNOHANG) == child;
		if (!exited && now() > deadline) {
			s.timed_out = true;
			kill(-child, SIGKILL);
			for (int i = 0; i < 50 && waitpid(child, &s.status, WNOHANG) != child; i++)
				usleep(100000);
			exited = true;
		}
	}
	close(pipes[0]);
	kill(-child, SIGKILL);
	return s;
}

std::string ending(const said &s)
{
	return WIFEXITED(s.status) ? "exit=" + std::to_string(WEXITSTATUS(s.status)) :
	       "killed by signal " + std::to_string(WTERMSIG(s.status));
}

/* --- what the programs say -------------------------------------------------- */
/* kselftest's exit status: 0, 4 for "cannot be tested here", all else is bad. */
std::vector<result> read_status(const said &s, const strings &)
{
	if (WIFEXITED(s.status) && WEXITSTATUS(s.status) == 4)
		return { { true, "SKIP" } };
	if (s.status)
		return { { false, ending(s) } };
	return { { true, "" } };
}

/* test_static_keys.sh may say [FAIL] and exit with 0. */
std::vector<result> read_static_keys(const said &s, const strings &tests)
{
	if (!s.status && s.output.find("static_key: ok") == s.output.npos)
		return { { false, "" } };
	return read_status(s, tests);
}

/* "[1] what it is about	[PASS]", once more with "(instance)" for some. */
std::vector<result> read_ftracetest(const said &s, const strings &)
{
	static const std::regex line("\\[(PASS|FAIL|UNRESOLVED|UNTESTED|UNSUPPORTED|XFAIL|UNDEFINED)\\]$");
	std::vector<result> results;
	std::smatch match;

	for (const auto &text : split(s.output, '\n')) {
		if (!std::regex_search(text, match, line))
			continue;
		if (match[1] == "PASS" || match[1] == "FAIL")
			results.push_back({ match[1] == "PASS", "" });
		else
			results.push_back({ match[1] != "UNDEFINED", "SKIP " + match[1].str() });
	}
	return results;
}

/* "TEST: what it is about ... ok"; the first that fails is the last. */
std::vector<result> read_livepatch(const said &s, const strings &)
{
	std::vector<result> results;

	for (size_t at = s.output.find("TEST: "); at != s.output.npos;
	     at = s.output.find("TEST: ", at + 1)) {
		const std::string text = s.output.substr(at, s.output.find('\n', at) - at);

		results.push_back({ text.ends_with(" ... ok"), "" });
	}
	if (WIFEXITED(s.status) && WEXITSTATUS(s.status) == 4) {
		if (!results.empty())
			results.pop_back();	/* cut off */
		results.push_back({ true, "SKIP" });
	}
	return results;
}

/*
 * "#12/p what it is about OK", the tests in their order. Before the verdict may
 * be how it was run, and behind it, or behind nothing at all where it never came
 * to a verdict, are lines that explain.
 */
std::vector<result> read_verifier(const said &s, const strings &tests)
{
	std::vector<result> results;
	size_t at = 0;

	for (size_t i = 0; i < tests.size(); i++) {
		const auto number = [&tests](size_t test) {
			return "#" + tests[test].substr(0, tests[test].find('_')) + " ";
		};

		at = s.output.find(number(i), at);

		const size_t end = at == s.output.npos ? at :
			s.output.find(i + 1 < tests.size() ? number(i + 1) : "Summary: ", at);

		if (end == s.output.npos)
			break;		/* it is not over */

		/* plain() leaves a name as long as it was */
		const std::string own = s.output.substr(at, end - at);
		const std::string verdict = own.substr(std::min(own.size(), tests[i].size() + 1),
						       own.find('\n') - tests[i].size() - 1);

		if (verdict.find("FAIL") == verdict.npos && verdict.ends_with("OK"))
			results.push_back({ true, "" });
		else if (const size_t skip = verdict.find("SKIP"); skip != verdict.npos)
			results.push_back({ true, verdict.substr(skip) });
		else
			/* the verdict, and the end of the verifier's log */
			results.push_back({ false, "", own.size() < 2000 ? own : own.substr(0, 600) +
					    "\n[...]\n" + own.substr(own.size() - 1200) });
		at = end;
	}
	return results;
}

/*
 * "#7 name:OK", and "#7/1 name/what:OK" for each part of it; those that failed
 * and what they said come once more at the end.
 */
std::vector<result> read_progs(const said &s, const strings &tests)
{
	static const std::regex line("^#[0-9]+(/[0-9]+)? +(.*):(OK|SKIP|FAIL)$");
	const std::string part = tests[0] + "/";
	strings failed, skipped;
	std::string verdict;
	std::smatch match;

	const auto join = [](const strings &names) {
		std::string all;

		for (size_t i = 0; i < names.size() && i < 5; i++)
			all += " " + names[i];
		return all + (names.size() > 5 ? " and " + std::to_string(names.size() - 5) + " more" : "");
	};

	for (const auto &text : split(s.output, '\n')) {
		if (!text.starts_with('#') || !std::regex_match(text, match, line))
			continue;
		if (!match[1].matched) {
			if (match[2] == tests[0])
				verdict = match[3];
			continue;
		}
		if (match[3] == "OK" || !match[2].str().starts_with(part))
			continue;

		const std::string name = plain(match[2].str().substr(part.size()));
		strings &those = match[3] == "FAIL" ? failed : skipped;

		if (std::find(those.begin(), those.end(), name) == those.end())
			those.push_back(name);
	}
	if (verdict.empty())
		return {};
	if (verdict == "FAIL")
		return { { false, failed.empty() ? "" : "in" + join(failed) } };
	/* one that passed says so before it cleans up */
	if (s.status)
		return { { false, "passed, then " + ending(s) } };
	return { { true, verdict == "SKIP" ? "SKIP" + join(skipped) : "" } };
}

/* --- the suites ------------------------------------------------------------- */
strings lines_with(const std::string &path, const std::string &pattern)
{
	const std::regex wanted(pattern);
	std::smatch match;
	strings found;

	for (const auto &line : split(slurp(path), '\n'))
		if (std::regex_search(line, match, wanted))
			found.push_back(match.size() > 1 ? match[1].str() : line);
	return found;
}

std::vector<unit> ftrace_units()
{
	const fs::path root = "/selftests/ftrace/test.d";
	std::vector<unit> units;
	strings files;

	for (const auto &entry : fs::recursive_directory_iterator(root))
		if (entry.path().extension() == ".tc")
			files.push_back(entry.path());
	std::sort(files.begin(), files.end());
	for (const auto &file : files) {
		const std::string name = fs::path(file).lexically_relative(root);
		unit u { { name }, { "/selftests/ftrace/ftracetest", "-vv", "-l",
				   fs::temp_directory_path() / "ftrace", file },
			 400, read_ftracetest };

		if (!lines_with(file, "^#[ \t]*flags:.*instance").empty())
			u.tests.push_back(name + ":instance");
		units.push_back(u);
	}
	return units;
}

std::vector<unit> livepatch_units()
{
	std::vector<unit> units;
	strings files;

	for (const auto &entry : fs::directory_iterator("."))
		if (entry.path().filename().string().starts_with("test-"))
			files.push_back(entry.path().filename());
	std::sort(files.begin(), files.end());
	for (const auto &file : files) {
		unit u { {}, { "/selftests/livepatch/" + file }, 300, read_livepatch };

		for (const auto &test : lines_with(file, "^start_test \"(.*)\""))
			u.tests.push_back(plain(file + ":" + test));
		units.push_back(u);
	}
	return units;
}

/* Each once: as often as kmod.sh would like takes hours in an emulator. */
std::vector<unit> kmod_units()
{
	std::vector<unit> units;

	for (const auto &id : lines_with("kmod.sh", "^ALL_TESTS=.*([0-9]{4}):[0-9]+:1\""))
		units.push_back({ { id }, { "/selftests/kmod/kmod.sh", "-s", id }, 180, read_status });
	return units;
}

std::vector<unit> lkdtm_units()
{
	std::vector<unit> units;

	for (const auto &name : lines_with("tests.txt", "^#?((EXEC|WRITE)_[A-Z_]*)"))
		units.push_back({ { name }, { "/selftests/lkdtm/" + name + ".sh" }, 60, read_status });
	return units;
}

/* So many numbers at once: each has one test or, unprivileged as well, two. */
std::vector<unit> verifier_units()
{
	constexpr unsigned at_once = 25;
	std::vector<unit> units;

	for (const auto &name : split(slurp("tests"), '\n')) {
		const std::string number = name.substr(0, name.find('/'));

		if (units.empty() || strtoul(number.c_str(), nullptr, 10) >=
				     strtoul(units.back().command[1].c_str(), nullptr, 10) + at_once)
			units.push_back({ {}, { "/selftests/test_verifier/test_verifier", number, number },
					  900, read_verifier });
		units.back().tests.push_back(plain(name));
		units.back().command[2] = number;
	}
	return units;
}

/* One at a time, with a bpf_testmod.ko that is loaded for it alone. */
std::vector<unit> progs_units(int slow)
{
	const std::string program = "/selftests/test_progs/test_progs";
	const said names = run({ {}, { program, "-l" }, 60, nullptr }, slow);
	std::vector<unit> units;

	if (names.status || names.output.empty())
		die("test_progs -l: " + ending(names));
	for (const auto &name : split(names.output, '\n'))
		units.push_back({ { name }, { program, "-a", name }, 600, read_progs });
	return units;
}

std::vector<unit> units_of_suite(int slow)
{
	if (suite == "ftrace")
		return ftrace_units();
	if (suite == "livepatch")
		return livepatch_units();
	if (suite == "kmod")
		return kmod_units();
	if (suite == "lkdtm")
		return lkdtm_units();
	if (suite == "test_verifier")
		return verifier_units();
	if (suite == "test_progs")
		return progs_units(slow);
	if (suite == "static_keys")
		return { { { "test_static_keys.sh" }, { "/selftests/static_keys/test_static_keys.sh" },
			   60, read_static_keys } };
	die("no suite of that name");
}

/* --- KUnit ------------------------------------------------------------------ */
/* Results are in debugfs; there is nothing to run. */
int report_kunit()
{
	std::vector<std::pair<std::string, result>> found;
	int number = 0;
	bool good = true;

	for (const std::string name : { "kprobes_test", "fprobe_test" }) {
		const std::regex line("^ +(not )?ok [0-9]+ (- )?([A-Za-z0-9_]+)( # SKIP)?");
		const size_t before = found.size();
		std::smatch match;

		for (const auto &text : split(slurp("/sys/kernel/debug/kunit/" + name + "/results"), '\n'))
			if (std::regex_search(text, match, line))
				found.push_back({ name + "/" + match[3].str(),
						  { !match[1].matched, match[4].matched ? "SKIP" : "" } });
		if (found.size() == before)
			found.push_back({ name, { false, "has not run" } });
	}
	printf("TAP version 13\n1..%zu\n", found.size());
	for (const auto &[name, r] : found) {
		good &= r.ok;
		printf("%sok %d %s%s%s\n", r.ok ? "" : "not ", ++number, name.c_str(),
		       r.note.empty() ? "" : " # ", r.note.c_str());
	}
	return good ? 0 : 1;
}

/* --- the guest as the scripts expect it ------------------------------------- */
void prepare()
{
	/* what udev would do, for bash's <(...) */
	for (const auto &[link, to] : { std::pair { "/dev/fd", "/proc/self/fd" },
					{ "/dev/stdin", "/proc/self/fd/0" },
					{ "/dev/stdout", "/proc/self/fd/1" },
					{ "/dev/stderr", "/proc/self/fd/2" } })
		if (symlink(to, link) && errno != EEXIST)
			die(std::string(link) + ": " + strerror(errno));

	/* some of ftrace's tests ping 127.0.0.1 to have something to trace */
	ifreq request {};
	const int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(request.ifr_name, "lo");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &request))
		die(std::string("lo: ") + strerror(errno));
	close(sock);

	/*
	 * The guest boots with panics for all that is wrong. Here it has to go on:
	 * lkdtm oopses by design, and a complaint in the middle of one test must
	 * not take the others along.
	 */
	write_file("/proc/sys/kernel/panic_on_oops", "0");
	write_file("/proc/sys/kernel/panic_on_warn", "0");

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("TMPDIR", "/tmp", 1);
	setenv("TERM", "dumb", 1);
	setenv("DEFAULT_KMOD_FS", "autofs", 1);	/* kmod.sh; see kernel-config/tree.config */
}

/* The end of what it said, for whoever has to find out why. */
void print_tail(const std::string &output)
{
	const strings lines = split(output, '\n');

	for (size_t i = lines.size() > 25 ? lines.size() - 25 : 0; i < lines.size(); i++)
		printf("#   | %.200s\n", lines[i].c_str());
}

} // namespace

int main(int, char **argv)
{
	suite = fs::path(argv[0]).filename();
	setvbuf(stdout, nullptr, _IOLBF, 0);
	prepare();
	if (suite == "kunit")
		return report_kunit();
	if (chdir(("/selftests/" + suite).c_str()))
		die("/selftests/" + suite + ": " + strerror(errno));

	const int slow = std::max(1, atoi(parameter("execmem.slow").c_str()));
	const strings only = split(parameter("execmem.only"), ',');
	std::vector<unit> units = units_of_suite(slow);
	std::map<std::string, std::string> left_out;
	size_t total = 0, number = 0;
	bool good = true;
	kernel_log log;

	for (const auto &line : split(slurp("/tests/left-out"), '\n'))
		if (const size_t end = line.find_first_of(" \t"); end != line.npos)
			left_out[line.substr(0, end)] = line.substr(line.find_first_not_of(" \t", end));

	if (!only.empty())
		std::erase_if(units, [&](const unit &u) {
			return std::none_of(u.tests.begin(), u.tests.end(), [&](const std::string &test) {
				return std::find(only.begin(), only.end(), suite + "/" + test) != only.end();
			});
		});
	for (const auto &u : units)
		total += u.tests.size();
	printf("TAP version 13\n1..%zu%s\n", total, total ? "" : " # SKIP none is wanted");
	if (!total)
		return 4;
	/* its run.sh does so as well, but skips the test that found it missing */
	if (suite == "lkdtm")
		run({ { "modprobe" }, { "/sbin/modprobe", "lkdtm" }, 60, read_status }, slow);
	for (const auto &u : units) {
		const auto why = left_out.find(suite + "/" + u.tests[0]);

		if (why != left_out.end()) {
			for (const auto &test : u.tests)
				printf("ok %zu %s # SKIP left out: %s\n", ++number, test.c_str(),
				       why->second.c_str());
			continue;
		}
		log.complaints();

		const double start = now();
		const said s = run(u, slow);
		const strings complaints = log.complaints();
		std::vector<result> results = u.read(s, u.tests);

		results.resize(std::min(results.size(), u.tests.size()));
		while (results.size() < u.tests.size())
			results.push_back({ false, s.timed_out ? "TIMEOUT" :
					    results.empty() ? "no result, " + ending(s) : "not reached" });
		if (!complaints.empty() && suite != "lkdtm")
			for (auto &r : results)
				r = { false, "the kernel complained" + std::string(r.ok ? "" : ", and it failed"),
				      r.output };
		printf("# %.1f s\n", now() - start);
		for (const auto &complaint : complaints)
			printf("#   > %.200s\n", complaint.c_str());
		if (std::any_of(results.begin(), results.end(), [](const result &r) {
				return (!r.ok || !r.note.empty()) && r.output.empty(); }))
			print_tail(s.output);
		for (size_t i = 0; i < results.size(); i++) {
			good &= results[i].ok;
			print_tail(results[i].output);
			printf("%sok %zu %s%s%s\n", results[i].ok ? "" : "not ", ++number,
			       u.tests[i].c_str(), results[i].note.empty() ? "" : " # ",
			       results[i].note.c_str());
		}
	}
	return good ? 0 : 1;
}
