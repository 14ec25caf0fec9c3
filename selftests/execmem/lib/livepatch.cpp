// SPDX-License-Identifier: GPL-2.0
#include "livepatch.hpp"

#include <cstring>

#include "modules.hpp"
#include "proc.hpp"

result need_livepatch()
{
	if (!have_modules())
		return skip("CONFIG_MODULES is not set");
	if (!exists("/sys/kernel/livepatch"))
		return skip("CONFIG_LIVEPATCH is not set");
	TRY(need_module("execmem_test"));
	return need_module("execmem_klp");
}

bool patch_settled(const std::string &patch)
{
	return trim(slurp("/sys/kernel/livepatch/" + patch + "/transition").value_or("0")) == "0";
}

result remove_patch(const std::string &patch)
{
	std::string dir = "/sys/kernel/livepatch/" + patch;
	int err = spit(dir + "/enabled", "0");

	CHECK(!err, "disable: %s", strerror(-err));
	CHECK(wait_for(30000, [&] { return !exists(dir); }),
	      "the patch is still in transition");
	CHECK(wait_for(5000, [&] { return unload_module(patch) == 0; }), "cannot unload %s", patch.c_str());
	return pass();
}
