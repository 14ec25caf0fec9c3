// SPDX-License-Identifier: GPL-2.0
/*
 * Something for crash, drgn and makedumpfile to read: modules with their memory
 * in several places, and a dump of the whole guest, made by the host.
 *
 * Oracle: /proc/kallsyms. Lines "# symbol MODULE t|d NAME ADDRESS" say for each
 * module what such a tool must find: one symbol in text, one in data.
 *
 * Not in the list of tests: scripts/tools.sh dump brings it into the guest, and looks
 * at what the tools make of the dump.
 */
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "host.hpp"
#include "kallsyms.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static result dump()
{
	TRY(need_module("execmem_busy_a"));
	/* Without it there is no VMCOREINFO in the dump. The ports are those of a PC: there is no ACPI to tell. */
	int err = load_module("qemu_fw_cfg", "ioport=12@0x510:0:1:4");
	CHECK(!err, "qemu_fw_cfg: %s", strerror(-err));

	for (const char *name : { "execmem_test", "execmem_dep", "execmem_fill" }) {
		err = module_loaded(name) ? 0 : load_module(name);
		CHECK(!err, "%s: %s", name, strerror(-err));
	}
	/* Text and data of others in between those of execmem_busy_a. */
	module_clones behind(2, 1);
	CHECK(!behind.err, "execmem_clone_001: %s", strerror(-behind.err));
	err = load_module("execmem_busy_a");
	CHECK(!err, "execmem_busy_a: %s", strerror(-err));
	defer unload([] { unload_module("execmem_busy_a"); });
	module_clones more(2, 3);
	CHECK(!more.err, "execmem_clone_003: %s", strerror(-more.err));

	const kallsyms ks;
	std::map<std::string, unsigned int> names;
	std::map<u64, unsigned int> at;
	for (const symbol &s : ks.syms) {
		names[s.name]++;
		at[s.addr]++;
	}
	unsigned int modules = 0;
	for (const std::string &line : split(read_or_fail("/proc/modules"))) {
		const std::string module = words(line)[0];
		const symbol *text = nullptr, *data = nullptr;

		/* what has one name and one address only, as tools print the first that fits */
		for (const symbol &s : ks.syms) {
			if (s.module != module || names[s.name] > 1 || at[s.addr] > 1 || s.name.starts_with("__"))
				continue;
			if (strchr("tT", s.type) && !text)
				text = &s;
			if (strchr("dDbB", s.type) && !data)
				data = &s;
		}
		if (!text || !data)
			continue;
		modules++;
		for (const symbol *s : { text, data })
			diag("symbol %s %c %s %llx", module.c_str(), s == text ? 't' : 'd', s->name.c_str(),
			     (unsigned long long)s->addr);
	}
	CHECK(modules >= 3, "%u modules have symbols of one name and one address", modules);

	host_channel host;
	if (!host.port)
		return skip("no port execmem.host");
	const std::string answer = host.ask("dump");
	CHECK(answer.starts_with("ok"), "the host makes no dump: %s", answer.c_str());
	return pass();
}

int main()
{
	return run_cases({ { "dump", dump } });
}
