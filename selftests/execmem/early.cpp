// SPDX-License-Identifier: GPL-2.0
/*
 * Text that is made before there are workqueues, or more than one CPU: the
 * command line asks for the function tracer, whose trampoline is made by
 * early_trace_init(), and for kprobes. What it shows in the end are calls that
 * only booting makes. As it is the first text of all, it also shows where a pool
 * begins.
 *
 * On the command line: ftrace=function ftrace_filter=FUNCTION, and
 * kprobe_event=p:early/NAME,FUNCTION+OFFSET;...
 */
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "arch.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static result need_parameter(const char *name, const char *example)
{
	if (!kernel_parameter(name))
		return skip("%s=%s is not on the command line", name, example);
	return pass();
}

static result text_is_rox(const page_tables &pt, const symbol &s)
{
	const mapping *m = pt.find(s.addr);

	CHECK(m, "%s at %#llx is not mapped", s.name.c_str(), (unsigned long long)s.addr);
	diag("%s at %#llx: %s", s.name.c_str(), (unsigned long long)s.addr, m->line.c_str());
	CHECK(m->exec && !m->write, "not ROX: %s", m->line.c_str());
	/* A pool's leaves are large, from the first one on. */
	if (have_large_leaves())
		CHECK(m->level == "pmd", "not in a large page: %s", m->line.c_str());
	return pass();
}

/* All of that @owner, of which there has to be one. */
static result all_rox(const char *owner)
{
	TRY(need_dump());

	std::vector<symbol> texts = kallsyms().of_module(owner);
	page_tables pt;
	CHECK(!texts.empty(), "/proc/kallsyms shows nothing of %s", owner);
	for (const symbol &s : texts)
		TRY(text_is_rox(pt, s));
	return pass();
}

static result function_tracer()
{
	TRY(need_parameter("ftrace", "function"));
	TRY(need_parameter("ftrace_filter", "FUNCTION"));
	const std::string function = *kernel_parameter("ftrace_filter");

	CHECK(trim(read_or_fail(tracefs("current_tracer"))) == "function", "the tracer is not there");
	std::string calls = read_or_fail(tracefs("trace"));
	CHECK(calls.find(": " + function + " <-") != calls.npos, "no call of %s was seen", function.c_str());
	return pass();
}

static result trampoline_is_rox()
{
	TRY(need_parameter("ftrace", "function"));
	if (arch != arch_id::x86_64)
		return skip("the tracers of this architecture share a trampoline in the image");
	return all_rox("__builtin__ftrace");
}

/*
 * Which window of the range comes first, and which chunk of it, is random.
 * Both would be the first by accident in one boot of fifteen thousand. The tracer's
 * trampoline is the first text there is, and stays.
 */
static result starts_anywhere()
{
	TRY(need_parameter("ftrace", "function"));
	TRY(need_pool());
	if (read_or_fail("/proc/cmdline").find("nokaslr") != std::string::npos)
		return skip("nokaslr");
	if (!kallsyms().has("kernel_randomize_memory"))
		return skip("CONFIG_RANDOMIZE_MEMORY is not set");
	std::vector<symbol> texts = kallsyms().of_module("__builtin__ftrace");
	CHECK(!texts.empty(), "/proc/kallsyms shows nothing of __builtin__ftrace");
	pool_list list;
	const u64 first = (list.start + large - 1) / large * large, addr = texts[0].addr;

	diag("the range starts at %#llx, the first text lies at %#llx", (unsigned long long)list.start,
	     (unsigned long long)addr);
	CHECK(addr / large != first / large, "it begins with the first chunk of the range");
	return pass();
}

/* Not all of the offsets are those of instructions on every architecture. */
static result kprobes()
{
	TRY(need_parameter("kprobe_event", "p:early/NAME,FUNCTION+OFFSET"));
	size_t probes = 0;
	u64 hits = 0;

	/* GROUP_NAME HITS MISSES; the name alone in 6.1 */
	for (const std::string &line : split(read_or_fail(tracefs("kprobe_profile")))) {
		std::vector<std::string> w = words(line);

		if (w.size() != 3)
			continue;
		probes++;
		hits += strtoull(w[1].c_str(), nullptr, 10);
		diag("%s: %s hits", w[0].c_str(), w[1].c_str());
	}
	CHECK(probes, "no kprobe is there");
	CHECK(hits, "no kprobe was hit");
	return pass();
}

static result slots_are_rox()
{
	TRY(need_parameter("kprobe_event", "p:early/NAME,FUNCTION+OFFSET"));
	if (arch == arch_id::s390)
		return skip("probes in the image have their slots in the image");
	return all_rox("__builtin__kprobes");
}

/* The tracer keeps its trampoline when it stops, as in 6.1, and goes on with it. */
static result off_and_on()
{
	auto write = [](const char *file, const char *text, int flags = O_WRONLY) {
		int err = spit(tracefs(file), text, flags);

		CHECK(!err, "%s: %s", file, strerror(-err));
		return pass();
	};

	TRY(need_parameter("ftrace", "function"));
	TRY(write("current_tracer", "nop"));
	/* Not by events/early: 6.1 makes no such directory for an event that comes before all others have theirs. */
	if (!exists(tracefs("events/early")))
		diag("there is no events/early");
	TRY(write("set_event", "!early:*\n"));
	CHECK(!remove_kprobe_events("early"), "the kprobes cannot be removed");
	CHECK(words(read_or_fail(tracefs("kprobe_profile"))).empty(), "the kprobes do not go");
	TRY(write("set_ftrace_filter", "do_sys_openat2"));
	TRY(write("current_tracer", "function"));
	std::string calls = read_or_fail(tracefs("trace"));
	TRY(write("current_tracer", "nop"));
	CHECK(calls.find(": do_sys_openat2 <-") != calls.npos, "no call was seen");
	return no_wx();
}

int main()
{
	return run_cases({
		{ "function_tracer", function_tracer },
		{ "trampoline_is_rox", trampoline_is_rox },
		{ "starts_anywhere", starts_anywhere },
		{ "kprobes", kprobes },
		{ "slots_are_rox", slots_are_rox },
		{ "off_and_on", off_and_on },
	});
}
