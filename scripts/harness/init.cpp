// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the guest: mounts what the tests need, runs each test with a
 * timeout, and writes one KTAP document to the virtio-serial port
 * "execmem.result". The console only carries progress; no verdict is read
 * from it.
 *
 * Kernel command line:
 *   execmem.tests=a,b:c run these instead of all of /tests/list; of b the case c
 *   execmem.slow=N      multiply all timeouts by N (debug kernels)
 *   execmem.cpus=N      how many processors there have to be
 *   execmem.expect=pool|pages|off|stock|any
 *                       where text has to come from: the large pages of a pool,
 *                       its small ones, an allocation of its own, a kernel
 *                       without the series; any: not known
 *
 * /tests/list has one test a line: NAME [TIMEOUT-SECONDS ...]. Exit codes are
 * kselftest's: 0 pass, 1 fail, 4 skip.
 */
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <sys/io.h>
#endif

namespace {

/* What QEMU's exit status becomes when the guest ends in an orderly way. */
constexpr int exit_code_x86 = 42;	/* isa-debug-exit: 2 * 42 + 1 = 85 */
#if defined(__aarch64__) || defined(__riscv)
constexpr int exit_code_semihosting = 85;
#endif

constexpr int default_timeout = 120;
constexpr int ksft_skip = 4;

/*
 * What runner.sh of kselftest puts before a name, too. kunit.py looks for the
 * name to find the end of a test: it must not be the name of a subtest.
 */
constexpr const char *suite = "selftests: execmem: ";

struct test {
	std::string name;
	int timeout = default_timeout;
	std::vector<std::string> cases = {};	/* all when empty */
};

struct outcome {
	int status = 0;		/* as waitpid() gave it */
	bool timed_out = false;
	bool has_plan = false;
	std::string skip_all;	/* reason of a "1..0 # SKIP" plan */
	std::string skip_first;	/* ... of the first subtest that was skipped */
};

int result_fd = -1;

double now()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

__attribute__((format(printf, 1, 2)))
void console(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	printf("execmem-init: %s\n", line);
	fflush(stdout);
}

void write_all(int fd, std::string_view text)
{
	while (!text.empty()) {
		ssize_t n = write(fd, text.data(), text.size());

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;		/* the host sees a truncated document */
		text.remove_prefix(static_cast<size_t>(n));
	}
}

void result(const std::string &line)
{
	write_all(result_fd, line + "\n");
}

/* What is in the file as far as it can be read; sets errno, 0 when that is all. */
std::string read_file(const std::string &path)
{
	std::string text;
	char buffer[4096];
	ssize_t n;
	int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC), error;

	if (fd < 0)
		return text;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		text.append(buffer, static_cast<size_t>(n));
	error = n < 0 ? errno : 0;
	close(fd);
	errno = error;
	return text;
}

/* 0 or errno. */
int write_file(const char *path, std::string_view text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;
	ssize_t n;

	if (fd < 0)
		return errno;
	n = write(fd, text.data(), text.size());
	if (n < 0)
		error = errno;
	else if (static_cast<size_t>(n) != text.size())
		error = EIO;
	close(fd);
	return error;
}

std::vector<std::string> split(std::string_view text, std::string_view separators)
{
	std::vector<std::string> parts;

	while (true) {
		size_t start = text.find_first_not_of(separators);

		if (start == text.npos)
			return parts;
		text.remove_prefix(start);
		size_t end = text.find_first_of(separators);
		parts.emplace_back(text.substr(0, end));
		if (end == text.npos)
			return parts;
		text.remove_prefix(end);
	}
}

/* The value of KEY=value on the kernel command line. */
std::optional<std::string> parameter(std::string_view key)
{
	for (const auto &word : split(read_file("/proc/cmdline"), " \n"))
		if (word.starts_with(key) && word[key.size()] == '=')
			return word.substr(key.size() + 1);
	return std::nullopt;
}

