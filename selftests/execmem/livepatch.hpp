/* SPDX-License-Identifier: GPL-2.0 */
/* Livepatches come and go. */
#ifndef EXECMEM_LIVEPATCH_HPP
#define EXECMEM_LIVEPATCH_HPP

#include "common.hpp"

static inline result need_livepatch()
{
	if (!have_modules())
		return skip("CONFIG_MODULES is not set");
	if (!exists("/sys/kernel/livepatch"))
		return skip("CONFIG_LIVEPATCH is not set");
	TRY(need_module("execmem_test"));
	return need_module("execmem_klp");
}

static inline bool patch_settled(const std::string &patch = "execmem_klp")
{
	return trim(slurp("/sys/kernel/livepatch/" + patch + "/transition").value_or("0")) == "0";
}

static inline result remove_patch(const std::string &patch = "execmem_klp")
{
	std::string dir = "/sys/kernel/livepatch/" + patch;
	int err = spit(dir + "/enabled", "0");

	CHECK(!err, "disable: %s", strerror(-err));
	CHECK(wait_for(30000, [&] { return !exists(dir); }),
	      "the patch is still in transition");
	CHECK(wait_for(5000, [&] { return unload_module(patch) == 0; }), "cannot unload %s", patch.c_str());
	return pass();
}

#endif /* EXECMEM_LIVEPATCH_HPP */
