// SPDX-License-Identifier: GPL-2.0
/*
 * The KUnit suites that this kernel has run, one case for each. Those that the
 * tests count on have to be there: a suite that is not built in, not linked or
 * not registered leaves nothing behind that could fail.
 */
#include <map>
#include <set>
#include <string>
#include <vector>

#include <dirent.h>

#include "arch.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"

struct known_suite {
	std::string option;
	size_t cases = 0;	/* of ours: how many it has */
};

static const std::map<std::string, known_suite> wanted = {
	{ "execmem", { "CONFIG_EXECMEM_KUNIT_TEST", 22 } },
	{ "kprobes_test", { "CONFIG_KPROBES_SANITY_TEST" } },
	{ "vmalloc", { "CONFIG_VMALLOC_KUNIT_TEST", 2 } },
};

/*
 * May a case of a suite be skipped? In a guest that was told to run all of them
 * there is memory, and there may only be no pool, or nothing that the
 * architecture could run.
 */
static bool may_skip(const std::string &line)
{
	if (kernel_parameter("execmem_kunit.long") != "1")
		return true;
	if (line.find("no pool on this architecture") != line.npos || line.find("the pool is off") != line.npos)
		return !have_pool();
	return line.find("no machine code for this architecture") != line.npos;
}

static std::string root()
{
	return debugfs("kunit");
}

static result results_of(const std::string &suite)
{
	auto text = slurp(root() + "/" + suite + "/results");
	bool ok = false;

	/* the harness knows whether that is true */
	if (!text && wanted.count(suite))
		return skip("%s is not set, or KUnit is off (no suite %s)", wanted.at(suite).option.c_str(), suite.c_str());
	CHECK(text, "the results of suite %s cannot be read", suite.c_str());
	size_t cases = 0;
	for (const std::string &l : split(*text)) {
		/* what a case has to say, and what it has not looked at */
		if (l.starts_with("    # ") && l.find(" takes ") != l.npos)
			diag("%s", l.substr(6).c_str());
		cases += l.starts_with("    ok ") || l.starts_with("    not ok ");
		if (l.starts_with("    ok ") && l.find("# SKIP") != l.npos) {
			diag("%s", l.substr(4).c_str());
			CHECK(may_skip(l), "a case was skipped without reason");
		}
		if (l.starts_with("ok ")) {
			ok = true;
			if (l.find("# SKIP") != l.npos)
				return skip("%s", l.substr(l.find("# SKIP") + 6).c_str());
		}
		if (text->find("not ok ") != text->npos)
			diag("%s", l.c_str());
	}
	CHECK(ok && text->find("not ok ") == text->npos, "suite %s failed", suite.c_str());
	if (wanted.count(suite) && wanted.at(suite).cases)
		CHECK(cases == wanted.at(suite).cases, "suite %s has %zu cases, expected %zu", suite.c_str(), cases,
		      wanted.at(suite).cases);
	return pass();
}

int main()
{
	std::vector<test_case> cases;
	std::set<std::string> suites;

	/* Which suites there are is for the kernel that is booted to say. */
	if (only_listed()) {
		puts("*");
		return 0;
	}
	for (const auto &[suite, what] : wanted)
		suites.insert(suite);
	/* Suites of ours may be a module. */
	if (have_modules() && !module_path("execmem_kunit").empty())
		load_module("execmem_kunit");
	if (DIR *d = opendir(root().c_str())) {
		while (dirent *e = readdir(d))
			if (e->d_name[0] != '.')
				suites.insert(e->d_name);
		closedir(d);
	}
	for (const std::string &suite : suites)
		cases.push_back({ suite, [=] { return results_of(suite); } });
	return run_cases(cases);
}