/* devpts, cgroup2 and the like are wanted by some tests only: not fatal. */
void mount_all()
{
	static const struct {
		const char *type, *where, *options;
	} mounts[] = {
		{ "proc", "/proc", "" },
		{ "sysfs", "/sys", "" },
		{ "devtmpfs", "/dev", "" },
		{ "tmpfs", "/tmp", "" },
		{ "debugfs", "/sys/kernel/debug", "" },
		{ "tracefs", "/sys/kernel/tracing", "" },
		{ "bpf", "/sys/fs/bpf", "" },
		{ "cgroup2", "/sys/fs/cgroup", "" },
	};

	for (const auto &m : mounts) {
		mkdir(m.where, 0755);
		if (mount(m.type, m.where, m.type, 0, m.options) && errno != EBUSY)
			console("mount %s on %s: %s", m.type, m.where, strerror(errno));
	}
}

/* Open the virtio-serial port of that name; udev would make a link, we look. */
int open_port(std::string_view wanted)
{
	const std::string dir = "/sys/class/virtio-ports";

	for (int attempt = 0; attempt < 100; attempt++) {
		if (DIR *d = opendir(dir.c_str())) {
			while (dirent *entry = readdir(d)) {
				std::string port = entry->d_name;
				auto name = split(read_file(dir + "/" + port + "/name"), "\n");

				if (name.empty() || name[0] != wanted)
					continue;
				closedir(d);
				return open(("/dev/" + port).c_str(), O_WRONLY | O_CLOEXEC);
			}
			closedir(d);
		}
		usleep(100000);
	}
	errno = ENODEV;
	return -1;
}

std::vector<test> read_list()
{
	std::vector<test> tests;

	for (const auto &line : split(read_file("/tests/list"), "\n")) {
		auto words = split(line, " \t");

		if (words.empty() || words[0][0] == '#')
			continue;
		tests.push_back({ words[0] });
		if (words.size() > 1)
			tests.back().timeout = atoi(words[1].c_str());
	}
	return tests;
}

std::vector<test> wanted_tests()
{
	const auto names = parameter("execmem.tests");
	std::vector<test> all = read_list(), some;

	if (!names)
		return all;
	for (const auto &entry : split(*names, ",")) {
		const auto parts = split(entry, ":");
		auto t = std::find_if(some.begin(), some.end(), [&](const test &s) { return s.name == parts[0]; });

		if (t == some.end()) {
			test wanted { parts[0] };

			for (const auto &known : all)
				if (known.name == parts[0])
					wanted = known;
			t = some.insert(t, wanted);
		}
		t->cases.insert(t->cases.end(), parts.begin() + 1, parts.end());
	}
	return some;
}

/*
 * Passes a test's output on, indented, as a subtest. kselftest.h of 6.1 still
 * says "TAP version 13"; that line becomes KTAP's. Everything before the
 * version line is a comment to KTAP.
 */
class relay {
public:
	relay(const std::string &name, outcome &out) : name(name), out(out) {}

	void feed(std::string_view bytes)
	{
		pending += bytes;
		for (size_t end; (end = pending.find('\n')) != pending.npos; ) {
			line(pending.substr(0, end));
			pending.erase(0, end + 1);
		}
	}

