// SPDX-License-Identifier: GPL-2.0
#include "proc.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>

#include "settings.hpp"

s64 now_ms()
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

unique_fd &unique_fd::operator=(unique_fd &&o) noexcept
{
	std::swap(fd, o.fd);
	return *this;
}

bool exists(const std::string &path)
{
	return access(path.c_str(), F_OK) == 0;
}

std::optional<std::string> slurp(const std::string &path)
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

std::string read_or_fail(const std::string &path)
{
	std::optional<std::string> text = slurp(path);

	if (!text)
		throw cannot_read("cannot read " + path + ": " + strerror(errno));
	return *text;
}

std::string read_if_there(const std::string &path)
{
	return exists(path) ? read_or_fail(path) : "";
}

int spit(const std::string &path, std::string_view text, int flags)
{
	unique_fd f(open(path.c_str(), flags | O_CLOEXEC));

	if (!f)
		return -errno;
	ssize_t n = write(f.fd, text.data(), text.size());
	if (n < 0)
		return -errno;
	return static_cast<size_t>(n) == text.size() ? 0 : -EIO;
}

int append(const std::string &path, std::string_view text)
{
	return spit(path, text, O_WRONLY | O_APPEND);
}

std::vector<std::string> split(std::string_view text, char sep)
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

std::vector<std::string> words(std::string_view text)
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

std::string trim(std::string s)
{
	while (!s.empty() && strchr(" \t\n", s.back()))
		s.pop_back();
	return s;
}

std::optional<std::string> kernel_parameter(const std::string &name)
{
	std::optional<std::string> value;

	for (const std::string &w : words(read_or_fail("/proc/cmdline")))
		if (w.starts_with(name + "="))
			value = w.substr(name.size() + 1);
	return value;
}

unsigned int slow()
{
	static const int factor = atoi(kernel_parameter("execmem.slow").value_or("1").c_str());

	return std::max(factor, 1);
}

bool wait_for(unsigned int ms, const std::function<bool()> &done)
{
	for (unsigned int t = 0;; t += 50) {
		if (done())
			return true;
		if (t >= ms * slow())
			return false;
		usleep(50000);
	}
}

std::string output_of(std::vector<std::string> command)
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

void show_pointers()
{
	set_for_now("/proc/sys/kernel/kptr_restrict", "1");
}

std::string tracefs(const std::string &file)
{
	static const std::string root = exists("/sys/kernel/tracing/trace") ?
		"/sys/kernel/tracing/" : "/sys/kernel/debug/tracing/";

	return root + file;
}

std::string debugfs(const std::string &file)
{
	static const std::string root = "/sys/kernel/debug";
	struct statfs fs;

	/* A place to mount it on, and nothing there: what is missing says nothing of the kernel. */
	if (!statfs(root.c_str(), &fs) && fs.f_type != DEBUGFS_MAGIC)
		throw cannot_read("debugfs is not mounted: mount -t debugfs none " + root);
	return root + "/" + file;
}
