/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counts what all CPUs pay when code comes and goes, by probes on the functions
 * that do it, in the kernel as it is.
 */
#ifndef EXECMEM_COUNTERS_HPP
#define EXECMEM_COUNTERS_HPP

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "arch.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "proc.hpp"
#include "types.hpp"

struct figures {
	s64 shootdowns = 0, splits = 0, permissions = 0, syncs = 0;
	/* Broadcasts to make CPUs serialize while live text is patched, not among @syncs. */
	s64 patches = 0;
	/*
	 * Shootdowns for vmalloc() memory that others gave back some time before,
	 * when there is a lot of it, or when somebody changes permissions, and for
	 * memory of each CPU.
	 */
	s64 purges = 0;
	/* Of text: pieces that came and went, and what a pool took and gave back for them. */
	s64 allocs = 0, frees = 0, grows = 0, shrinks = 0;

	bool none() const { return !shootdowns && !splits && !permissions && !syncs; }

	figures &operator+=(const figures &f)
	{
		shootdowns += f.shootdowns;
		splits += f.splits;
		permissions += f.permissions;
		syncs += f.syncs;
		patches += f.patches;
		purges += f.purges;
		allocs += f.allocs;
		frees += f.frees;
		grows += f.grows;
		shrinks += f.shrinks;
		return *this;
	}

	std::string describe(const char *what, size_t n) const
	{
		return format("%-27s %5zu times: %4lld shootdowns, %3lld splits, %4lld permission changes, "
			      "%5lld syncs, %5lld for live text, %2lld purges, %5lld allocs, %5lld frees, %2lld grows, %2lld shrinks",
			      what, n, (long long)shootdowns, (long long)splits, (long long)permissions,
			      (long long)syncs, (long long)patches, (long long)purges, (long long)allocs, (long long)frees,
			      (long long)grows, (long long)shrinks);
	}
};

/* Trace events, each with the functions that led to it, in an instance of their own. */
class call_trace {
	std::string dir;

public:
	struct event {
		std::string name;
		bool in_interrupt;
		std::vector<std::string> callers;

		bool called_by(const std::string &prefix) const
		{
			return std::any_of(callers.begin(), callers.end(),
					   [&](const std::string &c) { return c.starts_with(prefix); });
		}

		/* Instructions that may be run meanwhile are replaced, which takes a broadcast anywhere. */
		bool patches_live_text() const
		{
			return called_by("text_poke_bp_batch") || called_by("arch_arm_kprobe") ||
			       called_by("arch_disarm_kprobe") || called_by("arch_unoptimize_kprobe");
		}

		/* Another CPU asked for it, whatever this one was doing meanwhile. */
		bool for_another_cpu() const { return called_by("__flush_smp_call_function_queue"); }
	};

	std::string error;

	explicit call_trace(const std::string &name) : dir(tracefs("instances/" + name))
	{
		if (mkdir(dir.c_str(), 0755)) {
			error = format("%s: %s", dir.c_str(), strerror(errno));
			return;
		}
		spit(dir + "/buffer_size_kb", "8192");
		spit(dir + "/options/stacktrace", "1");
	}

	~call_trace()
	{
		stop();
		rmdir(dir.c_str());
	}

	call_trace(const call_trace &) = delete;
	call_trace &operator=(const call_trace &) = delete;

