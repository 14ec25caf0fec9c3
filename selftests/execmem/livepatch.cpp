// SPDX-License-Identifier: GPL-2.0
/* Livepatch of a function of a module and of the image, in either order of loading. */
#include <memory>

#include "common.hpp"

static result need_livepatch()
{
	if (!have_modules())
		return skip("CONFIG_MODULES is not set");
	if (!exists("/sys/kernel/livepatch"))
		return skip("CONFIG_LIVEPATCH is not set");
	TRY(need_module("execmem_test"));
	return need_module("execmem_klp");
}

static bool settled()
{
	return trim(slurp("/sys/kernel/livepatch/execmem_klp/transition").value_or("0")) == "0";
}

static std::string target()
{
	return module_param("execmem_test", "target");
}

static bool image_patched()
{
	return slurp("/proc/cmdline").value_or("") == "execmem livepatch\n";
}

static result remove_patch()
{
	int err = spit("/sys/kernel/livepatch/execmem_klp/enabled", "0");

	CHECK(!err, "disable: %s", strerror(-err));
	CHECK(wait_for(30000, [] { return !exists("/sys/kernel/livepatch/execmem_klp"); }),
	      "the patch is still in transition");
	CHECK(wait_for(5000, [] { return unload_module("execmem_klp") == 0; }), "cannot unload execmem_klp");
	return pass();
}

static result patch_loaded_module()
{
	TRY(need_livepatch());
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	CHECK(target() == "31 52" && !image_patched(), "wrong before the patch");
	int err = load_module("execmem_klp");
	CHECK(!err, "execmem_klp: %s", strerror(-err));
	bool done = wait_for(30000, settled);
	std::string got = target();
	bool image = image_patched();
	TRY(remove_patch());
	CHECK(done, "the transition did not end");
	CHECK(got == "1030 52", "patched function gives %s, expected 1030 52", got.c_str());
	CHECK(image, "the function of the image was not patched");
	CHECK(target() == "31 52", "after the patch was removed: %s", target().c_str());
	CHECK(!image_patched(), "the function of the image is still patched");
	return pass();
}

/* The patch is there first and is applied to the module while that loads. */
static result patch_coming_module()
{
	TRY(need_livepatch());
	int err = load_module("execmem_klp");
	CHECK(!err, "execmem_klp: %s", strerror(-err));
	bool done = wait_for(30000, settled);
	std::string first, second;
	int errs[3];
	{
		loaded_module m("execmem_test");
		errs[0] = m.err;
		first = target();
		errs[1] = m.unload();
	}
	{
		loaded_module m("execmem_test");
		errs[2] = m.err;
		second = target();
	}
	TRY(remove_patch());
	CHECK(done, "the transition did not end");
	CHECK(!errs[0] && !errs[1] && !errs[2], "load %d, unload %d, load %d", errs[0], errs[1], errs[2]);
	CHECK(first == "1030 52" && second == "1030 52", "patched function gives %s, then %s", first.c_str(),
	      second.c_str());
	return pass();
}

int main()
{
	return run_cases({
		{ "patch_loaded_module", patch_loaded_module },
		{ "patch_coming_module", patch_coming_module },
		{ "again", patch_loaded_module },
	});
}
