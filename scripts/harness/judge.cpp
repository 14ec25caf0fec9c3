// SPDX-License-Identifier: GPL-2.0
#include "judge.h"
#include "splats.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <utility>

#include <sys/wait.h>

std::string read_file(const std::string &path)
{
	std::ifstream in(path, std::ios::binary);
	std::ostringstream text;

	text << in.rdbuf();
	return text.str();
}

std::vector<std::string> lines_of(std::string_view text)
{
	std::vector<std::string> lines;

	while (!text.empty()) {
		const size_t end = text.find('\n');
		std::string line(text.substr(0, end));

		while (!line.empty() && line.back() == '\r')
			line.pop_back();
		lines.push_back(std::move(line));
		if (end == text.npos)
			break;
		text.remove_prefix(end + 1);
	}
	return lines;
}

/* What init.cpp puts before the name of a test. */
static constexpr std::string_view suite = "selftests: execmem: ";

/* A result line without its indentation; false when it is something else. */
static bool parse_result_line(std::string_view line, test_result &result)
{
	result.ok = line.starts_with("ok ");
	if (!result.ok && !line.starts_with("not ok "))
		return false;
	line.remove_prefix(result.ok ? 3 : 7);

	const size_t digits = line.find_first_not_of("0123456789");

	if (digits == 0)
		return false;
	line.remove_prefix(digits == line.npos ? line.size() : digits);

	const size_t hash = line.find('#');
	std::string_view name = line.substr(0, hash);

	while (name.starts_with(' ') || name.starts_with('-'))
		name.remove_prefix(1);
	while (name.ends_with(' '))
		name.remove_suffix(1);
	if (name.starts_with(suite))
		name.remove_prefix(suite.size());
	result.name = name;
	if (hash != line.npos) {
		line.remove_prefix(hash + 1);
		while (line.starts_with(' '))
			line.remove_prefix(1);
		result.note = line;
		result.skip = line.starts_with("SKIP");
	}
	return true;
}

std::vector<test_result> parse_results(std::string_view ktap)
{
	std::vector<test_result> tests;
	test_result current;
	std::string said;

	for (const auto &line : lines_of(ktap)) {
		test_result r;
		double seconds;
		char name[256];

		if (sscanf(line.c_str(), "# time %255s %lf", name, &seconds) == 2) {
			current.seconds = seconds;
		} else if (line.starts_with("  # ")) {
			said = line.substr(4);
		} else if (line.starts_with("  ") && !line.starts_with("   ") &&
			   parse_result_line(std::string_view(line).substr(2), r)) {
			(r.skip ? current.skipped : r.ok ? current.passed : current.failed)++;
			r.said = std::exchange(said, "");
			current.subtests.push_back(r);
		} else if (parse_result_line(line, r)) {
			r.passed = current.passed;
			r.failed = current.failed;
			r.skipped = current.skipped;
			r.seconds = current.seconds;
			r.subtests = std::move(current.subtests);
			tests.push_back(r);
			current = {};
			said.clear();
		}
	}
	return tests;
}

/* The numbers of the lines that complain. */
static std::vector<size_t> find_splats(const std::vector<std::string> &console)
{
	std::vector<size_t> found;

	for (size_t i = 0; i < console.size(); i++)
		if (is_splat(console[i]))
			found.push_back(i);
	return found;
}

/* Begins one more line about a problem. */
static constexpr std::string_view more = "\n    > ";

static std::string quoted(const std::string &path)
{
	std::string q = "'";

	for (char c : path)
		q += c == '\'' ? std::string("'\\''") : std::string(1, c);
	return q + "'";
}

/* Returns what kunit.py says against the document; empty when it is content. */
static std::string ask_kunit(const std::string &file, const std::string &tree)
{
	const std::string command = "cd " + quoted(tree) +
		" && python3 tools/testing/kunit/kunit.py parse " + quoted(file) + " 2>&1";
	std::string last, text;
	char buffer[4096];
	FILE *pipe = popen(command.c_str(), "r");

	if (!pipe)
		return "kunit.py could not be started";
	while (fgets(buffer, sizeof(buffer), pipe))
		text += buffer;

	const int status = pclose(pipe);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return "";
	/* its lines begin with the time of day */
	for (const auto &line : lines_of(text))
		if (line.find("Testing complete") != line.npos || line.find("rror: ") != line.npos)
			last = line.starts_with("[") ? line.substr(line.find("] ") + 2) : line;
	return "kunit.py parse refuses the results" + (last.empty() ? "" : ": " + last);
}

std::vector<skipped_case> skips_of(const std::vector<test_result> &tests)
{
	std::vector<skipped_case> skips;
	auto add = [&skips](const std::string &name, const std::string &note) {
		skips.push_back({ name, note.substr(std::min(note.find_first_not_of(' ', 4), note.size())) });
	};

	for (const auto &t : tests) {
		if (t.skip && t.subtests.empty())
			add(t.name, t.note);
		for (const auto &sub : t.subtests)
			if (sub.skip)
				add(t.name + ": " + sub.name, sub.note);
	}
	return skips;
}

