// SPDX-License-Identifier: GPL-2.0
/*
 * Boots a kernel in QEMU, watches the tests that run in it, answers their
 * questions, and judges the run.
 *
 * The guest has three channels: the console (progress and splats), the
 * virtio-serial port execmem.result (one KTAP document, written by init.cpp),
 * and the port execmem.host, on which tests ask the host:
 *
 *   alias LABEL     is any executable page writable now? Answers "# ..." lines
 *                   and then one line "ok ...", "not ok ..." or "skip REASON"
 *   dump            all memory into DIR/memory.dump, an ELF file; answered "ok" or "not ok ..."
 *   note TEXT       kept in host.log; answered "ok"
 *   summary TEXT    printed after the table of tests; answered "ok"
 *
 * A guest that is lost, silent or too slow is a failure.
 */
#include "judge.h"
#include "pagetables.h"
#include "qemu.h"
#include "splats.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <sstream>

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

struct settings {
	guest_setup guest;
	std::string tree, tests, list, append, config, flavour, expect;
	double boot_timeout = 120;
	/* how much slower than the default kernel the tests may be */
	double slow = 1;
	/* a run that went to its end is good, whatever the tests say */
	bool complete_is_good = false;
};

double now()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

double started;
std::string speaker;	/* which of several boots */

void progress(const std::string &what)
{
	printf("[%6.1f s] %s%s\n", now() - started, speaker.c_str(), what.c_str());
	fflush(stdout);
}

/* Follows the result file while QEMU appends to it. */
class result_watch {
public:
	explicit result_watch(const settings &s) : path(s.guest.dir + "/result.ktap"),
		slow(s.slow), deadline(now() + s.boot_timeout) {}

	/* Reads what is new; true when anything was. */
	void look()
	{
		const std::string text = read_file(path);
		std::string_view rest(text);

		rest.remove_prefix(std::min(used, rest.size()));
		for (size_t end; (end = rest.find('\n')) != rest.npos; ) {
			line(std::string(rest.substr(0, end)));
			rest.remove_prefix(end + 1);
			used += end + 1;
		}
	}

	/* Why the guest must be given up, if it must. */
	std::string overdue() const
	{
		if (now() < deadline)
			return "";
		return current.empty() ? "timeout: no sign of life from the guest's init" :
			"timeout: " + current + " did not end, nor did the guest stop it";
	}

	void heartbeat()
	{
		if (now() - last_line < 20)
			return;
		progress(current.empty() ? "booting" : "still in " + current +
			 (subtests ? ", " + std::to_string(subtests) + " results, the last: " + last : ""));
		last_line = now();
	}

private:
	void line(const std::string &text)
	{
		char name[256];
		int timeout;

		if (text.starts_with("1..")) {
			total = atoi(text.c_str() + 3);
			progress("guest is up, " + std::to_string(total) + " checks");
			deadline = now() + 60 * slow;
			current = "init";
			last_line = now();
		} else if (sscanf(text.c_str(), "# start %255s %d", name, &timeout) == 2) {
			current = name;
			subtests = 0;
			/* the guest stops it first, if there still is a guest */
			deadline = now() + timeout * slow + 60 * slow;
		} else if (text.starts_with("ok ") || text.starts_with("not ok ")) {
			progress("[" + std::to_string(++number) + "/" + std::to_string(total) +
				 "] " + text);
			last_line = now();
		} else if (text.starts_with("  ok ") || text.starts_with("  not ok ")) {
			subtests++;
			last = text.substr(2);
		} else if (text == "# end-of-run") {
			current = "shutdown";
			deadline = now() + 60 * slow;
		}
	}

	const std::string path;
	const double slow;
	double deadline, last_line = now();
	std::string current, last;
	size_t used = 0;
	int total = 0, number = 0, subtests = 0;
};

/* The other end of execmem.host. */
class host_service {
public:
	host_service(qemu &guest, const settings &s) : guest(guest), arch(s.guest.arch), dir(s.guest.dir),
		log(fopen((s.guest.dir + "/host.log").c_str(), "w")) {}
	~host_service() { if (log) fclose(log); }

