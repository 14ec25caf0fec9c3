// SPDX-License-Identifier: GPL-2.0
/*
 * Modules load, run, are patched while they run, and unload: relocations of
 * every kind, init sections, percpu data, exception and bug tables, static
 * keys and calls, tracepoints, modules that use modules.
 */
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kallsyms.hpp"
#include "klog.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"

static std::unique_ptr<loaded_module> mod;

static result loads()
{
	TRY(need_module("execmem_test"));
	mod = std::make_unique<loaded_module>("execmem_test", "given=7");
	CHECK(!mod->err, "execmem_test: %s", strerror(-mod->err));
	CHECK(module_param("execmem_test", "given") == "7", "the parameter did not reach the module");
	return pass();
}

static result need_loaded()
{
	TRY(need_module("execmem_test"));
	CHECK(mod && !mod->err, "execmem_test is not loaded");
	return pass();
}

/* A check that the module made in its init. */
static test_case in_module(const char *what, const char *if_absent = nullptr)
{
	return { what, [=] {
		TRY(need_loaded());
		std::string got = module_param("execmem_test", what);

		if (got == "-1" && if_absent)
			return skip("%s", if_absent);
		CHECK(got == "1", "%s is \"%s\" in the module", what, got.c_str());
		return pass();
	}, "load" };
}

static result flip(const char *param, const char *value, const char *expect)
{
	std::string file = std::string("/sys/module/execmem_test/parameters/") + param;
	int err = spit(file, value);

	CHECK(!err, "%s = %s: %s", param, value, strerror(-err));
	std::string got = module_param("execmem_test", param);
	CHECK(got == expect, "%s reads %s after %s, expected %s", param, got.c_str(), value, expect);
	return pass();
}

static result static_key()
{
	TRY(need_loaded());
	CHECK(module_param("execmem_test", "static_key") == "2", "wrong before the first change");
	for (int i = 0; i < 10; i++) {
		TRY(flip("static_key", "1", "1"));
		TRY(flip("static_key", "0", "2"));
	}
	return pass();
}

static result static_call()
{
	TRY(need_loaded());
	CHECK(module_param("execmem_test", "static_call") == "11", "wrong before the first change");
	for (int i = 0; i < 10; i++) {
		TRY(flip("static_call", "1", "12"));
		TRY(flip("static_call", "0", "11"));
	}
	return pass();
}

static result tracepoint()
{
	TRY(need_loaded());
	if (module_param("execmem_test", "tracepoint") == "")
		return skip("CONFIG_TRACEPOINTS is not set");
	for (int i = 0; i < 3; i++) {
		TRY(flip("tracepoint", "1", "9"));
		TRY(flip("tracepoint", "0", "0"));
	}
	return pass();
}

static result functions()
{
	TRY(need_loaded());
	CHECK(module_param("execmem_test", "target") == "31 52", "execmem_target() gave %s",
	      module_param("execmem_test", "target").c_str());
	return pass();
}

static result dependent_module()
{
	TRY(need_loaded());
	TRY(need_module("execmem_dep"));
	loaded_module dep("execmem_dep");

	CHECK(!dep.err, "execmem_dep: %s", strerror(-dep.err));
	int err = unload_module("execmem_test");
	CHECK(err == -EWOULDBLOCK, "unloading a module in use gave %d", err);
	err = dep.unload();
	CHECK(!err, "execmem_dep: %s", strerror(-err));
	return pass();
}

static result unloads()
{
	TRY(need_loaded());
	log_mark mark;
	int err = mod->unload();

	CHECK(!err, "unload: %s", strerror(-err));
	CHECK(mark.since().find("execmem_test: exit 4660") != std::string::npos, "the exit function did not run");
	kallsyms ks;
	CHECK(ks.of_module("execmem_test").empty(), "symbols of the unloaded module are still there");
	return pass();
}

static result reload_often()
{
	TRY(need_module("execmem_test"));
	for (int i = 0; i < 50; i++) {
		loaded_module m("execmem_test");

		CHECK(!m.err, "load %d: %s", i, strerror(-m.err));
		CHECK(module_param("execmem_test", "target") == "31 52", "load %d: wrong result", i);
		int err = m.unload();
		CHECK(!err, "unload %d: %s", i, strerror(-err));
	}
	return pass();
}

