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
	/*
	 * Shootdowns for vmalloc() memory that others gave back some time before,
	 * when there is a lot of it, or when somebody changes permissions, and for
	 * memory of each CPU.
	 */
	s64 purges = 0;
	s64 pieces = 0;	/* of text that were allocated */

	bool none() const { return !shootdowns && !splits && !permissions; }

	figures &operator+=(const figures &f)
	{
		shootdowns += f.shootdowns;
		splits += f.splits;
		permissions += f.permissions;
		syncs += f.syncs;
		purges += f.purges;
		pieces += f.pieces;
		return *this;
	}

	std::string describe(const char *what, size_t n) const
	{
		return format("%-27s %5zu times: %4lld shootdowns, %3lld splits, %4lld permission changes, "
			      "%5lld syncs, %2lld purges, %5lld pieces", what, n, (long long)shootdowns,
			      (long long)splits, (long long)permissions, (long long)syncs, (long long)purges,
			      (long long)pieces);
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
		spit(dir + "/trace", "", O_WRONLY | O_TRUNC);
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

		stop();
		for (const std::string &line : split(slurp(dir + "/trace").value_or(""))) {
			if (line.starts_with("# entries-in-buffer/entries-written: ")) {
				std::vector<std::string> n = split(words(line)[2], '/');

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
		for (const event &e : events)
			if (e.callers.empty())
				error = "an event without callers: " + e.name;
		return events;
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
	std::vector<call_trace::event> events;
	std::set<std::string> have;
	s64 splits_before = 0;

	static s64 splits()
	{
		s64 n = 0;

		for (const std::string &line : split(slurp("/proc/vmstat").value_or(""))) {
			std::vector<std::string> w = words(line);

			if (w.size() == 2 && w[0].starts_with("direct_map_level") && w[0].ends_with("_splits"))
				n += atoll(w[1].c_str());
		}
		return n;
	}

public:
	std::string error;

	counters() : error(trace.error)
	{
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
		splits_before = splits();
		/* A kernel without execmem has no such event. */
		if (exists(tracefs("events/execmem/execmem_alloc")))
			trace.begin({ "execmem_counts", "execmem/execmem_alloc" });
		else
			trace.begin({ "execmem_counts" });
	}

	/* What was counted since begin(). */
	figures end()
	{
		events = trace.end();
		if (error.empty())
			error = trace.error;
		figures all = below({});
		all.splits = splits() - splits_before;
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

	/* Of that what functions have called whose names begin with one of @callers; all if there is none. */
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
				f.pieces++;
			if (what == functions.end())
				continue;
			if (what->second == &figures::syncs)
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
	return strtoul(kernel_parameter("execmem_counts").value_or("30").c_str(), nullptr, 10);
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