	void serve(int wait_ms)
	{
		pollfd p { guest.host_port(), POLLIN, 0 };
		char buffer[4096];

		if (poll(&p, 1, wait_ms) <= 0)
			return;

		ssize_t n = recv(guest.host_port(), buffer, sizeof(buffer), MSG_DONTWAIT);

		if (n <= 0) {
			usleep(static_cast<useconds_t>(wait_ms) * 1000);
			return;
		}
		pending.append(buffer, static_cast<size_t>(n));
		for (size_t end; (end = pending.find('\n')) != pending.npos; ) {
			request(pending.substr(0, end));
			pending.erase(0, end + 1);
		}
	}

private:
	void answer(const std::string &text)
	{
		const std::string line = text + "\n";

		send(guest.host_port(), line.data(), line.size(), MSG_NOSIGNAL);
	}

	void request(const std::string &line)
	{
		fprintf(log, "%s\n", line.c_str());
		if (line == "dump") {
			const std::string wrong = guest.dump(dir + "/memory.dump");

			fflush(log);
			answer(wrong.empty() ? "ok" : "not ok " + wrong);
			return;
		}
		if (!line.starts_with("alias")) {
			answer(line.starts_with("note ") || line.starts_with("summary ") ? "ok" :
			       "not ok unknown request: " + line);
			fflush(log);
			return;
		}

		const double start = now();

		guest.stop();
		const oracle_answer a = check_aliases(guest, arch);
		guest.cont();

		for (const auto &detail : a.details) {
			fprintf(log, "  %s\n", detail.c_str());
			answer("# " + detail);
		}

		const std::string last = (a.kind == oracle_answer::ok ? "ok " :
			a.kind == oracle_answer::skip ? "skip " : "not ok ") + a.text;

		fprintf(log, "  %s (%.1f s)\n", last.c_str(), now() - start);
		fflush(log);
		answer(last);
	}

	qemu &guest;
	const std::string arch, dir;
	FILE *log;
	std::string pending;
};

/* Runs the guest and leaves its files, among them how it ended, in the directory. */
void run(const settings &s)
{
	for (const char *file : { "/console.log", "/result.ktap", "/host.log", "/status" })
		unlink((s.guest.dir + file).c_str());

	qemu guest(s.guest);
	host_service host(guest, s);
	result_watch watch(s);
	std::string status;

	while (status.empty()) {
		host.serve(200);
		watch.look();
		watch.heartbeat();
		if (auto end = guest.ended())
			status = *end;
		else
			status = watch.overdue();
	}
	if (status == "exited 0" && !find_machine(s.guest.arch)->exit_device &&
	    guest.end_reason() == "guest-shutdown")
		status = powered_off;
	guest.kill();
	watch.look();
	if (FILE *f = fopen((s.guest.dir + "/status").c_str(), "w")) {
		fprintf(f, "%s\n", status.c_str());
		fclose(f);
	}
	progress("guest ended: " + status);
}

/* Tests that share a boot, and what it needs. */
struct boot {
	std::string cpu, append;
	bool apart = false;
	std::vector<std::string> tests;
};

/*
 * The list of tests says which of them want a boot of their own:
 *
 *   NAME TIMEOUT CLASS [apart] [cpu=QEMU-CPU] [cmdline=kernel parameters, to the end of the line]
 *
 * cpu= is for x86; elsewhere such a test goes with the others and skips. Where all
 * tests run, those that take long are in a guest apart, on another processor.
 */
std::vector<boot> plan_boots(const settings &s)
{
	std::vector<boot> boots(1);

	for (const auto &line : lines_of(read_file(s.list))) {
		const size_t cmdline = line.find(" cmdline="), cpu = line.find(" cpu=");
		const std::string name = line.substr(0, line.find_first_of(" \t"));
		boot b;

		if (name.empty() || name[0] == '#')
			continue;
		/* TEST, or TEST:CASE once or more often */
		std::vector<std::string> asked;
		std::istringstream entries(s.tests);
		for (std::string entry; std::getline(entries, entry, ','); )
			if (entry.substr(0, entry.find(':')) == name)
				asked.push_back(entry);
		if (!s.tests.empty() && asked.empty())
			continue;
		if (asked.empty())
			asked.push_back(name);
		if (s.guest.arch == "x86_64" || cpu == line.npos) {
			if (cmdline != line.npos)
				b.append = line.substr(cmdline + 9);
			if (cpu != line.npos && cpu < cmdline)
				b.cpu = line.substr(cpu + 5, line.find(' ', cpu + 1) - cpu - 5);
		}

		b.apart = s.tests.empty() && line.substr(0, std::min(cpu, cmdline)).ends_with(" apart");
		auto same = std::find_if(boots.begin(), boots.end(), [&b](const boot &other) {
			return other.cpu == b.cpu && other.append == b.append && other.apart == b.apart;
		});
		if (same == boots.end())
			same = boots.insert(boots.end(), b);
		same->tests.insert(same->tests.end(), asked.begin(), asked.end());
	}
	if (s.list.empty() && !s.tests.empty())
		boots[0].tests.push_back(s.tests);
	if (boots[0].tests.empty() && boots.size() > 1)
		boots.erase(boots.begin());
	return boots;
}

