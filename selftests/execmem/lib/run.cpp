// SPDX-License-Identifier: GPL-2.0
#include "run.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>

#include "kselftest.h"
#include "modules.hpp"
#include "proc.hpp"

int load_mutant()
{
	std::string cmdline = slurp("/proc/cmdline").value_or("");
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

/* A helper that cannot look throws. */
static result attempt(const test_case &c)
{
	try {
		return c.run();
	} catch (const std::exception &e) {
		return fail("%s", e.what());
	}
}

int run_cases(const std::vector<test_case> &cases)
{
	unsigned int n = 0, failed = 0, skipped = 0;

	setvbuf(stdout, nullptr, _IOLBF, 0);
	printf("KTAP version 1\n1..%zu\n", cases.size());
	if (load_mutant())
		failed++;
	for (const test_case &c : cases) {
		s64 start = now_ms();
		result r = attempt(c);
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
