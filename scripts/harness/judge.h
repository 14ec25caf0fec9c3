/* SPDX-License-Identifier: GPL-2.0 */
/* The verdict on one run of the guest, from the files that it left behind. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

/* One test of the guest, as the result channel reported it. */
struct test_result {
	std::string name;
	std::string note;	/* what follows '#' in its result line */
	std::string said;	/* the last comment before it */
	unsigned passed = 0, failed = 0, skipped = 0;	/* its subtests */
	bool ok = false, skip = false;
	double seconds = 0;
	std::vector<test_result> subtests;
};

struct verdict {
	std::vector<test_result> tests;
	std::vector<std::string> problems;	/* empty: the run is good */
	std::vector<std::string> summary;	/* the guest's own closing lines */
};

/* What QEMU's exit status is after an orderly end of the guest. */
constexpr int orderly_exit = 85;

/* What the status is where QEMU has no device for that. */
constexpr const char *powered_off = "powered off";

std::string read_file(const std::string &path);
std::vector<std::string> lines_of(std::string_view text);

/* What an incomplete or complete result channel says. */
std::vector<test_result> parse_results(std::string_view ktap);

/* "TEST: CASE", or "TEST" for one that has no cases, and why it was skipped. */
struct skipped_case {
	std::string name, reason;
};

std::vector<skipped_case> skips_of(const std::vector<test_result> &tests);

/* The options of the kernel that a reason names. */
std::vector<std::string> options_in(const std::string &reason);

/*
 * Judges DIR/{console.log,result.ktap,status,host.log,config} with the help of
 * TREE/tools/testing/kunit/kunit.py; config is that of the kernel. With COMPLETE_IS_GOOD only whether the run
 * went to its end: what the tests say is somebody else's to judge.
 */
verdict judge(const std::string &dir, const std::string &tree, bool complete_is_good = false);

/* Prints tests, summary and problems; returns true when the run is good. */
bool print_verdict(const verdict &v);