/*
 * A loaded host must not look like a broken guest: no check that the timer
 * ticks in time, and patience before a stall is called one.
 */
constexpr const char *patience = " no_timer_check rcupdate.rcu_cpu_stall_timeout=100"
				 " watchdog_thresh=60";

/*
 * Where text has to come from in that boot, for execmem.expect= (see init.cpp):
 * the tests and the kernel must not agree between themselves that there is no pool.
 */
std::string expected_source(const settings &s)
{
	std::istringstream words(s.guest.append);
	std::string source = s.guest.arch == "x86_64" ? "pool" : "off", leaves = "pool";

	if (!s.expect.empty())
		return s.expect;
	if (s.flavour == "stock" || s.flavour == "tree-stock")
		return "stock";
	for (std::string word; words >> word; ) {
		if (word == "nohugevmalloc")
			leaves = "pages";
		if (s.guest.arch != "x86_64")	/* has no pool */
			continue;
		if (word == "execmem=off" || word == "execmem=pages")
			source = word.substr(8);
		else if (word == "execmem=pools")
			source = "pool";
	}
	return source == "pool" ? leaves : source;
}

/* What one of the boots needs, in a directory of its own. */
settings prepare_boot(settings s, const boot &b, size_t number)
{
	std::string names;

	for (const auto &name : b.tests)
		names += (names.empty() ? "" : ",") + name;
	if (number) {
		s.guest.dir += "/boot-" + std::to_string(number + 1);
		mkdir(s.guest.dir.c_str(), 0777);
	}
	/*
	 * The suites run while the kernel boots: what takes long does where they are looked at,
	 * and where it does not take minutes. check-long asks for it there as well.
	 */
	const bool kunit = s.flavour != "debug" && s.flavour != "inline" && std::any_of(b.tests.begin(), b.tests.end(), [](const std::string &entry) {
		return entry.substr(0, entry.find(':')) == "kunit";
	});

	s.guest.cpu = b.cpu;
	s.guest.append = std::string("console=") + find_machine(s.guest.arch)->console +
		" panic=-1 oops=panic panic_on_warn=1 hung_task_panic=1" + patience + " execmem.slow=" +
		std::to_string(static_cast<int>(s.slow)) + " execmem.cpus=" + std::to_string(s.guest.cpus) +
		(names.empty() ? "" : " execmem.tests=" + names) + (kunit ? " execmem_kunit.long=1" : "") +
		(b.append.empty() ? "" : " " + b.append) + (s.append.empty() ? "" : " " + s.append);
	s.guest.append += " execmem.expect=" + expected_source(s);
	/* the judge asks it whether what was skipped had to be */
	if (std::error_code error; !std::filesystem::copy_file(s.config, s.guest.dir + "/config",
			std::filesystem::copy_options::overwrite_existing, error)) {
		fprintf(stderr, "run-guest: %s: %s\n", s.config.c_str(), error.message().c_str());
		exit(2);
	}
	s.tests = names;
	return s;
}

/*
 * Runs the guest in a process of its own, which says of each line whose it is.
 * Where QEMU cannot be started the guest has left no status, and is judged so.
 */
pid_t start_boot(const settings &s, const boot &b, size_t number, size_t count)
{
	fflush(nullptr);

	const pid_t parent = getpid(), child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	speaker = "boot " + std::to_string(number + 1) + " of " + std::to_string(count) + ": ";
	progress(s.tests + (b.append.empty() ? "" : " with " + b.append));
	run(s);
	fflush(nullptr);
	_exit(0);
}

