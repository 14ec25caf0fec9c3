// SPDX-License-Identifier: GPL-2.0
/*
 * The thunks of the x86 ITS mitigation, which the kernel allocates for a
 * module while it loads.  6.1.192 makes the page that holds them writable and
 * executable for each thunk after the first.
 *
 * They are used only without retpolines, so this needs a boot with
 * "indirect_target_selection=force spectre_v2=ibrs" on an Intel CPU that has
 * IBRS; QEMU's TCG pretends to with
 * "-cpu max,vendor=GenuineIntel,+spec-ctrl,x-force-features=on".
 */
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "arch.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "kallsyms.hpp"
#include "kcore.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static result need_its()
{
	if (arch != arch_id::x86_64)
		return skip("CONFIG_MITIGATION_ITS is for x86-64");
	auto state = slurp("/sys/devices/system/cpu/vulnerabilities/indirect_target_selection");
	auto spectre = slurp("/sys/devices/system/cpu/vulnerabilities/spectre_v2");
	if (!state)
		return skip("CONFIG_MITIGATION_ITS is not set");
	if (kernel_parameter("indirect_target_selection") != "force" || kernel_parameter("spectre_v2") != "ibrs")
		return skip("not booted with indirect_target_selection=force spectre_v2=ibrs");
	CHECK(state->find("Aligned branch/return thunks") != state->npos &&
	      spectre && spectre->find("Retpolines") == spectre->npos,
	      "booted for thunks, and there are none: %s", trim(*state).c_str());
	return need_module("execmem_its", "CONFIG_MITIGATION_ITS");
}

static result need_watch()
{
	TRY(need_its());
	TRY(need_module("execmem_watch", "CONFIG_KPROBES"));
	CHECK(module_loaded("execmem_watch"), "execmem_watch could not be loaded");
	return pass();
}

static std::unique_ptr<loaded_module> its, watch;
static std::set<u64> thunks;
static u64 text;

static result calls_work()
{
	TRY(need_its());
	watch = std::make_unique<loaded_module>("execmem_watch");
	/* The old kernel warns of itself here; let the test say it. */
	auto panic = read_or_fail("/proc/sys/kernel/panic_on_warn");
	spit("/proc/sys/kernel/panic_on_warn", "0");
	its = std::make_unique<loaded_module>("execmem_its");
	spit("/proc/sys/kernel/panic_on_warn", panic);
	CHECK(!its->err, "execmem_its: %s", strerror(-its->err));
	CHECK(module_param("execmem_its", "value") == "72", "48 indirect calls gave %s, not 72",
	      module_param("execmem_its", "value").c_str());
	text = section_addr("execmem_its", ".text");
	return pass();
}

/* Without thunks the other cases would prove nothing. */
static result thunks_are_used()
{
	TRY(need_its());
	CHECK(its && !its->err, "execmem_its is not loaded");
	for (const std::string &l : split(module_param("execmem_its", "thunks")))
		thunks.insert(strtoull(l.c_str(), nullptr, 16));
	diag("%zu thunks of execmem_its", thunks.size());
	CHECK(thunks.size() >= 2, "%zu thunks, expected several", thunks.size());
	return pass();
}

static result no_wx_while_loading()
{
	TRY(need_watch());
	int seen = atoi(module_param("execmem_watch", "transitions").c_str());
	std::string violations = module_param("execmem_watch", "violations");
	std::vector<std::string> report = split(module_param("execmem_watch", "report"));

	for (size_t i = 0; i < report.size() && i < 8; i++)
		diag("%s", report[i].c_str());
	CHECK(seen > 0, "the watch saw nothing");
	CHECK(module_param("execmem_watch", "missed") == "0", "the watch missed \"%s\" calls",
	      module_param("execmem_watch", "missed").c_str());
	CHECK(violations == "0", "%s times a page was W+X while execmem_its loaded", violations.c_str());
	return pass();
}

static result thunks_are_rox()
{
	TRY(need_its());
	TRY(need_dump());
	page_tables pt;

	CHECK(!thunks.empty(), "no thunks");
	for (u64 t : thunks) {
		const mapping *m = pt.find(t);

		CHECK(m, "thunk %#llx is not mapped", (unsigned long long)t);
		CHECK(m->exec && !m->write, "thunk %#llx: %s", (unsigned long long)t, m->line.c_str());
	}
	return pass();
}

/*
 * What the thunks of a module cost that is loaded and unloaded, beside what the
 * module itself costs: in a pool nothing.
 */
