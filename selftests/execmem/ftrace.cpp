// SPDX-License-Identifier: GPL-2.0
/*
 * Function tracing through trampolines: kernel and module functions, several
 * tracers on one function, the function graph, direct calls from modules.
 */
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "tracer.hpp"

static result need_ftrace()
{
	if (!have_function_tracer())
		return skip("CONFIG_FUNCTION_TRACER is not set");
	return pass();
}

static const std::string &getppid_fn()
{
	static const std::string fn = traceable_getppid();

	return fn;
}

static result kernel_function()
{
	TRY(need_ftrace());
	trace_instance t("kernel", getppid_fn());

	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
	CHECK(t.count(getppid_fn()) == 20, "20 calls, %zu traced", t.count(getppid_fn()));
	CHECK(!spit(t.dir + "/current_tracer", "nop"), "nop tracer");
	CHECK(!spit(t.dir + "/trace", "", O_WRONLY | O_TRUNC), "clear the trace");
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
	CHECK(t.count(getppid_fn()) == 0, "%zu calls traced without a tracer", t.count(getppid_fn()));
	return pass();
}

/* Tracers with different functions have each a trampoline of their own. */
static result several_tracers()
{
	TRY(need_ftrace());
	const std::string other = kallsyms().has("vfs_statx") ? "vfs_statx" : "vfs_read";
	trace_instance a("first", getppid_fn()), b("second", getppid_fn()), c("third", other);

	CHECK(!a.err && !b.err && !c.err, "trace instances: %d %d %d", a.err, b.err, c.err);
	for (int i = 0; i < 10; i++)
		syscall(SYS_getppid);
	CHECK(a.count(getppid_fn()) == 10 && b.count(getppid_fn()) == 10 && c.count(getppid_fn()) == 0,
	      "10 calls, traced %zu, %zu and (elsewhere) %zu", a.count(getppid_fn()), b.count(getppid_fn()),
	      c.count(getppid_fn()));
	CHECK(!a.remove(), "remove the first");
	for (int i = 0; i < 5; i++)
		syscall(SYS_getppid);
	CHECK(b.count(getppid_fn()) == 15, "15 calls, the second traced %zu", b.count(getppid_fn()));
	return pass();
}

static result module_function()
{
	TRY(need_ftrace());
	TRY(need_module("execmem_test"));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	trace_instance t("module", "execmem_target");

	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	for (int i = 0; i < 10; i++)
		CHECK(module_param("execmem_test", "target") == "31 52", "a traced function returned wrong");
	CHECK(t.count("execmem_target") == 10, "10 calls, %zu traced", t.count("execmem_target"));
	CHECK(t.count("execmem_other") == 0, "a function that is not in the filter was traced");
	return pass();
}

/* A module that is loaded while everything of it is traced. */
static result module_loaded_while_traced()
{
	TRY(need_ftrace());
	TRY(need_module("execmem_test"));
	/* ":mod:" filters wait for the module. */
	trace_instance t("coming", "*:mod:execmem_test");

	CHECK(!t.err, "trace instance: %s", strerror(-t.err));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	CHECK(module_param("execmem_test", "target") == "31 52", "wrong result");
	CHECK(t.count("execmem_target") == 1 && t.count("execmem_other") == 1,
	      "traced %zu and %zu times, expected once", t.count("execmem_target"), t.count("execmem_other"));
	int err = m.unload();
	CHECK(!err, "unload: %s", strerror(-err));
	return pass();
}

/* There is one tracer of graphs only, and no instance can have it. */
static result graph()
{
	TRY(need_ftrace());
	TRY(need_disruptive());
	if (read_or_fail(tracefs("available_tracers")).find("function_graph") == std::string::npos)
		return skip("CONFIG_FUNCTION_GRAPH_TRACER is not set");
	defer restore([] {
		spit(tracefs("current_tracer"), "nop");
		spit(tracefs("set_graph_function"), "\n", O_WRONLY | O_TRUNC);
		spit(tracefs("set_ftrace_filter"), "\n", O_WRONLY | O_TRUNC);
	});
	CHECK(!spit(tracefs("set_ftrace_filter"), getppid_fn() + "\n", O_WRONLY | O_TRUNC), "filter");
	CHECK(!spit(tracefs("current_tracer"), "function_graph"), "function_graph");
	for (int i = 0; i < 5; i++)
		syscall(SYS_getppid);
	std::string trace = read_or_fail(tracefs("trace"));
	size_t n = 0;
	for (const std::string &name : aliases(getppid_fn()))
		for (size_t at = 0; (at = trace.find(name + "()", at)) != trace.npos; at++)
			n++;
	CHECK(n == 5, "5 calls, %zu in the graph", n);
	return pass();
}

/* A sample of the tree that calls its own trampoline straight from the traced function. */
static test_case direct(const char *module, const char *print)
{
	return { std::string("direct_") + module, [=] {
		TRY(need_ftrace());
		/* What the samples print goes to the buffer that everybody uses. */
		TRY(need_disruptive());
		TRY(need_module(module, "CONFIG_SAMPLE_FTRACE_DIRECT"));
		set_for_now(tracefs("tracing_on"), "1");
		spit(tracefs("trace"), "", O_WRONLY | O_TRUNC);
		loaded_module m(module);
		CHECK(!m.err, "%s: %s", module, strerror(-m.err));
		std::string t;
		bool seen = wait_for(10000, [&] {
			/* Page faults and wakeups, what the samples trace. */
			void *p = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

			if (p != MAP_FAILED)
				munmap(p, 1 << 20);
			t = read_or_fail(tracefs("trace"));
			return t.find(print) != t.npos;
		});
		CHECK(seen, "no \"%s\" in the trace: %s", print, t.substr(0, 600).c_str());
		int err = m.unload();
		CHECK(!err, "unload: %s", strerror(-err));
		return pass();
	} };
}

int main()
{
	return run_cases({
		{ "kernel_function", kernel_function },
		{ "several_tracers", several_tracers },
		{ "module_function", module_function },
		{ "module_loaded_while_traced", module_loaded_while_traced },
		{ "graph", graph },
		direct("ftrace-direct", "waking up "),
		direct("ftrace-direct-too", "handle mm fault "),
		direct("ftrace-direct-modify", "my direct func"),
		direct("ftrace-direct-multi", ": ip "),
		direct("ftrace-direct-multi-modify", "my direct func"),
	});
}