/* All boots, two at a time where there are two processors; then their verdicts in order. */
bool run_boots(const settings &s, const std::vector<boot> &boots)
{
	const size_t at_once = std::min(2L, sysconf(_SC_NPROCESSORS_ONLN));
	std::vector<settings> prepared;
	size_t running = 0;
	bool good = true;

	/* what another list of tests has left */
	for (size_t n = 2; std::filesystem::remove_all(s.guest.dir + "/boot-" + std::to_string(n)); n++)
		;
	for (const boot &b : boots)
		prepared.push_back(prepare_boot(s, b, prepared.size()));
	if (boots.size() == 1) {
		run(prepared[0]);
		return print_verdict(judge(prepared[0].guest.dir, s.tree, s.complete_is_good));
	}
	for (size_t i = 0; i < boots.size() || running; ) {
		if (i < boots.size() && running < at_once) {
			unlink((prepared[i].guest.dir + "/status").c_str());
			if (start_boot(prepared[i], boots[i], i, boots.size()) > 0)
				running++;
			else
				perror("run-guest: fork");
			i++;
		} else if (wait(nullptr) > 0) {
			running--;
		}
	}
	for (size_t i = 0; i < boots.size(); i++) {
		printf("\nboot %zu of %zu: %s\n", i + 1, boots.size(), prepared[i].tests.c_str());
		good = print_verdict(judge(prepared[i].guest.dir, s.tree, s.complete_is_good)) && good;
	}
	return good;
}

/* The directories of a run: of its first boot, and of the others. */
std::vector<std::string> boots_of(const std::string &dir)
{
	std::vector<std::string> dirs { dir };

	for (size_t n = 2; ; n++) {
		const std::string next = dir + "/boot-" + std::to_string(n);

		if (!std::filesystem::exists(next))
			return dirs;
		dirs.push_back(next);
	}
}

std::vector<test_result> results_of(const std::string &dir)
{
	std::vector<test_result> all;

	for (const auto &boot : boots_of(dir)) {
		auto some = parse_results(read_file(boot + "/result.ktap"));

		all.insert(all.end(), some.begin(), some.end());
	}
	return all;
}

void print_sorted(std::vector<std::string> lines)
{
	std::sort(lines.begin(), lines.end());
	lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
	for (const auto &line : lines)
		printf("%s\n", line.c_str());
}

/*
 * What a run has skipped for another reason than an option, which the judge looks
 * up: "TEST: CASE: REASON", or "TEST: REASON" where all of it was skipped for one.
 */
void print_skips(const std::string &dir)
{
	std::vector<std::string> lines;

	for (const auto &t : results_of(dir)) {
		auto skips = skips_of({ t });

		std::erase_if(skips, [](const auto &skip) { return !options_in(skip.reason).empty(); });
		if (t.skip && !skips.empty() && std::all_of(skips.begin(), skips.end(), [&skips](const auto &skip) {
			return skip.reason == skips[0].reason;
		}))
			skips = { { t.name, skips[0].reason } };
		for (const auto &skip : skips)
			lines.push_back(skip.name + ": " + skip.reason);
	}
	print_sorted(std::move(lines));
}

/* The cases of each test that ran: "TEST: CASE CASE ...", in their order. */
void print_cases(const std::string &dir)
{
	std::vector<std::string> lines;

	for (const auto &t : results_of(dir)) {
		std::string line = t.name + ":";

		for (const auto &sub : t.subtests)
			line += " " + sub.name;
		if (!t.subtests.empty())
			lines.push_back(std::move(line));
	}
	print_sorted(std::move(lines));
}

/* What a test that expects EXPECTED would say of the log on stdin. */
void print_splats(const std::string &expected)
{
	const std::string log { std::istreambuf_iterator<char>(std::cin), {} };

	for (const auto &line : unexpected_splats(lines_of(log), expected))
		printf("%s\n", line.c_str());
}

[[noreturn]] void usage()
{
	fputs("usage: run-guest --arch ARCH --dir DIR --tree KERNEL-TREE --kernel FILE\n"
	      "                 --initrd FILE [--append ARGS] [--tests A,B] [--memory MB]\n"
	      "                 [--cpus N] [--boot-timeout SECONDS] [--slow FACTOR]\n"
	      "                 [--accel tcg|mttcg|icount|kvm] [--list TESTS]\n"
	      "                 [--complete-is-good] --config FILE\n"
	      "                 --flavour FLAVOUR | --expect pool|pages|off|stock|any\n"
	      "       run-guest --judge DIR --tree KERNEL-TREE\n"
	      "       run-guest --skips DIR\n"
	      "       run-guest --cases DIR\n"
	      "       run-guest --splats EXPECTED < LOG\n", stderr);
	exit(2);
}

} // namespace

