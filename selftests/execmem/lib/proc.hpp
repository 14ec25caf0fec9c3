/* SPDX-License-Identifier: GPL-2.0 */
/* Files, processes, time: what reading and writing /proc and /sys takes. */
#ifndef EXECMEM_PROC_HPP
#define EXECMEM_PROC_HPP

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "types.hpp"

s64 now_ms();

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
	unique_fd &operator=(unique_fd &&o) noexcept;
	~unique_fd() { if (fd >= 0) close(fd); }
	explicit operator bool() const { return fd >= 0; }
};

bool exists(const std::string &path);

/* Nothing when it cannot be read. */
std::optional<std::string> slurp(const std::string &path);

/* What ends the case that needed it, as a failure: a file that cannot be read is never an empty one. */
struct cannot_read : std::runtime_error {
	using runtime_error::runtime_error;
};

std::string read_or_fail(const std::string &path);

/* The same, but "" where there is no such file, if that is an answer. */
std::string read_if_there(const std::string &path);

/* Write @text in one write(2); 0 or -errno. */
int spit(const std::string &path, std::string_view text, int flags = O_WRONLY);

int append(const std::string &path, std::string_view text);

std::vector<std::string> split(std::string_view text, char sep = '\n');

std::vector<std::string> words(std::string_view text);

std::string trim(std::string s);

/* The value of "NAME=" on the kernel's command line; of several the last. */
std::optional<std::string> kernel_parameter(const std::string &name);

/* How much slower than others this kernel is, as the harness says: execmem.slow=N. */
unsigned int slow();

/* Poll @done for up to @ms, or longer where all is slow; some memory is freed from RCU and workqueues. */
bool wait_for(unsigned int ms, const std::function<bool()> &done);

/* What a program prints; the guest has no shell. */
std::string output_of(std::vector<std::string> command);

/* Root sees addresses in kallsyms and vmallocinfo only with kptr_restrict=1. */
void show_pointers();

std::string tracefs(const std::string &file = "");

std::string debugfs(const std::string &file);

#endif /* EXECMEM_PROC_HPP */
