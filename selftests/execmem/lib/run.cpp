// SPDX-License-Identifier: GPL-2.0
#include "run.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <set>

#include <errno.h>
#include <unistd.h>

#include "guest.hpp"
#include "kselftest.h"
#include "modules.hpp"
#include "proc.hpp"
#include "settings.hpp"

/* What follows the name of the program on its command line. */
static std::vector<std::string> arguments()
{
	std::vector<std::string> words = split(read_or_fail("/proc/self/cmdline"), '\0');

	if (!words.empty())
		words.erase(words.begin());
	return words;
}

std::vector<std::string> asked_for()
{
	std::vector<std::string> names = arguments();

	std::erase(names, "--list");
	return names;
}

bool only_listed()
{
	const std::vector<std::string> words = arguments();

	return std::find(words.begin(), words.end(), "--list") != words.end();
}

/*
 * "execmem_mutant=FUNCTION[:VALUE]" on the kernel's command line: let FUNCTION
 * do nothing and return VALUE, to see the tests fail.
 */
static int load_mutant()
{
	std::string cmdline = read_or_fail("/proc/cmdline");
	const std::string key = "execmem_mutant=";
	size_t at = cmdline.find(key);

	if (at == cmdline.npos || module_loaded("execmem_skip"))
		return 0;
	std::string what = cmdline.substr(at + key.size());
	what.resize(std::min(what.find_first_of(" \n"), what.size()));
	size_t colon = what.find(':');
	std::string params = "func=" + what.substr(0, colon);
	if (colon != what.npos)
		params += " ret=" + what.substr(colon + 1);
	int err = load_module("execmem_skip", params);
	diag("deliberately broken kernel, %s: %s", params.c_str(), err ? strerror(-err) : "yes");
	return err;
}

/* Those of @cases that were asked for, with what prepares them; or what is wrong with the request. */
static result chosen(const std::vector<test_case> &cases, std::vector<test_case> &some)
{
	const std::vector<std::string> names = asked_for();
	std::set<std::string> wanted(names.begin(), names.end());
	std::string known;

	for (const test_case &c : cases)
		known += (known.empty() ? "" : ", ") + c.name;
	for (const std::string &name : names)
		CHECK(std::any_of(cases.begin(), cases.end(), [&](const test_case &c) { return c.name == name; }),
		      "no case '%s' in %s: it has %s", name.c_str(), program_invocation_short_name, known.c_str());
	/* What prepares a case stands above it. */
	for (auto c = cases.rbegin(); c != cases.rend(); ++c)
		if (wanted.count(c->name) && !c->after.empty())
			wanted.insert(c->after);
	for (const test_case &c : cases)
		if (names.empty() || wanted.count(c.name))
			some.push_back(c);
	return pass();
}

/* What keeps all of the test from running is one line. */
static int not_run(const result &why)
{
	if (why.verdict == result::SKIP) {
		printf("KTAP version 1\n1..0 # SKIP %s\n", why.why.c_str());
		return KSFT_SKIP;
	}
	printf("KTAP version 1\n1..1\n# %s\nnot ok 1 may_run\n", why.why.c_str());
	return KSFT_FAIL;
}

result run_case(const std::function<result()> &run)
{
	try {
		return run();
	} catch (const std::exception &e) {
		return fail("%s", e.what());
	}
}

int run_cases(const std::vector<test_case> &all)
{
	unsigned int n = 0, failed = 0, skipped = 0;
	std::vector<test_case> cases;

	setvbuf(stdout, nullptr, _IOLBF, 0);
	if (only_listed()) {
		for (const test_case &c : all)
			printf("%s\n", c.name.c_str());
		return KSFT_PASS;
	}
	if (result r = chosen(all, cases); r.verdict != result::PASS)
		return not_run(r);
	if (result r = may_run(program_invocation_short_name); r.verdict != result::PASS)
		return not_run(r);
	if (geteuid())
		return not_run(skip("only root can ask the kernel all this"));
	restore_when_done restore;
	printf("KTAP version 1\n1..%zu\n", cases.size());
	if (load_mutant())
		failed++;
	for (const test_case &c : cases) {
		s64 start = now_ms();
		result r = run_case(c.run);
		s64 took = now_ms() - start;

		n++;
		if (took >= 5000)
			diag("%s took %lld s", c.name.c_str(), (long long)took / 1000);
		switch (r.verdict) {
		case result::PASS:
			printf("ok %u %s\n", n, c.name.c_str());
			break;
		case result::SKIP:
			skipped++;
			printf("ok %u %s # SKIP %s\n", n, c.name.c_str(), r.why.c_str());
			break;
		case result::FAIL:
			failed++;
			diag("%s: %s", c.name.c_str(), r.why.c_str());
			printf("not ok %u %s\n", n, c.name.c_str());
			break;
		}
	}
	fflush(stdout);
	if (failed)
		return KSFT_FAIL;
	return n && skipped == n ? KSFT_SKIP : KSFT_PASS;
}
