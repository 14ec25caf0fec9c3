// SPDX-License-Identifier: GPL-2.0
/*
 * No kernel address is writable and executable: after boot, while run-time
 * text of every kind is live, and after it is gone.  The oracle is the whole
 * page-table dump; a planted W+X page shows that it is one.
 */
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "arch.hpp"
#include "kallsyms.hpp"
#include "klog.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "run.hpp"
#include "types.hpp"

static result tell_and_judge(const char *when)
{
	TRY(need_dump());
	const page_tables pt;

	diag("%s: %zu mapped ranges, %zu executable, %zu W+X", when, pt.maps.size(), pt.exec_ranges, pt.wx().size());
	return no_wx(when);
}

/* The dump is read rightly: known text is ROX in it, known data RW and NX. */
static result dump_is_understood()
{
	TRY(need_dump());
	page_tables pt;
	kallsyms ks;
	static const struct {
		const char *symbol;
		bool write, exec;
	} known[] = {
		{ "_stext", false, true },
		{ "schedule", false, true },
		{ "init_task", true, false },
		{ "jiffies", true, false },
		{ "linux_banner", false, false },
	};

	/* s390, with one large mapping for all that is alike, has 15. */
	CHECK(pt.maps.size() >= 10, "only %zu mapped ranges in %zu lines", pt.maps.size(), pt.lines);
	for (const auto &k : known) {
		u64 addr = ks.addr(k.symbol);
		const mapping *m = pt.find(addr);

		CHECK(addr, "%s is not in kallsyms", k.symbol);
		CHECK(m, "%s at %#llx is not mapped in the dump", k.symbol, (unsigned long long)addr);
		/* radix on powerpc makes no difference between the text and the rodata of the image. */
		bool exec = k.exec || (arch == arch_id::powerpc && !k.write);
		CHECK(m->write == k.write && m->exec == exec, "%s: %s", k.symbol, m->line.c_str());
	}
	return pass();
}

static result boot_check()
{
	std::string log = kernel_log();
	size_t at = log.find("Checked W+X mappings: ");

	if (at == log.npos)
		return skip("CONFIG_DEBUG_WX is not set (no verdict of it in the log)");
	std::string line = log.substr(at, log.find('\n', at) - at);
	diag("%s", line.c_str());
	CHECK(line.find("passed") != line.npos, "%s", line.c_str());
	return pass();
}

static result planted_page_is_seen()
{
	TRY(need_dump());
	TRY(need_module("execmem_bad"));
	loaded_module bad("execmem_bad", "mode=wx");

	CHECK(!bad.err, "execmem_bad: %s", strerror(-bad.err));
	u64 addr = strtoull(module_param("execmem_bad", "addr").c_str(), nullptr, 10);
	{
		page_tables pt;
		const mapping *m = pt.find(addr);

		CHECK(addr && m, "planted page %#llx is not in the dump", (unsigned long long)addr);
		diag("planted: %s", m->line.c_str());
		CHECK(m->wx(), "the planted W+X page is not reported as such");
		CHECK(pt.wx().size() == 1, "%zu W+X ranges, expected the planted one", pt.wx().size());
	}
	CHECK(!bad.unload(), "cannot unload execmem_bad");
	return tell_and_judge("after the planted page is gone");
}

static std::unique_ptr<live_load> load;

static result under_load()
{
	TRY(need_dump());
	load = std::make_unique<live_load>();
	CHECK(load->error.empty(), "%s", load->error.c_str());
	return tell_and_judge("under load");
}

static result after_unload()
{
	TRY(need_dump());
	CHECK(load, "nothing was loaded");
	int err = load->modules ? load->modules->unload() : 0;
	load.reset();
	CHECK(!err, "unload: %s", strerror(-err));
	return tell_and_judge("after unload");
}

int main()
{
	return run_cases({
		{ "dump_is_understood", dump_is_understood },
		{ "boot_check", boot_check },
		{ "after_boot", [] { return tell_and_judge("after boot"); } },
		{ "planted_page_is_seen", planted_page_is_seen },
		{ "under_load", under_load },
		{ "after_unload", after_unload, "under_load" },
	});
}