/* Each of many neighbours loads right, and unloading every second hurts none. */
static result neighbours()
{
	TRY(need_module("execmem_clone_000"));
	module_clones clones(100);

	CHECK(!clones.err, "clone %zu: %s", clones.names.size(), strerror(-clones.err));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	std::vector<std::string> kept;
	for (size_t i = 0; i < clones.names.size(); i++) {
		if (i % 2) {
			int err = unload_module(clones.names[i]);
			CHECK(!err, "%s: %s", clones.names[i].c_str(), strerror(-err));
		} else {
			kept.push_back(clones.names[i]);
		}
	}
	clones.names = kept;
	CHECK(module_param("execmem_test", "target") == "31 52", "a neighbour was changed");
	TRY(flip("static_key", "1", "1"));
	int err = clones.unload();
	CHECK(!err, "unload: %s", strerror(-err));
	return pass();
}

static result need_helpers()
{
	if (!kallsyms().has("execmem_text_alloc"))
		return skip("not in the kernel without the series");
	return need_module("execmem_helpers");
}

/* What <linux/module.h> says to code that is not of this kernel. */
static result type_classes()
{
	TRY(need_helpers());
	loaded_module m("execmem_helpers");
	CHECK(!m.err, "execmem_helpers: %s", strerror(-m.err));
	const std::string got = module_param("execmem_helpers", "classes");
	const char *want = "-1:\n0: core text\n1: core data core_data\n2: core data core_data\n"
			   "3: core data core_data\n4: init text\n5: init data\n6: init data";

	CHECK(got == want, "the classes of types: %s", got.c_str());
	return pass();
}

/* Whoever reads an oops wants to know whose data that is, symbol or not. */
static result data_has_a_name()
{
	TRY(need_helpers());
	loaded_module m("execmem_helpers");
	CHECK(!m.err, "execmem_helpers: %s", strerror(-m.err));
	const std::vector<std::string> lines = split(module_param("execmem_helpers", "names"));

	for (const std::string &l : lines)
		diag("%s", l.c_str());
	CHECK(lines.size() == 6, "%zu addresses, expected the ends of data, rodata and ro_after_init",
	      lines.size());
	for (const std::string &l : lines)
		CHECK(l.ends_with(" [execmem_helpers]") && l.find("+0x") != l.npos, "%s", l.c_str());
	return pass();
}

static result tree_static_keys()
{
	TRY(need_module("test_static_keys", "CONFIG_TEST_STATIC_KEYS"));
	loaded_module base("test_static_key_base"), test("test_static_keys");

	CHECK(!base.err, "test_static_key_base: %s", strerror(-base.err));
	CHECK(!test.err, "test_static_keys: %s", strerror(-test.err));
	int err = test.unload();
	CHECK(!err, "unload: %s", strerror(-err));
	return pass();
}

int main()
{
	return run_cases({
		{ "load", loads },
		in_module("reloc_pcrel", "not on this architecture"),
		in_module("reloc_abs", "x86-64 only"),
		in_module("reloc_data"),
		in_module("reloc_rodata"),
		in_module("reloc_init"),
		in_module("reloc_percpu"),
		in_module("string_constant"),
		in_module("ro_after_init_value"),
		in_module("exception_table"),
		in_module("bug_table", "CONFIG_GENERIC_BUG or CONFIG_KPROBES is not set"),
		in_module("alternatives", "x86 only"),
		in_module("given_param"),
		in_module("kasan_redzone", "CONFIG_KASAN_GENERIC is not set"),
		{ "functions", functions, "load" },
		{ "static_key", static_key, "load" },
		{ "static_call", static_call, "load" },
		{ "tracepoint", tracepoint, "load" },
		{ "dependent_module", dependent_module, "load" },
		{ "unload", unloads, "load" },
		{ "reload_often", reload_often },
		{ "neighbours", neighbours },
		{ "type_classes", type_classes },
		{ "data_has_a_name", data_has_a_name },
		{ "tree_static_keys", tree_static_keys },
	});
}
