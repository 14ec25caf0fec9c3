// SPDX-License-Identifier: GPL-2.0
/* The KUnit suites that this kernel has run, one case for each. */
#include <algorithm>
#include <string>
#include <vector>

#include <dirent.h>

#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"

int main()
{
	std::vector<test_case> cases;
	std::string root = debugfs("kunit");

	/* Which suites there are is for the kernel that is booted to say. */
	if (only_listed()) {
		puts("*");
		return 0;
	}
	/* Suites of ours may be a module. */
	if (have_modules() && !module_path("execmem_kunit").empty())
		load_module("execmem_kunit");
	if (DIR *d = opendir(root.c_str())) {
		while (dirent *e = readdir(d)) {
			std::string suite = e->d_name;

			if (suite[0] == '.')
				continue;
			cases.push_back({ suite, [=] {
				std::string text = read_or_fail(root + "/" + suite + "/results");
				bool ok = false;

				for (const std::string &l : split(text)) {
					/* what a case has to say */
					if (l.starts_with("    # ") && l.find(" takes ") != l.npos)
						diag("%s", l.substr(6).c_str());
					if (l.starts_with("ok ")) {
						ok = true;
						if (l.find("# SKIP") != l.npos)
							return skip("%s", l.substr(l.find("# SKIP") + 6).c_str());
					}
					if (text.find("not ok ") != text.npos)
						diag("%s", l.c_str());
				}
				CHECK(ok && text.find("not ok ") == text.npos, "suite %s failed", suite.c_str());
				return pass();
			} });
		}
		closedir(d);
	}
	std::sort(cases.begin(), cases.end(), [](const test_case &a, const test_case &b) { return a.name < b.name; });
	if (cases.empty())
		cases.push_back({ "suites", [] { return skip("CONFIG_KUNIT is not set, or no suite has run"); } });
	return run_cases(cases);
}
