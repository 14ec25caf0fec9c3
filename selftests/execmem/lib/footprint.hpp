/* SPDX-License-Identifier: GPL-2.0 */
/* What run-time text takes of the address space, and that it gives it back. */
#ifndef EXECMEM_FOOTPRINT_HPP
#define EXECMEM_FOOTPRINT_HPP

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include "ktap.hpp"
#include "proc.hpp"
#include "types.hpp"

/*
 * Run-time text in /proc/vmallocinfo: bytes by caller, for callers that
 * handle executable memory. A pool is one line there: what is in it is in the
 * list of debugfs.
 */
using footprint = std::map<std::string, s64>;

static inline void measure_pools(footprint &f)
{
	/* area ADDRESS SIZE TYPE STATE pool CALLER */
	for (const std::string &line : split(slurp(debugfs("execmem")).value_or(""))) {
		std::vector<std::string> w = words(line);

		if (w.size() == 7 && w[0] == "area" && w[5] == "pool" &&
		    (w[4] == "allocated" || w[4] == "finished"))
			f["pool: " + w[6].substr(0, w[6].find('+'))] += atoll(w[2].c_str());
	}
}

static inline footprint measure()
{
	footprint f;

	for (const std::string &line : split(slurp("/proc/vmallocinfo").value_or(""))) {
		std::vector<std::string> w = words(line);

		if (w.size() < 3 || !w[0].starts_with("0x"))
			continue;
		std::string caller = w[2].substr(0, w[2].find('+'));
		if (caller == "execmem_window_create")
			continue;
		for (const char *key : { "module", "execmem", "bpf", "jit_", "insn", "kprobe", "ftrace",
					 "tramp", "its_", "layout" }) {
			if (caller.find(key) == caller.npos)
				continue;
			f[caller] += atoll(w[1].c_str());
			break;
		}
	}
	measure_pools(f);
	return f;
}

/* Once what was freed before is really gone: some of it waits for a grace period. */
static inline footprint settle()
{
	footprint last = measure();

	for (int still = 0, t = 0; still < 15 && t < 200 * static_cast<int>(slow()); t++) {
		usleep(100000);
		footprint now = measure();

		still = now == last ? still + 1 : 0;
		last = std::move(now);
	}
	return last;
}

/* No caller holds more than before. */
static inline result no_growth(const footprint &before)
{
	footprint after;
	std::string grown;
	bool same = wait_for(20000, [&] {
		after = measure();
		grown.clear();
		for (const auto &[caller, bytes] : after) {
			auto it = before.find(caller);
			s64 was = it == before.end() ? 0 : it->second;

			if (bytes > was)
				grown += format(" %s had %lld bytes, has %lld;", caller.c_str(),
						(long long)was, (long long)bytes);
		}
		return grown.empty();
	});

	CHECK(same, "/proc/vmallocinfo:%s", grown.c_str());
	return pass();
}

/* Bytes. */
static inline u64 free_memory()
{
	for (const std::string &line : split(slurp("/proc/meminfo").value_or("")))
		if (line.starts_with("MemFree:"))
			return strtoull(words(line)[1].c_str(), nullptr, 10) << 10;
	return 0;
}

#endif /* EXECMEM_FOOTPRINT_HPP */