	void flush()
	{
		if (!pending.empty())
			line(pending);
		pending.clear();
	}

private:
	void line(std::string text)
	{
		if (!text.empty() && text.back() == '\r')
			text.pop_back();
		if (!started && (text.starts_with("TAP version ") || text.starts_with("KTAP version "))) {
			started = true;
			return;		/* written together with the plan */
		}
		if (started && !out.has_plan && text.starts_with("1..")) {
			out.has_plan = true;
			if (atoi(text.c_str() + 3) == 0) {
				size_t reason = text.find("# SKIP");

				out.skip_all = reason == text.npos ? "no test in the plan" :
					       text.substr(reason + 6);
				return;
			}
			result("  KTAP version 1");
			result(std::string("  # Subtest: ") + suite + name);
			result("  " + text);
			return;
		}
		/*
		 * ksft_test_result_skip() of 6.1 loses the name, and kunit.py
		 * then does not take the line for a result.
		 */
		if (text.starts_with("ok ")) {
			const size_t digits = text.find_first_not_of("0123456789", 3);

			if (digits != text.npos && text.substr(digits).starts_with(" # SKIP"))
				text.insert(digits, " test_" + text.substr(3, digits - 3));
			if (size_t skip = text.find("# SKIP"); skip != text.npos && out.skip_first.empty())
				out.skip_first = text.substr(skip + 6);
		}
		if (!out.has_plan || !out.skip_all.empty())
			text = text.starts_with("#") ? text : "# " + text;
		result("  " + text);
	}

	const std::string &name;
	outcome &out;
	std::string pending;
	bool started = false;
};

outcome run(const test &t, int slow)
{
	const std::string path = "/tests/" + t.name;
	const double deadline = now() + t.timeout * slow;
	outcome out;
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC)) {
		out.status = 0x7f00;
		return out;
	}

	pid_t child = fork();
	if (child == 0) {
		setpgid(0, 0);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		if (chdir("/tests"))
			_exit(127);

		std::vector<char *> argv { const_cast<char *>(path.c_str()) };
		for (const auto &name : t.cases)
			argv.push_back(const_cast<char *>(name.c_str()));
		argv.push_back(nullptr);
		execv(path.c_str(), argv.data());
		dprintf(2, "# %s: %s\n", path.c_str(), strerror(errno));
		_exit(127);
	}
	close(pipes[1]);

	/*
	 * The test is over when it has exited, not when the pipe closes: a
	 * daemon that it left behind must not keep the guest waiting.
	 */
	relay r(t.name, out);
	char buffer[65536];
	bool exited = child < 0;

	if (child < 0)
		out.status = 0x7f00;
	while (true) {
		pollfd p { pipes[0], POLLIN, 0 };
		int ready = poll(&p, 1, exited ? 0 : 100);

		if (ready > 0) {
			ssize_t n = read(pipes[0], buffer, sizeof(buffer));

			if (n > 0) {
				r.feed({ buffer, static_cast<size_t>(n) });
				if (now() < deadline)
					continue;
			} else if (exited) {
				break;
			} else {
				usleep(1000);
			}
		} else if (exited) {
			break;
		}
		if (!exited && waitpid(child, &out.status, WNOHANG) == child)
			exited = true;
		if (!exited && now() > deadline) {
			out.timed_out = true;
			kill(-child, SIGKILL);
			kill(child, SIGKILL);
			/* one that hangs in the kernel cannot be waited for */
			for (int i = 0; i < 50 && !exited; i++) {
				exited = waitpid(child, &out.status, WNOHANG) == child;
				usleep(100000);
			}
			exited = true;
		}
	}
	r.flush();
	close(pipes[0]);
	if (child > 0)
		kill(-child, SIGKILL);
	while (waitpid(-1, nullptr, WNOHANG) > 0)
		;
	return out;
}

std::string describe(const outcome &out, const test &t)
{
	if (out.timed_out)
		return "# TIMEOUT " + std::to_string(t.timeout) + " s";
	if (WIFSIGNALED(out.status))
		return "# killed by signal " + std::to_string(WTERMSIG(out.status));
	return "# exit=" + std::to_string(WEXITSTATUS(out.status));
}

/* Returns the reason of a failure, or nothing. */
std::optional<std::string> judge(const outcome &out, const test &t)
{
	if (out.timed_out || !WIFEXITED(out.status) ||
	    (WEXITSTATUS(out.status) != 0 && WEXITSTATUS(out.status) != ksft_skip))
		return describe(out, t);
	if (WEXITSTATUS(out.status) == 0 && !out.has_plan)
		return "# printed no KTAP plan";
	return std::nullopt;
}

