// SPDX-License-Identifier: GPL-2.0
/*
 * Compares what two kernels said to the same tests, test by test.
 *
 * usage: compare --list TESTS [--again FILE] STOCK PATCHED [STOCK2 PATCHED2]
 *
 * The results are those of run-guest, TESTS is its list: what has to be in both.
 * A test differs when one passed and the other did not, when the note behind
 * its '#' is another one, or when only one of them has it. Tests that differ go
 * to FILE, with commas between; STOCK2 and PATCHED2 are results of running just
 * these once more. One that is then the same is called unstable: it is shown
 * and it is no failure, if the patched kernel has passed it where the stock one has.
 *
 * Exit status: 0 all the same; 1 a difference, a test that did not come to its end
 * on either kernel, or a suite in which nothing passed; 2 it cannot be told.
 */
#include "judge.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include <getopt.h>

namespace {

using outcomes = std::map<std::string, std::string>;	/* "suite/test": "ok", "FAIL ..", "SKIP .." */

struct suite_counts {
	unsigned tests = 0, same = 0, differ = 0, unstable = 0, passed = 0, failed = 0, skipped = 0;
	bool passed_on_stock = false, passed_on_patched = false;
};

[[noreturn]] void die(const std::string &why)
{
	fprintf(stderr, "compare: %s\n", why.c_str());
	exit(2);
}

std::string outcome(const test_result &r)
{
	const std::string word = r.skip ? "" : r.ok ? "ok" : "FAIL";

	return word + (word.empty() || r.note.empty() ? "" : " ") + r.note;
}

outcomes read_outcomes(const std::string &path, const std::set<std::string> &suites)
{
	const std::string text = read_file(path);
	outcomes all;

	if (text.empty())
		die(path + ": no such results, or none in them");
	for (const auto &suite : parse_results(text)) {
		if (!suites.contains(suite.name))
			continue;
		for (const auto &test : suite.subtests)
			if (!all.emplace(suite.name + "/" + test.name, outcome(test)).second)
				die(path + ": two results for " + suite.name + "/" + test.name);
		/* how the suite ended as a whole, when its tests do not say it */
		if (suite.subtests.empty() || suite.note.starts_with("TIMEOUT") ||
		    suite.note.starts_with("killed"))
			all[suite.name + "/(the suite itself)"] = outcome(suite);
	}
	return all;
}

std::string look_up(const outcomes &all, const std::string &test)
{
	const auto found = all.find(test);

	return found == all.end() ? "no result" : found->second;
}

[[noreturn]] void usage()
{
	fputs("usage: compare --list TESTS [--again FILE] STOCK PATCHED [STOCK2 PATCHED2]\n", stderr);
	exit(2);
}

} // namespace

int main(int argc, char **argv)
{
	static const option options[] = {
		{ "list", 1, nullptr, 'l' }, { "again", 1, nullptr, 'a' }, {}
	};
	std::string list, again;
	std::set<std::string> suites, tests;

	for (int c; (c = getopt_long(argc, argv, "", options, nullptr)) != -1; ) {
		switch (c) {
		case 'l': list = optarg; break;
		case 'a': again = optarg; break;
		default: usage();
		}
	}
	if (list.empty() || (argc - optind != 2 && argc - optind != 4))
		usage();
	for (const auto &line : lines_of(read_file(list)))
		if (!line.empty() && line[0] != '#')
			suites.insert(line.substr(0, line.find_first_of(" \t")));
	if (suites.empty())
		die(list + ": no tests in it");

	const bool rerun = argc - optind == 4;
	const outcomes stock = read_outcomes(argv[optind], suites);
	const outcomes patched = read_outcomes(argv[optind + 1], suites);
	const outcomes stock2 = rerun ? read_outcomes(argv[optind + 2], suites) : outcomes();
	const outcomes patched2 = rerun ? read_outcomes(argv[optind + 3], suites) : outcomes();
	std::map<std::string, suite_counts> counts;
	std::string differing;
	bool good = true;

	for (const auto &all : { &stock, &patched })
		for (const auto &[test, what] : *all)
			tests.insert(test);
	printf("%-64s %-28s %-28s\n", "test", "stock", "patched");
	for (const auto &test : tests) {
		const std::string a = look_up(stock, test), b = look_up(patched, test);
		suite_counts &c = counts[test.substr(0, test.find('/'))];
		std::string verdict;

		c.tests++;
		c.passed_on_stock |= a == "ok";
		c.passed_on_patched |= b == "ok";
		if (a == b) {
			c.same++;
			(a == "ok" ? c.passed : a.starts_with("SKIP") ? c.skipped : c.failed)++;
		} else if (rerun && stock2.contains(test) && patched2.contains(test) &&
			   stock2.at(test) == patched2.at(test) &&
			   (a != "ok" || patched2.at(test) == "ok")) {
			c.unstable++;
			verdict = " UNSTABLE, the second time both: " + stock2.at(test);
		} else {
			c.differ++;
			verdict = " DIFFERS";
			if (rerun)
				verdict += ", the second time " + look_up(stock2, test) + " and " +
					   look_up(patched2, test);
			differing += (differing.empty() ? "" : ",") + test;
			good = false;
		}
		printf("%-64s %-28s %-28s%s\n", test.c_str(), a.c_str(), b.c_str(), verdict.c_str());
	}

	printf("\n%-14s %6s %6s %8s %8s   %s\n", "suite", "tests", "same", "differ", "unstable",
	       "of the same: passed, failed, skipped");
	for (const auto &suite : suites) {
		const suite_counts &c = counts[suite];

		printf("%-14s %6u %6u %8u %8u   %u, %u, %u\n", suite.c_str(), c.tests, c.same, c.differ,
		       c.unstable, c.passed, c.failed, c.skipped);
	}
	/* The same on both kernels, and yet it says nothing about them. */
	for (const auto &test : tests) {
		const std::string a = look_up(stock, test);

		if (a != look_up(patched, test) || a.find("TIMEOUT") == a.npos)
			continue;
		printf("PROBLEM: %s: %s on both kernels\n", test.c_str(), a.c_str());
		good = false;
	}
	for (const auto &suite : suites) {
		const suite_counts &c = counts[suite];

		if (c.passed_on_stock && c.passed_on_patched)
			continue;
		printf("PROBLEM: %s: nothing passed on the %s kernel\n", suite.c_str(),
		       c.passed_on_stock ? "patched" : "stock");
		good = false;
	}
	if (!again.empty() && !(std::ofstream(again) << differing))
		die(again + ": cannot be written");
	printf("compare: %s\n", good ? "the same" : "DIFFERENT");
	return good ? 0 : 1;
}