std::vector<std::string> options_in(const std::string &reason)
{
	static const std::regex option("CONFIG_[A-Z0-9_]+");

	return { std::sregex_token_iterator(reason.begin(), reason.end(), option), {} };
}

/*
 * A test that says which option is missing is asked no further only when that is
 * true: a file that was not packed, or a file of debugfs that is gone, looks the
 * same from inside. Of several options one has to be off.
 */
static void judge_skips(const std::vector<test_result> &tests, const std::string &dir, verdict &v)
{
	const std::string file = dir + "/config";
	const std::string config = "\n" + read_file(file);

	for (const auto &skip : skips_of(tests)) {
		const auto options = options_in(skip.reason);

		/* run-guest opened it. */
		if (skip.reason.starts_with("no host channel")) {
			v.problems.push_back("skipped without reason: " + skip.name + ": " + skip.reason);
			continue;
		}
		if (options.empty())
			continue;
		if (config.size() == 1) {
			v.problems.push_back("no configuration of the kernel to see whether it is true: " +
					     skip.name + " is skipped, " + skip.reason);
			return;
		}
		const auto is_off = [&config](const std::string &option) {
			return config.find("\n" + option + "=") == config.npos;
		};
		/* "A and B are not set": neither of them. */
		if (skip.reason.find(" are not set") == skip.reason.npos ?
		    std::any_of(options.begin(), options.end(), is_off) :
		    std::all_of(options.begin(), options.end(), is_off))
			continue;
		v.problems.push_back("skipped without reason: " + skip.name + ": " + skip.reason + " (the kernel has " +
				     *std::find_if_not(options.begin(), options.end(), is_off) + ")");
	}
}

verdict judge(const std::string &dir, const std::string &tree, bool complete_is_good)
{
	const std::string ktap = read_file(dir + "/result.ktap");
	std::string status = read_file(dir + "/status");
	verdict v;

	while (status.ends_with('\n'))
		status.pop_back();
	v.tests = parse_results(ktap);

	if (status != "exited " + std::to_string(orderly_exit) && status != powered_off)
		v.problems.push_back("guest did not end in an orderly way: " +
				     (status.empty() ? "no exit status" : status));
	if (const auto said = lines_of(read_file(dir + "/qemu.log")); !v.problems.empty() && !said.empty())
		v.problems.push_back("QEMU says: " + said[0]);
	if (ktap.find("\n# end-of-run\n") == ktap.npos)
		v.problems.push_back("result channel has no end marker");
	if (complete_is_good)
		return v;

	for (const auto &t : v.tests) {
		if (t.ok && !t.failed)
			continue;
		std::string problem = "failed: " + t.name + (t.note.empty() ? "" : " (" + t.note + ")");

		for (const auto &sub : t.subtests)
			if (!sub.ok)
				problem += std::string(more) + sub.name + (sub.said.empty() ? "" : ": " + sub.said);
		v.problems.push_back(problem);
	}

	judge_skips(v.tests, dir, v);

	if (const std::string complaint = ask_kunit(std::filesystem::absolute(dir) / "result.ktap",
							 tree); !complaint.empty())
		v.problems.push_back(complaint);

	const auto console = lines_of(read_file(dir + "/console.log"));
	const auto found = find_splats(console);

	for (size_t i = 0; i < found.size() && i < 5; i++) {
		std::string problem = "splat in the console log: " + console[found[i]];

		/* The first one is the one to look at. */
		for (size_t n = found[i] - std::min<size_t>(found[i], 4);
		     i == 0 && n < std::min(console.size(), found[i] + 16); n++)
			problem += std::string(more) + console[n];
		v.problems.push_back(problem);
	}
	if (found.size() > 5)
		v.problems.push_back("... and " + std::to_string(found.size() - 5) + " more splat lines");

	for (const auto &line : lines_of(read_file(dir + "/host.log")))
		if (line.starts_with("summary "))
			v.summary.push_back(line.substr(8));
	return v;
}

bool print_verdict(const verdict &v)
{
	printf("\n%-28s %-6s %7s %7s %7s %8s\n", "test", "result", "passed", "failed", "skipped",
	       "seconds");
	for (const auto &t : v.tests) {
		printf("%-28s %-6s %7u %7u %7u %8.1f", t.name.c_str(),
		       t.skip ? "SKIP" : t.ok && !t.failed ? "ok" : "FAIL",
		       t.passed, t.failed, t.skipped, t.seconds);
		printf(t.note.empty() ? "\n" : "  # %s\n", t.note.c_str());
	}
	if (!v.summary.empty())
		printf("\nWhere run-time text lies:\n");
	for (const auto &line : v.summary)
		printf("  %s\n", line.c_str());
	printf("\n");
	for (const auto &problem : v.problems)
		printf("PROBLEM: %s\n", problem.c_str());
	return v.problems.empty();
}
