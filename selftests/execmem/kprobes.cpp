// SPDX-License-Identifier: GPL-2.0
/*
 * Kprobes hit as often as the probed code runs, by way of an instruction
 * slot, of a jump-optimised slot, of ftrace and of a return probe; and when
 * they are gone the probed text is what it was.
 */
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.hpp"
#include "kallsyms.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "types.hpp"

static constexpr int calls = 1000;

static result need_kprobes()
{
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	return pass();
}

static const std::string &getppid_fn()
{
	static const std::string fn = getppid_symbol(kallsyms());

	return fn;
}

static void call_getppid(int n)
{
	while (n--)
		syscall(SYS_getppid);
}

static void optimisation(bool on)
{
	set_for_now("/proc/sys/debug/kprobes-optimization", on ? "1" : "0");
}

/* @n calls are @n hits; without the probe none. */
static result counts(const kprobe_event &ev, int n, const std::function<void(int)> &call)
{
	auto [before, missed_before] = ev.counts();

	call(n);
	auto [hits, missed] = ev.counts();
	CHECK(before >= 0 && hits >= 0, "%s is not in kprobe_profile", ev.name.c_str());
	CHECK(hits - before == n && missed == missed_before, "%d calls, %lld hits, %lld missed", n,
	      (long long)(hits - before), (long long)(missed - missed_before));
	CHECK(!ev.enable(false), "disable");
	call(n);
	CHECK(ev.counts().first == hits, "a disabled probe was hit");
	CHECK(!ev.enable(true), "enable again");
	call(n);
	CHECK(ev.counts().first == hits + n, "%lld hits after enabling again, expected %d",
	      (long long)(ev.counts().first - hits), n);
	return pass();
}

static result slot()
{
	TRY(need_kprobes());
	optimisation(false);
	auto ev = kprobe_inside("slot", getppid_fn());

	CHECK(ev, "no kprobe inside %s", getppid_fn().c_str());
	return counts(*ev, calls, call_getppid);
}

static result optimised_slot()
{
	TRY(need_kprobes());
	if (!exists("/proc/sys/debug/kprobes-optimization"))
		return skip("CONFIG_OPTPROBES is not set");
	optimisation(true);
	auto ev = kprobe_optimised("opt", getppid_fn());

	CHECK(ev, "no optimised kprobe in %s", getppid_fn().c_str());
	return counts(*ev, calls, call_getppid);
}

/* Many changes between a breakpoint and a jump. */
static result optimise_and_back()
{
	TRY(need_kprobes());
	if (!exists("/proc/sys/debug/kprobes-optimization"))
		return skip("CONFIG_OPTPROBES is not set");
	optimisation(true);
	auto ev = kprobe_optimised("flip", getppid_fn());
	s64 expect = 0;

	CHECK(ev, "no optimised kprobe in %s", getppid_fn().c_str());
	for (int i = 0; i < 5; i++) {
		optimisation(true);
		CHECK(wait_for(10000, [&] { return ev->optimised(); }), "round %d: not optimised", i);
		call_getppid(100);
		optimisation(false);
		CHECK(!ev->optimised(), "round %d: still optimised", i);
		call_getppid(100);
		expect += 200;
		CHECK(ev->counts().first == expect, "round %d: %lld hits, expected %lld", i,
		      (long long)ev->counts().first, (long long)expect);
	}
	optimisation(true);
	return pass();
}

static result entry()
{
	TRY(need_kprobes());
	kprobe_event ev("entry", getppid_fn());

	CHECK(!ev.err && !ev.enable(true), "kprobe at %s: %s", getppid_fn().c_str(), strerror(-ev.err));
	return counts(ev, calls, call_getppid);
}

static result return_probe()
{
	TRY(need_kprobes());
	kprobe_event ev("ret", getppid_fn(), "r");

	CHECK(!ev.err && !ev.enable(true), "kretprobe at %s: %s", getppid_fn().c_str(), strerror(-ev.err));
	return counts(ev, calls, call_getppid);
}

static result in_module()
{
	TRY(need_kprobes());
	TRY(need_module("execmem_test"));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	std::string got = "31 52";
	auto call = [&](int n) {
		while (n--) {
			std::string s = module_param("execmem_test", "target");

			if (s != "31 52")
				got = s;
		}
	};

	optimisation(false);
	auto ev = kprobe_inside("mod", "execmem_test:execmem_target");
	CHECK(ev, "no kprobe in a module");
	TRY(counts(*ev, 100, call));
	optimisation(true);
	/* powerpc jumps to optimised probes with a branch, and modules are out of its reach. */
	if (exists("/proc/sys/debug/kprobes-optimization") && arch != arch_id::powerpc) {
		ev.reset();
		ev = kprobe_optimised("mod_opt", "execmem_test:execmem_target");
		CHECK(ev, "no optimised kprobe, eight NOPs should take one");
		TRY(counts(*ev, 100, call));
	}
	CHECK(got == "31 52", "the probed function returned %s", got.c_str());
	return pass();
}

