// SPDX-License-Identifier: GPL-2.0
/*
 * W^X over time: execmem_watch.ko looks at the page table at each return from
 * set_memory_*() and from vmalloc.  A page that is writable and executable for
 * a microsecond only is found too, where a dump would come too late.  A call
 * that the watch has missed is a failure: nobody knows what it did.
 */
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "arch.hpp"
#include "bpf.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static std::unique_ptr<loaded_module> watch;
static int watch_error;

static result need_watch()
{
	if (arch != arch_id::x86_64 && arch != arch_id::i386)
		return skip("the watch knows only x86 page tables");
	TRY(need_module("execmem_watch", "CONFIG_KPROBES"));
	if (!watch) {
		watch = std::make_unique<loaded_module>("execmem_watch");
		watch_error = watch->err;
	}
	CHECK(!watch_error, "execmem_watch: %s", strerror(-watch_error));
	return pass();
}

/* What the watch says of @what; -1 when it says nothing, which is never a good answer. */
static int watched(const char *what)
{
	std::string value = module_param("execmem_watch", what);

	return value.empty() ? -1 : atoi(value.c_str());
}

static void clear()
{
	spit("/sys/module/execmem_watch/parameters/clear", "1");
}

static result no_violation(const char *during)
{
	int seen = watched("transitions"), bad = watched("violations"), missed = watched("missed");

	diag("up to %s: %d transitions, %d violations, %d missed", during, seen, bad, missed);
	for (const std::string &l : split(module_param("execmem_watch", "report")))
		diag("%s", l.c_str());
	CHECK(seen > 0, "the watch saw nothing");
	CHECK(missed == 0, "the watch missed %d calls up to %s", missed, during);
	CHECK(bad == 0, "%d times a page was W+X up to %s", bad, during);
	return pass();
}

/* Every set_memory_*() and every new area counts, and a planted one is found. */
static result planted_page_is_seen()
{
	TRY(need_watch());
	clear();
	int err = spit("/sys/module/execmem_watch/parameters/plant", "1");

	CHECK(!err, "plant: %s", strerror(-err));
	CHECK(watched("violations") > 0, "a planted W+X page was not seen");
	clear();
	return pass();
}

/* More calls of one function at a time than the watch has room for: it says how many it lost. */
static result missed_calls_are_counted()
{
	TRY(need_watch());
	const int room = watched("max_active");

	CHECK(room > 0, "the watch has no room for any call");
	for (int more : { 0, 6 }) {
		clear();
		int err = spit("/sys/module/execmem_watch/parameters/nest", std::to_string(room + more));
		int missed = watched("missed");

		CHECK(!err, "nest: %s", strerror(-err));
		CHECK(missed == more, "of %d calls %d have no room, the watch says that it missed %d", room + more,
		      more, missed);
	}
	clear();
	CHECK(watched("missed") == 0, "what was missed before is not forgotten");
	return pass();
}

static std::unique_ptr<live_load> load;

static result under_load()
{
	TRY(need_watch());
	load = std::make_unique<live_load>(30);
	CHECK(load->error.empty(), "%s", load->error.c_str());
	return no_violation("load");
}

/* More text than there is room for: a pool takes memory for it, and gives that back. */
static result under_growth()
{
	TRY(need_watch());
	TRY(need_jit());
	/* What others have left goes by and by, and is room until then. */
	CHECK(!have_pool() || wait_for(20000, [] { return pool_list().idle <= 1; }), "idle chunks stay");
	const u64 before = pool_list().size();
	{
		std::vector<unique_fd> progs;

		for (int i = 0; i < 40; i++) {
			progs.emplace_back(bpf_prog_load(bpf_return_large(i, 20000)));
			CHECK(progs.back(), "program %d: %s", i, strerror(-progs.back().fd));
		}
		CHECK(!have_pool() || pool_list().size() > before, "the pool has not grown");
	}
	CHECK(wait_for(20000, [&] { return pool_list().size() <= before + large; }), "the pool keeps what it took");
	CHECK(!have_pool() || watched("maps") > 0, "the watch has seen no chunk being mapped");
	return no_violation("growth");
}

static result under_unload()
{
	TRY(need_watch());
	load.reset();
	return no_violation("unload");
}

int main()
{
	int ret = run_cases({
		{ "planted_page_is_seen", planted_page_is_seen },
		{ "missed_calls_are_counted", missed_calls_are_counted },
		{ "load", under_load },
		{ "growth", under_growth },
		{ "unload", under_unload, "load" },
	});

	load.reset();
	watch.reset();
	return ret;
}
