// SPDX-License-Identifier: GPL-2.0
#include "guest.hpp"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include <errno.h>

#include "host.hpp"
#include "modules.hpp"
#include "proc.hpp"

bool in_guest()
{
	static const bool guest = kernel_parameter("execmem.guest") == "1" || !host_port().empty();

	return guest;
}

result need_guest()
{
	if (in_guest())
		return pass();
	return skip("only in a guest that is there to be tested (execmem.guest=1)");
}

result need_disruptive()
{
	const char *given = getenv("KSELFTEST_EXECMEM");
	const std::vector<std::string> asked = split(given ?: "", ',');

	if (in_guest())
		return pass();
	for (const std::string &name : { std::string("all"), std::string(program_invocation_short_name) })
		if (std::find(asked.begin(), asked.end(), name) != asked.end())
			return pass();
	return skip("disturbs others on this machine (KSELFTEST_EXECMEM=%s runs it)",
		    program_invocation_short_name);
}

result may_run(const std::string &name)
{
	const std::string file = self_dir() + "/list";
	const auto list = slurp(file);

	CHECK(list, "cannot read %s", file.c_str());
	for (const std::string &line : split(*list)) {
		const std::vector<std::string> w = words(line);

		if (w.size() < 3 || w[0] != name)
			continue;
		if (w[2] == "safe")
			return pass();
		if (w[2] == "disruptive")
			return need_disruptive();
		if (w[2] == "guest")
			return need_guest();
		return fail("%s: %s is of no known class: %s", file.c_str(), name.c_str(), w[2].c_str());
	}
	return fail("%s has no line for %s", file.c_str(), name.c_str());
}
