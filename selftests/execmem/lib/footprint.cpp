// SPDX-License-Identifier: GPL-2.0
#include "footprint.hpp"

#include <cstdlib>
#include <cstring>
#include <vector>

#include <unistd.h>

#include "bpf.hpp"
#include "modules.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "vmallocinfo.hpp"

footprint measure()
{
	footprint f;

	for (const vmalloc_area &a : vmallocinfo()) {
		if (a.caller == "execmem_window_create")
			continue;
		for (const char *key : { "module", "execmem", "bpf", "jit_", "insn", "kprobe", "ftrace",
					 "tramp", "its_", "layout" }) {
			if (a.caller.find(key) == a.caller.npos)
				continue;
			f[a.caller] += a.size;
			break;
		}
	}
	for (const area &a : pool_list().areas)
		if (a.where == "pool" && a.live())
			f["pool: " + a.caller] += a.size;
	return f;
}

footprint settle()
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

/* Who holds more than before, and how much. */
static std::string grown(const footprint &before, const footprint &after)
{
	std::string who;

	for (const auto &[caller, bytes] : after) {
		auto it = before.find(caller);
		const s64 was = it == before.end() ? 0 : it->second;

		if (bytes > was)
			who += format(" %s had %lld bytes, has %lld;", caller.c_str(), (long long)was,
				      (long long)bytes);
	}
	return who;
}

result no_growth(const footprint &before)
{
	std::string who;
	bool same = wait_for(20000, [&] { return (who = grown(before, measure())).empty(); });

	CHECK(same, "/proc/vmallocinfo:%s", who.c_str());
	return pass();
}

result growth_is_seen()
{
	const bool modules = have_modules(), jit = need_jit().verdict == result::PASS;

	if (!modules && !jit)
		return skip("CONFIG_MODULES and CONFIG_BPF_JIT are not set");
	if (modules) {
		TRY(need_module("execmem_clone_000"));
		const footprint before = settle();
		module_clones clones(1);

		CHECK(!clones.err, "execmem_clone_000: %s", strerror(-clones.err));
		CHECK(!grown(before, measure()).empty(), "a module is there, and nobody holds more than before");
	}
	if (jit) {
		const footprint before = settle();
		std::vector<unique_fd> progs;

		/* More than there may be room for in what is there already. */
		for (int i = 0; i < 15; i++) {
			progs.emplace_back(bpf_prog_load(bpf_return_large(i, 8000)));
			CHECK(progs.back(), "program %d: %s", i, strerror(-progs.back().fd));
		}
		CHECK(!grown(before, measure()).empty(), "programs of 3 MB are there, and nobody holds more than before");
	}
	return pass();
}

u64 free_memory()
{
	for (const std::string &line : split(read_or_fail("/proc/meminfo")))
		if (line.starts_with("MemFree:"))
			return strtoull(words(line)[1].c_str(), nullptr, 10) << 10;
	throw cannot_read("/proc/meminfo has no line MemFree");
}