int main(int argc, char **argv)
{
	static const option options[] = {
		{ "arch", 1, nullptr, 'a' }, { "dir", 1, nullptr, 'd' },
		{ "tree", 1, nullptr, 't' }, { "kernel", 1, nullptr, 'k' },
		{ "initrd", 1, nullptr, 'i' }, { "append", 1, nullptr, 'p' },
		{ "tests", 1, nullptr, 'T' }, { "memory", 1, nullptr, 'm' },
		{ "cpus", 1, nullptr, 'c' }, { "boot-timeout", 1, nullptr, 'b' },
		{ "slow", 1, nullptr, 's' }, { "judge", 1, nullptr, 'j' },
		{ "accel", 1, nullptr, 'A' }, { "list", 1, nullptr, 'l' },
		{ "complete-is-good", 0, nullptr, 'g' }, { "config", 1, nullptr, 'C' },
		{ "flavour", 1, nullptr, 'f' }, { "expect", 1, nullptr, 'e' },
		{ "skips", 1, nullptr, 'S' }, { "cases", 1, nullptr, 'n' },
		{ "splats", 1, nullptr, 'x' }, {}
	};
	settings s;
	std::string judged;

	for (int c; (c = getopt_long(argc, argv, "", options, nullptr)) != -1; ) {
		switch (c) {
		case 'a': s.guest.arch = optarg; break;
		case 'd': s.guest.dir = optarg; break;
		case 't': s.tree = optarg; break;
		case 'k': s.guest.kernel = optarg; break;
		case 'i': s.guest.initrd = optarg; break;
		case 'p': s.append = optarg; break;
		case 'T': s.tests = optarg; break;
		case 'm': s.guest.memory_mb = static_cast<unsigned>(atoi(optarg)); break;
		case 'c': s.guest.cpus = static_cast<unsigned>(atoi(optarg)); break;
		case 'b': s.boot_timeout = atof(optarg); break;
		case 's': s.slow = atof(optarg); break;
		case 'l': s.list = optarg; break;
		case 'A': s.guest.accel = optarg; break;
		case 'j': judged = optarg; break;
		case 'g': s.complete_is_good = true; break;
		case 'C': s.config = optarg; break;
		case 'f': s.flavour = optarg; break;
		case 'e': s.expect = optarg; break;
		case 'S': print_skips(optarg); return 0;
		case 'n': print_cases(optarg); return 0;
		case 'x': print_splats(optarg); return 0;
		default: usage();
		}
	}
	if (optind != argc)
		usage();
	signal(SIGPIPE, SIG_IGN);
	started = now();

	if (s.tree.empty())
		usage();

	bool good = true;

	if (!judged.empty()) {
		good = print_verdict(judge(judged, s.tree));
	} else {
		if (s.guest.dir.empty() || s.guest.kernel.empty() || s.guest.initrd.empty() ||
		    !find_machine(s.guest.arch) || s.config.empty() || (s.flavour.empty() && s.expect.empty()))
			usage();
		if (s.guest.accel != "tcg" && s.guest.accel != "mttcg" && s.guest.accel != "icount" &&
		    s.guest.accel != "kvm") {
			fprintf(stderr, "run-guest: unknown ACCEL '%s': tcg, mttcg, icount or kvm\n",
				s.guest.accel.c_str());
			return 2;
		}
		/* QEMU 7.2 does not bring up a second one that way */
		if (s.guest.accel == "icount")
			s.guest.cpus = 1;
		if (s.guest.accel == "kvm" && find_machine(s.guest.arch)->kvm.empty()) {
			fprintf(stderr, "run-guest: ACCEL=kvm: not for %s, use ACCEL=tcg\n",
				s.guest.arch.c_str());
			return 2;
		}

		good = run_boots(s, plan_boots(s));
	}
	printf("run: %s\n", good ? "good" : "BAD");
	return good ? 0 : 1;
}