/* The probe outlives the module it is in, and finds it again. */
static result module_goes_and_comes()
{
	TRY(need_kprobes());
	TRY(need_module("execmem_test"));
	auto m = std::make_unique<loaded_module>("execmem_test");
	CHECK(!m->err, "execmem_test: %s", strerror(-m->err));
	kprobe_event ev("gone", "execmem_test:execmem_other+1");
	bool inside = !ev.err;
	kprobe_event at_entry("gone_entry", "execmem_test:execmem_other");

	CHECK(inside || !at_entry.err, "kprobe: %s", strerror(-at_entry.err));
	int err = m->unload();
	CHECK(!err, "a disabled probe keeps the module: %s", strerror(-err));
	m = std::make_unique<loaded_module>("execmem_test");
	CHECK(!m->err, "load again: %s", strerror(-m->err));
	CHECK(!at_entry.enable(true), "enable after reload");
	s64 before = at_entry.counts().first;
	CHECK(module_param("execmem_test", "target") == "31 52", "wrong result");
	CHECK(at_entry.counts().first == before + 1, "no hit after the module was loaded again");
	at_entry.remove();
	return pass();
}

/* More probes than one page of slots holds. */
static result many_slots()
{
	TRY(need_kprobes());
	TRY(need_module("execmem_clone_000"));
	optimisation(false);
	module_clones clones(100);
	CHECK(!clones.err, "clones: %s", strerror(-clones.err));
	size_t pages = 0;
	kprobe_set probes("execmem_many");
	defer restore([] { optimisation(true); });

	for (size_t i = 0; i < clones.names.size() && pages < 2; i++) {
		probes.fill(clones.names[i] + ":execmem_clone_work");
		if (i % 8 == 7)
			pages = kallsyms().with_prefix("kprobe_insn_page").size();
	}
	const size_t nr = probes.size();
	diag("%zu probes, %zu slot pages in kallsyms", nr, pages);
	CHECK(nr >= 200, "only %zu probes could be placed", nr);
	/* A large page holds more slots than there are places for probes here. */
	const size_t want = page_size() > 4096 ? 1 : 2;
	CHECK(pages >= want || arch == arch_id::other, "%zu slot pages for %zu probes", pages, nr);
	CHECK(!probes.remove(), "cannot remove the probes");
	int err = clones.unload();
	CHECK(!err, "unload: %s", strerror(-err));
	return pass();
}

/* An event for a module that is not there waits for it, also where no module can come. */
static result of_absent_module()
{
	TRY(need_kprobes());
	int err = append(tracefs("kprobe_events"), "p:execmem_absent/waits execmem_absent:no_function\n");
	CHECK(!err, "refused: %s", strerror(-err));
	err = append(tracefs("kprobe_events"), "-:execmem_absent/waits\n");
	CHECK(!err, "cannot be removed: %s", strerror(-err));
	return pass();
}

/* The list has a probe while it is there; in the end it has none of ours. */
static result gone_from_list()
{
	TRY(need_kprobes());
	std::string error;
	/* The lines that have a probe of these tests. */
	auto ours = [&] {
		auto list = slurp(debugfs("kprobes/list"));
		std::string found;

		if (!list)
			error = format("cannot read kprobes/list: %s", strerror(errno));
		for (const std::string &line : split(list.value_or(""))) {
			bool is = line.find("execmem") != line.npos;

			for (const std::string &name : aliases(getppid_fn()))
				is |= line.find(" " + name + "+") != line.npos;
			if (is)
				found += line + "; ";
		}
		return found;
	};
	{
		kprobe_event ev("listed", getppid_fn());

		CHECK(!ev.err && !ev.enable(true), "kprobe at %s: %s", getppid_fn().c_str(), strerror(-ev.err));
		CHECK(!ours().empty(), "a kprobe at %s is not listed", getppid_fn().c_str());
	}
	/* Freed slots are collected later. */
	std::string left;
	bool gone = wait_for(10000, [&] { return (left = ours()).empty(); });
	CHECK(error.empty(), "%s", error.c_str());
	CHECK(gone, "still listed: %s", left.c_str());
	return pass();
}

int main()
{
	return run_cases({
		{ "slot", slot },
		{ "optimised_slot", optimised_slot },
		{ "optimise_and_back", optimise_and_back },
		{ "entry", entry },
		{ "return_probe", return_probe },
		{ "in_module", in_module },
		{ "module_goes_and_comes", module_goes_and_comes },
		{ "many_slots", many_slots },
		{ "of_absent_module", of_absent_module },
		{ "gone_from_list", gone_from_list },
	});
}