static result counted()
{
	const size_t times = how_often();
	std::unique_ptr<counters> count;
	figures all, thunk;

	/* Said so that the compiler sees it, which warns of a counter that is never made. */
	if constexpr (arch != arch_id::x86_64)
		return need_its();
	TRY(need_its());
	TRY(need_counters(count));
	CHECK(its && !thunks.empty(), "no thunks");
	its.reset();
	watch.reset();
	{
		/* There is room for thunks from now on. */
		loaded_module warm("execmem_its");
		CHECK(!warm.err, "execmem_its: %s", strerror(-warm.err));
	}
	settle();
	for (size_t i = 0; i < times; i++) {
		count->begin();
		{
			loaded_module again("execmem_its");
			CHECK(!again.err, "execmem_its: %s", strerror(-again.err));
		}
		const size_t freed = count->tells_pieces() ? count->freed("thunk") : 0;
		all += count->end();
		/*
		 * Compilers put what allocates a thunk into what looks for the sites, or do
		 * not; and who frees it may not be seen to call.
		 */
		figures own = count->below({ "its_", "apply_retpolines" });
		own.frees = freed;

		if (have_pool() && own.shootdowns)
			count->tell_shootdowns();
		thunk += own;
		CHECK(count->error.empty(), "%s", count->error.c_str());
	}
	diag("%s", all.describe("module with thunks", times).c_str());
	diag("%s", thunk.describe("its thunks alone", times).c_str());
	CHECK(all.permissions > 0, "a module came and went, and nothing was counted");
	/* A module comes and goes in the same count: so do its thunks. */
	CHECK(!count->tells_pieces() || (thunk.allocs >= static_cast<s64>(times) && thunk.frees >= static_cast<s64>(times)),
	      "%zu modules, and %lld pieces for thunks came, %lld went", times, (long long)thunk.allocs,
	      (long long)thunk.frees);
	CHECK(!have_pool() || thunk.none(), "%s", thunk.describe("its thunks alone", times).c_str());
	return pass();
}

/* In reach, outside the image, and where the mitigation needs them. */
static result thunks_are_placed()
{
	TRY(need_its());
	kallsyms ks;
	u64 image = ks.addr("_text"), end = ks.addr("_end");

	CHECK(!thunks.empty(), "no thunks");
	const pool_list list;
	for (u64 t : thunks) {
		s64 away = t - text;
		const area *a = list.find(t);

		CHECK(!have_pool() || (a && a->type == "thunk" && a->size < page_size()),
		      "thunk %#llx has %llu bytes of the pool", (unsigned long long)t,
		      (unsigned long long)(a ? a->size : 0));

		CHECK(t < image || t >= end, "thunk %#llx lies in the image", (unsigned long long)t);
		CHECK(away == (int)away, "thunk %#llx is out of reach of %#llx",
		      (unsigned long long)t, (unsigned long long)text);
		CHECK(t & 0x20, "thunk %#llx starts in the lower half of a cache line", (unsigned long long)t);
	}
	return pass();
}

static result gone_after_unload()
{
	TRY(need_its());
	CHECK(!thunks.empty(), "no thunks");
	int err = its->unload();
	CHECK(!err, "unload: %s", strerror(-err));
	TRY(need_dump());
	page_tables pt;
	kcore memory;
	CHECK(pt.wx().empty(), "W+X: %s", pt.wx()[0].line.c_str());
	for (u64 t : thunks) {
		const mapping *m = pt.find(t);

		/* In a pool it is the pages of others that it was in. A worker may fill it. */
		if (m && have_pool() && !m->write) {
			bool gone = wait_for(10000, [&] { return memory.read(t, 4) == "\xcc\xcc\xcc\xcc"; });

			CHECK(gone, "thunk %#llx is still there", (unsigned long long)t);
			continue;
		}
		CHECK(!m, "thunk %#llx is still mapped: %s", (unsigned long long)t, m->line.c_str());
	}
	return pass();
}

int main()
{
	int ret = run_cases({
		{ "calls_work", calls_work },
		{ "thunks_are_used", thunks_are_used, "calls_work" },
		{ "no_wx_while_loading", no_wx_while_loading, "calls_work" },
		{ "thunks_are_rox", thunks_are_rox, "thunks_are_used" },
		{ "thunks_are_placed", thunks_are_placed, "thunks_are_used" },
		{ "gone_after_unload", gone_after_unload, "thunks_are_used" },
		{ "counted", counted, "thunks_are_used" },
	});

	its.reset();
	watch.reset();
	return ret;
}
