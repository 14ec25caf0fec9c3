// SPDX-License-Identifier: GPL-2.0
/*
 * Branch predictors are flushed for a classic BPF program, which anybody may
 * load, where a CPU may remember branches of what was there before; and only
 * then. In a boot of its own, on a processor for which the kernel does that.
 */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <sys/socket.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "counters.hpp"
#include "footprint.hpp"
#include "klog.hpp"
#include "kprobes.hpp"
#include "ktap.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

/* How often the kernel has flushed since begin(). */
class flushes {
	static constexpr const char *probe = "execmem_predictors/flush";
	call_trace trace { "execmem_predictors" };

public:
	std::string error;

	flushes() : error(trace.error)
	{
		if (append(tracefs("kprobe_events"), format("p:%s bpf_arch_ibpb\n", probe)))
			error = "no probe on bpf_arch_ibpb";
	}

	~flushes()
	{
		trace.stop();
		append(tracefs("kprobe_events"), format("-:%s\n", probe));
	}

	void begin() { trace.begin({ probe }); }

	size_t end()
	{
		size_t n = trace.end().size();

		if (error.empty())
			error = trace.error;
		return n;
	}
};

static std::unique_ptr<flushes> count;

static result need_flushes()
{
	TRY(need_jit());
	if (arch != arch_id::x86_64 || kernel_parameter("spectre_v2") != "ibrs")
		return skip("not booted with spectre_v2=ibrs on a processor with IBRS");
	CHECK(kernel_log().find("Enabling IBPB for BPF") != std::string::npos,
	      "booted for it, and the kernel flushes no predictors for BPF");
	if (!have_kprobe_events())
		return skip("CONFIG_KPROBE_EVENTS is not set");
	if (!count)
		count = std::make_unique<flushes>();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	return pass();
}

/* @n filters that stay, and how often the kernel has flushed for them. */
static result load(std::vector<unique_fd> &filters, size_t n, size_t &flushed)
{
	count->begin();
	for (size_t i = 0; i < n; i++) {
		filters.emplace_back(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		CHECK(filters.back(), "socket: %s", strerror(errno));
		int err = attach_classic(filters.back().fd, 40);
		CHECK(!err, "filter: %s", strerror(-err));
	}
	flushed = count->end();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	return pass();
}

static result clean_place()
{
	static constexpr size_t n = 20;
	std::vector<unique_fd> filters;
	size_t first = 0, flushed = 0;

	TRY(need_flushes());
	settle();
	TRY(load(filters, 1, first));
	TRY(load(filters, n, flushed));
	diag("%zu flushes for the first filter, %zu for %zu more while nothing is freed", first, flushed, n);
	if (have_pool())
		CHECK(flushed == 0, "%zu flushes for places in which nothing was freed since the last one", flushed);
	else	/* Nobody knows what was there before. */
		CHECK(flushed == n, "%zu flushes for %zu filters in pages that may have held anything", flushed, n);
	return pass();
}

/* Is there an area in such a state that has a part of @place? */
static bool any_in(const bpf_image &place, bool (*state)(const area &))
{
	const pool_list list;

	return std::any_of(list.areas.begin(), list.areas.end(), [&](const area &a) {
		return state(a) && a.addr < place.addr + place.len && place.addr < a.addr + a.size;
	});
}

static bool taken(const bpf_image &place)
{
	return any_in(place, [](const area &a) { return a.live(); });
}

/*
 * A program with privilege goes, and classic ones come until one of them lies where
 * it was. The rest of them need not be flushed for.
 */
static result reused_place()
{
	std::vector<unique_fd> filters;
	std::vector<unique_fd> others;
	size_t flushed = 0;

	TRY(need_flushes());
	TRY(need_pool());
	settle();
	TRY(load(filters, 1, flushed));

	unique_fd prog(bpf_prog_load(bpf_return(1, 200)));
	CHECK(prog, "program: %s", strerror(-prog.fd));
	const bpf_image place = bpf_images(prog.fd).at(0);
	CHECK(taken(place), "the list of areas does not have the program");
	/* What is behind it stays, so that what fits there is small. */
	others.emplace_back(bpf_prog_load(bpf_return(2)));
	CHECK(others.back(), "program: %s", strerror(-others.back().fd));
	prog = unique_fd();
	CHECK(wait_for(10000, [&] { return !any_in(place, [](const area &a) { return a.state != "free"; }); }),
	      "the place of the program is not free");

	size_t all = 0;
	bool reused = false;
	for (int i = 0; i < 200 && !reused; i++) {
		TRY(load(filters, 1, flushed));
		all += flushed;
		reused = taken(place);
		if (reused)
			diag("filter %d took the place; %zu flushes so far, %zu for this one", i + 1, all, flushed);
	}
	CHECK(reused, "no filter was put where the program was");
	CHECK(all == 1, "%zu flushes, not 1", all);
	return pass();
}

/* Programs with privilege use the same places again and do not pay for it. */
static result with_privilege()
{
	std::set<u64> places;
	size_t again = 0;

	TRY(need_flushes());
	count->begin();
	for (int i = 0; i < 200 && again < 20; i++) {
		unique_fd prog(bpf_prog_load(bpf_return(i)));
		CHECK(prog, "program: %s", strerror(-prog.fd));
		again += !places.insert(bpf_images(prog.fd).at(0).addr / granule).second;
	}
	const size_t flushed = count->end();
	CHECK(count->error.empty(), "%s", count->error.c_str());
	CHECK(again >= 20, "only %zu programs were where another had been", again);
	CHECK(flushed == 0, "%zu flushes for programs that nobody without privilege can load", flushed);
	return pass();
}

int main()
{
	int ret = run_cases({
		{ "clean_place", clean_place },
		{ "reused_place", reused_place },
		{ "with_privilege", with_privilege },
	});

	count.reset();
	return ret;
}