void report(size_t number, const std::string &name, const std::optional<std::string> &failure,
	    const std::optional<std::string> &skip, double seconds)
{
	char time[64];
	std::string line = (failure ? "not ok " : "ok ") + std::to_string(number) + " " + suite + name;

	if (failure)
		line += " " + *failure;
	else if (skip)
		line += " # SKIP" + (skip->starts_with(" ") ? *skip : " " + *skip);
	snprintf(time, sizeof(time), "# time %s %.1f", name.c_str(), seconds);
	result(time);
	result(line);
	console("%s", line.c_str());
}

/* Does the guest use all processors that it was given? */
std::optional<std::string> cpus_failure()
{
	const long want = atol(parameter("execmem.cpus").value_or("1").c_str());
	const long have = sysconf(_SC_NPROCESSORS_ONLN);

	if (have == want)
		return std::nullopt;
	return "# " + std::to_string(have) + " CPUs, not " + std::to_string(want);
}

/*
 * Where text comes from, as the kernel shows it: in the words of execmem.expect=.
 * A chunk on small pages stands in for a large one when there is none.
 */
std::string source_of_text()
{
	const std::string file = "/sys/kernel/debug/execmem";
	const std::string list = read_file(file);
	const unsigned long small = static_cast<unsigned long>(sysconf(_SC_PAGESIZE));
	std::string source = "off";

	if (errno == ENOENT)
		return "stock";
	if (errno)
		return std::string("unreadable (") + strerror(errno) + ")";
	for (const auto &line : split(list, "\n")) {
		const size_t leaf = line.find(" leaf ");

		if (!line.starts_with("chunk ") || leaf == line.npos)
			continue;
		if (strtoul(line.c_str() + leaf + 6, nullptr, 10) > small)
			return "pool";
		source = "pages";
	}
	return source;
}

/* Tests ask what they may expect; it must not be the kernel under test alone that answers. */
void expected_source(std::optional<std::string> &failure, std::optional<std::string> &skip)
{
	const std::optional<std::string> expected = parameter("execmem.expect");
	const std::string source = source_of_text();

	if (!expected)
		failure = "# nobody said what to expect (execmem.expect=)";
	else if (*expected == "any")
		skip = "this may be any kernel (execmem.expect=any)";
	else if (source != *expected)
		failure = "# <debugfs>/execmem says " + source + ", expected was " + *expected;
}

/* What /proc/sys/kernel/tainted says beyond what test modules may set. */
std::optional<std::string> taint_failure()
{
	static const struct {
		unsigned bit;
		const char *what;
	} bad[] = { { 4, "M machine check" }, { 5, "B bad page" }, { 7, "D oops" },
		    { 9, "W warning" }, { 14, "L soft lockup" } };
	const unsigned long taint = strtoul(read_file("/proc/sys/kernel/tainted").c_str(),
					    nullptr, 10);
	std::string failure;

	for (const auto &b : bad)
		if (taint & (1UL << b.bit))
			failure += (failure.empty() ? "# tainted: " : ", ") + std::string(b.what);
	if (failure.empty())
		return std::nullopt;
	return failure;
}

constexpr const char *kmemleak = "/sys/kernel/debug/kmemleak";

/*
 * kmemleak reports an object only when it is 5 seconds old and has been seen
 * unreferenced (with an unchanged checksum) in two scans. One that has switched
 * itself off, as it does when it gets no memory, refuses to scan and lists nothing.
 */
std::optional<std::string> kmemleak_failure()
{
	for (int i = 0; i < 3; i++) {
		sleep(i ? 2 : 6);
		if (int error = write_file(kmemleak, "scan"))
			return std::string("# scan refused: ") + strerror(error) +
			       (error == EPERM ? ", kmemleak is switched off" : "");
	}

	const std::string leaks = read_file(kmemleak);
	size_t count = 0;

	if (errno)
		return std::string("# cannot be read: ") + strerror(errno);

	for (const auto &line : split(leaks, "\n")) {
		result("  # " + line);
		count += line.starts_with("unreferenced object");
	}
	if (!count)
		return std::nullopt;
	return "# " + std::to_string(count) + " leaked objects";
}

