/* SPDX-License-Identifier: GPL-2.0 */
/* Kprobes as events of tracefs. */
#ifndef EXECMEM_KPROBES_HPP
#define EXECMEM_KPROBES_HPP

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kallsyms.hpp"
#include "proc.hpp"
#include "types.hpp"

bool have_kprobe_events();

/* The getppid system call: tests can call it and hardly anybody else does. */
std::string getppid_symbol(const kallsyms &ks);

/*
 * All names of the function @name: where two share an address, as the entries
 * of a system call do, the kernel prints either.
 */
std::vector<std::string> aliases(const std::string &name);

/* A line of debugfs kprobes/list for a probe at @symbol + @off, or "". */
std::string kprobe_line(const std::string &symbol, unsigned int off);

/* A kprobe event; gone with the object. */
struct kprobe_event {
	std::string name, symbol;
	unsigned int offset = 0;
	int err = -ENOENT;

	/* @what: "SYMBOL+OFFSET" or "MODULE:SYMBOL"; @type: "p" or "r". */
	kprobe_event(const std::string &n, const std::string &what, const char *type = "p");

	~kprobe_event() { remove(); }
	kprobe_event(const kprobe_event &) = delete;
	kprobe_event &operator=(const kprobe_event &) = delete;

	std::string dir() const { return tracefs("events/execmem/" + name); }
	int enable(bool on) const { return spit(dir() + "/enable", on ? "1" : "0"); }

	int remove();

	/* Of the probe kprobe_inside() made. */
	bool optimised() const;

	/* Hits and misses of kprobe_profile, -1 when it has no such event. */
	std::pair<s64, s64> counts() const;
};

/* Remove all kprobe events of @group, and no others. Return: 0 or the first -errno. */
int remove_kprobe_events(const std::string &group);

/*
 * Where instructions start in the first bytes of @symbol ("SYMBOL" or
 * "MODULE:SYMBOL"), for the architectures with instructions of several lengths
 * whose 6.1 kernel puts a breakpoint into the middle of one if it is told to.
 * Nothing: the kernel refuses those itself.
 */
std::optional<std::set<unsigned int>> instructions(const std::string &symbol, unsigned int len);

/*
 * Offsets behind the entry and below @len at which it is worth trying to set a
 * kprobe on @symbol; which are those of instructions is for the kernel to say,
 * but see instructions().
 */
std::vector<unsigned int> offsets_to_try(const std::string &symbol, unsigned int len);

/* Kprobes that are set and not enabled, as many as a function takes, in a group of their own. */
class kprobe_set {
	std::string group;
	std::vector<std::string> names;

public:
	explicit kprobe_set(const std::string &g) : group(g) { }
	~kprobe_set() { remove(); }
	kprobe_set(const kprobe_set &) = delete;
	kprobe_set &operator=(const kprobe_set &) = delete;

	/* In the first 80 bytes of @symbol, until there are @most. */
	void fill(const std::string &symbol, size_t most = -1);

	size_t size() const { return names.size(); }

	/* 0 or the first -errno. */
	int remove();
};

/*
 * An enabled kprobe behind the entry of @symbol: at the entry it would be
 * handled by ftrace and need no instruction slot.  Which offsets are
 * instruction boundaries is for the kernel to say.
 */
std::unique_ptr<kprobe_event> kprobe_inside(const std::string &name, const std::string &symbol,
					    unsigned int first = 1, unsigned int last = 40);

/* The same, at a place where it becomes jump-optimised. */
std::unique_ptr<kprobe_event> kprobe_optimised(const std::string &name, const std::string &symbol);

#endif /* EXECMEM_KPROBES_HPP */
