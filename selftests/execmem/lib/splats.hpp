/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What must not be in the kernel's log, whatever the tests say: one list, for
 * the harness, which reads the console from outside, for its runner of the
 * tree's own suites, and for the tests, which read /dev/kmsg where the console
 * is off.
 */
#ifndef EXECMEM_SPLATS_HPP
#define EXECMEM_SPLATS_HPP

#include <regex>
#include <string>
#include <vector>

/*
 * "WARNING: " and "BUG: " take lockdep, KASAN, kmemleak's own faults and soft
 * lockups along. A leak detector that switches itself off finds no leak.
 */
inline constexpr const char *splat_pattern =
	"BUG: |BUG at |WARNING: |\\bOops[: ]|Kernel panic|Call Trace:|Call trace:|"
	"general protection fault|[Uu]nable to handle |Internal error: |"
	"rcu: INFO: |self-detected stall|detected stalls|blocked for more than|"
	"possible recursive locking|inconsistent lock state|suspicious RCU usage|"
	"sleeping function called|scheduling while atomic|kmemleak: [1-9][0-9]* new|"
	"leak detector disabled|"
	"KASAN: |UBSAN: |invalid opcode: |segfault at .*init|"
	"FAILED, [0-9]* W\\+X pages|insecure W\\+X|ODEBUG: ";

inline bool is_splat(const std::string &line)
{
	/* the command line, repeated in the log, must not look like a splat */
	static const std::regex splat(splat_pattern), harmless("Kernel command line|Command line: ");

	return std::regex_search(line, splat) && !std::regex_search(line, harmless);
}

/*
 * The splats among @lines that nobody expects. @expected is a pattern of the
 * messages that a test provokes; each of them may have one stack dump below it,
 * and a stack dump below anything else is a splat.
 */
inline std::vector<std::string> unexpected_splats(const std::vector<std::string> &lines,
						  const std::string &expected)
{
	static const std::regex dump("Call [Tt]race:");
	const std::regex known(expected);
	std::vector<std::string> found;
	size_t dumps = 0;

	for (const std::string &line : lines) {
		if (!expected.empty() && std::regex_search(line, known))
			dumps++;
		else if (std::regex_search(line, dump) && dumps)
			dumps--;
		else if (is_splat(line))
			found.push_back(line);
	}
	return found;
}

#endif /* EXECMEM_SPLATS_HPP */