	/* @events: "GROUP" or "GROUP/NAME" */
	void begin(const std::vector<std::string> &events)
	{
		if (!error.empty())
			return;
		/* What counts already would not be seen to begin. */
		stop();
		unique_fd empty(open((dir + "/trace").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
		if (!empty)
			error = format("%s/trace: %s", dir.c_str(), strerror(errno));
		for (const std::string &e : events)
			if (spit(dir + "/events/" + e + "/enable", "1") && error.empty())
				error = "no events " + e;
	}

	void stop() const { spit(dir + "/events/enable", "0"); }

	std::vector<event> end()
	{
		std::vector<event> events;
		/*
		 * Where its callers belong: they come after the event, but others may
		 * be in between, from other CPUs or an interrupt.
		 */
		std::map<std::string, size_t> last;
		size_t callee = 0;
		/* Without its head it is not the list of events, and no event in it proves nothing. */
		bool is_list = false;

		stop();
		for (const std::string &line : split(read_or_fail(dir + "/trace"))) {
			if (line.starts_with("# entries-in-buffer/entries-written: ")) {
				std::vector<std::string> n = split(words(line)[2], '/');

				is_list = true;
				if (n.size() != 2 || n[0] != n[1])
					error = "events were lost";
			}
			if (line.starts_with(" => ")) {
				if (callee < events.size())
					events[callee].callers.push_back(line.substr(4));
				continue;
			}
			/* "task-pid [cpu] flags time: name: ...", or "<stack trace>" for a name */
			size_t cpu = line.find(" [0");
			size_t end = cpu == line.npos ? cpu : line.find("] ", cpu);
			if (end == line.npos || line.starts_with("#"))
				continue;
			std::vector<std::string> w = words(line.substr(end + 2));
			if (w.size() < 3 || w[0].size() < 3 || !w[1].ends_with(":"))
				continue;
			const char context = w[0][2];
			const std::string where = line.substr(cpu, end - cpu) + context;
			if (w[2] == "<stack") {
				auto event = last.find(where);

				callee = event == last.end() ? events.size() : event->second;
			} else if (w[2].ends_with(":")) {
				last[where] = events.size();
				events.push_back({ w[2].substr(0, w[2].size() - 1),
						   strchr("hHsZz", context) != nullptr, {} });
			}
		}
		if (!is_list && error.empty())
			error = "cannot read " + dir + "/trace";
		for (const event &e : events)
			if (e.callers.empty())
				error = "an event without callers: " + e.name;
		return events;
	}
};

/* How many pieces of text have gone up to now, which call_trace tells at the end only. */
class free_trace {
	std::string dir = tracefs("instances/execmem_frees");

public:
	std::string error;

	static bool possible() { return exists(tracefs("events/execmem/execmem_free")); }

	free_trace()
	{
		if (!possible())
			return;
		if (mkdir(dir.c_str(), 0755))
			error = format("%s: %s", dir.c_str(), strerror(errno));
		else if (spit(dir + "/buffer_size_kb", "1024") || spit(dir + "/events/execmem/execmem_free/enable", "1"))
			error = "no events execmem_free";
	}

	~free_trace()
	{
		spit(dir + "/events/enable", "0");
		rmdir(dir.c_str());
	}

	free_trace(const free_trace &) = delete;
	free_trace &operator=(const free_trace &) = delete;

	void begin() const { unique_fd(open((dir + "/trace").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC)); }

	/* Of @type, as the event names it, since begin(). */
	size_t count(const std::string &type)
	{
		size_t n = 0;
		bool is_list = false;

		for (const std::string &line : split(read_or_fail(dir + "/trace"))) {
			if (line.starts_with("# entries-in-buffer/entries-written: ")) {
				std::vector<std::string> of = split(words(line)[2], '/');

				is_list = of.size() == 2 && of[0] == of[1];
			}
			n += line.find(" execmem_free: ") != line.npos && line.ends_with(" type=" + type);
		}
		if (!is_list)
			error = "the events execmem_free cannot be read, or some were lost";
		return n;
	}
};

/* The probes, and what they have counted. */
class counters {
	static inline const std::map<std::string, s64 figures::*> functions {
		{ "flush_tlb_all", &figures::shootdowns },
		{ "flush_tlb_kernel_range", &figures::shootdowns },
		{ "__cpa_flush_tlb", &figures::shootdowns },
		{ "set_memory_ro", &figures::permissions },
		{ "set_memory_rw", &figures::permissions },
		{ "set_memory_x", &figures::permissions },
		{ "set_memory_nx", &figures::permissions },
		{ "do_sync_core", &figures::syncs },
	};

	call_trace trace { "execmem_counts" };
	free_trace frees;
	std::vector<call_trace::event> events;
	std::set<std::string> have;
	s64 splits_before = 0, missed_before = 0;

	/* Of large pages of the linear mapping, of each size there is. */
	s64 splits()
	{
		s64 n = 0;
		int lines = 0;

		for (const std::string &line : split(read_or_fail("/proc/vmstat"))) {
			std::vector<std::string> w = words(line);

			if (w.size() != 2 || !w[0].starts_with("direct_map_level") || !w[0].ends_with("_splits"))
				continue;
			lines++;
			n += atoll(w[1].c_str());
		}
		if (lines != 2 && error.empty())
			error = format("/proc/vmstat has %d lines direct_map_level*_splits, not 2", lines);
		return n;
	}

	/*
	 * Calls that a probe was hit by and did not count. What CPUs are asked to do
	 * may come while one is in a probe, and would not count if it were seen.
	 */
	s64 missed()
	{
		size_t probes = 0;
		s64 n = 0;

		for (const std::string &line : split(read_or_fail(tracefs("kprobe_profile")))) {
			std::vector<std::string> w = words(line);

			if (w.size() != 3 || !have.count(w[0]))
				continue;
			probes++;
			n += w[0] == "do_sync_core" ? 0 : atoll(w[2].c_str());
		}
		if (probes < have.size() && error.empty())
			error = "kprobe_profile does not have all probes";
		return n;
	}

public:
	std::string error;

	counters() : error(trace.error)
	{
		if (error.empty())
			error = frees.error;
		if (have_pool() && !free_trace::possible() && error.empty())
			error = "there is a pool, and no event execmem_free";
		for (const auto &[f, field] : functions) {
			if (!append(tracefs("kprobe_events"), format("p:execmem_counts/%s %s\n", f.c_str(), f.c_str())))
				have.insert(f);
			else if (error.empty())
				error = "no probe on " + f;
		}
	}

	~counters()
	{
		trace.stop();
		for (const std::string &f : have)
			append(tracefs("kprobe_events"), "-:execmem_counts/" + f + "\n");
	}

	void begin()
	{
		std::vector<std::string> what = { "execmem_counts" };

		/* A kernel without execmem has no such events. */
		if (tells_pieces()) {
			frees.begin();
			for (const char *event : { "alloc", "free", "grow", "shrink" })
				what.push_back(format("execmem/execmem_%s", event));
		}
		splits_before = splits();
		missed_before = missed();
		trace.begin(what);
	}

	/* Can it be seen that text came and went? */
	static bool tells_pieces() { return free_trace::possible(); }

	/* How many pieces of @type went since begin(), while it still counts. */
	size_t freed(const std::string &type)
	{
		size_t n = frees.count(type);

		if (error.empty())
			error = frees.error;
		return n;
	}

	/* What was counted since begin(). */
	figures end()
	{
		events = trace.end();
		if (error.empty())
			error = trace.error;
		figures all = below({});
		all.splits = splits() - splits_before;
		const s64 lost = missed() - missed_before;
		if (lost && error.empty())
			error = format("%lld calls were missed", (long long)lost);
		return all;
	}

	/* Which functions have led to each shootdown, for whoever has to explain it. */
	void tell_shootdowns() const
	{
		for (const call_trace::event &e : events) {
			auto what = functions.find(e.name);
			std::string line = e.name;

			if (what == functions.end() || what->second != &figures::shootdowns)
				continue;
			for (const std::string &c : e.callers)
				line += " < " + c;
			diag("%s", line.c_str());
		}
	}

	/* Events with a caller whose name starts with one of @callers; every event if @callers is empty. */
	figures below(const std::vector<std::string> &callers) const
	{
		auto is_below = [&](const call_trace::event &e) {
			return callers.empty() ||
			       std::any_of(callers.begin(), callers.end(),
					   [&](const std::string &c) { return e.called_by(c); });
		};
		figures f;

		for (const call_trace::event &e : events) {
			auto what = functions.find(e.name);

			/* What each CPU is asked to do counts once, where it is asked. */
			if (e.for_another_cpu() || !is_below(e))
				continue;
			if (e.name == "execmem_alloc")
				f.allocs++;
			else if (e.name == "execmem_free")
				f.frees++;
			else if (e.name == "execmem_grow")
				f.grows++;
			else if (e.name == "execmem_shrink")
				f.shrinks++;
			if (what == functions.end())
				continue;
			if (what->second == &figures::syncs && e.patches_live_text())
				f.patches++;
			else if (what->second == &figures::syncs)
				f.syncs++;
			else if (what->second == &figures::permissions)
				f.permissions++;
			else if (e.called_by("drain_vmap_area_work") || e.called_by("pcpu_balance_workfn") ||
				 (e.called_by("__purge_vmap_area_lazy") &&
				  e.called_by("change_page_attr_set_clr")))
				f.purges++;
			else
				f.shootdowns++;
		}
		return f;
	}
};

/* On the command line, "execmem_counts=": how often each operation is done. */
static inline size_t how_often()
{
	return strtoul(kernel_parameter("execmem_counts").value_or("10").c_str(), nullptr, 10);
}

static inline result need_counters(std::unique_ptr<counters> &count)
{
	if (arch != arch_id::x86_64)
		return skip("the functions that are counted are those of x86-64");
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	if (!count)
		count = std::make_unique<counters>();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	return pass();
}

#endif