[[noreturn]] void leave()
{
	sync();
	fflush(stdout);
	/* without it the last bytes are lost when there is more than one CPU */
	tcdrain(1);
	tcdrain(result_fd);
	usleep(100000);
#if defined(__x86_64__)
	if (!iopl(3))
		outb(exit_code_x86, 0xf4);
#elif defined(__aarch64__)
	/* SYS_EXIT_EXTENDED, reason ADP_Stopped_ApplicationExit */
	unsigned long block[2] = { 0x20026, exit_code_semihosting };
	register unsigned long x0 asm("x0") = 0x20;
	register unsigned long x1 asm("x1") = reinterpret_cast<unsigned long>(block);

	asm volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
#elif defined(__riscv)
	unsigned long block[2] = { 0x20026, exit_code_semihosting };
	register unsigned long a0 asm("a0") = 0x20;
	register unsigned long a1 asm("a1") = reinterpret_cast<unsigned long>(block);

	/* three instructions of four bytes, in one page */
	asm volatile(".balign 16\n"
		     ".option push\n"
		     ".option norvc\n"
		     "slli zero, zero, 0x1f\n"
		     "ebreak\n"
		     "srai zero, zero, 0x7\n"
		     ".option pop" : "+r"(a0) : "r"(a1) : "memory");
#endif
	/* elsewhere the host asks QEMU why it ended: nothing else powers off */
	reboot(RB_POWER_OFF);
	while (true)
		pause();
}

} // namespace

int main()
{
	(void)exit_code_x86;
	mount_all();
	for (int fd = open("/dev/console", O_RDWR); fd >= 0 && fd < 3; fd = dup(fd))
		if (fd == 2)
			break;
	console("up after %.1f s", now());

	result_fd = open_port("execmem.result");
	if (result_fd < 0) {
		console("no result port: %s", strerror(errno));
		leave();
	}
	setenv("PATH", "/tests:/bin", 1);
	setenv("HOME", "/tmp", 1);

	const int slow = std::max(1, atoi(parameter("execmem.slow").value_or("1").c_str()));
	const std::vector<test> tests = wanted_tests();
	const bool have_kmemleak = access(kmemleak, F_OK) == 0;
	size_t number = 0;

	result("KTAP version 1");
	result("1.." + std::to_string(tests.size() + 4));
	for (const auto &t : tests) {
		const double start = now();

		console("[%zu/%zu] %s (at most %d s)", number + 1, tests.size(),
			t.name.c_str(), t.timeout);
		result("# start " + t.name + " " + std::to_string(t.timeout));

		const outcome out = run(t, slow);
		std::optional<std::string> failure = judge(out, t), skip;

		if (!failure && WEXITSTATUS(out.status) == ksft_skip)
			skip = !out.skip_all.empty() ? out.skip_all :
			       !out.skip_first.empty() ? out.skip_first : "exit status 4";
		else if (!failure && !out.skip_all.empty())
			failure = "# exit status 0, but no test in the plan";
		report(++number, t.name, failure, skip, now() - start);
	}

	report(++number, "cpus", cpus_failure(), std::nullopt, 0);

	std::optional<std::string> unexpected, unknown;

	expected_source(unexpected, unknown);
	report(++number, "as_expected", unexpected, unknown, 0);
	result("# start kmemleak 300");
	if (have_kmemleak) {
		const double start = now();
		const std::optional<std::string> failure = kmemleak_failure();

		report(++number, "kmemleak", failure, std::nullopt, now() - start);
	} else {
		report(++number, "kmemleak", std::nullopt, "CONFIG_DEBUG_KMEMLEAK is not set", 0);
	}
	report(++number, "taint", taint_failure(), std::nullopt, 0);
	result("# end-of-run");
	leave();
}
