// SPDX-License-Identifier: GPL-2.0
/*
 * No physical page that is mapped executable has a writable mapping anywhere,
 * the direct map included.  The kernel is not asked: the host walks the page
 * tables of the guest and joins them on the physical address.
 */
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "host.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "modules.hpp"
#include "run.hpp"

static host_channel host;

static result ask(const char *label)
{
	if (!host.port)
		return skip("no host channel (virtio-serial port execmem.host)");
	std::string reply = host.ask(std::string("alias ") + label);

	if (reply.starts_with("skip"))
		return skip("%s", reply.size() > 5 ? reply.c_str() + 5 : "the host cannot look at this machine");
	CHECK(!reply.empty(), "the host did not answer");
	CHECK(reply.starts_with("ok"), "host: %s", reply.c_str());
	return pass();
}

static result planted_alias_is_seen()
{
	if (!host.port)
		return skip("no host channel (virtio-serial port execmem.host)");
	TRY(need_module("execmem_bad"));
	loaded_module bad("execmem_bad", "mode=alias");

	CHECK(!bad.err, "execmem_bad: %s", strerror(-bad.err));
	std::vector<std::string> notes;
	std::string reply = host.ask("alias planted", &notes);

	if (reply.starts_with("skip"))
		return skip("%s", reply.size() > 5 ? reply.c_str() + 5 : "the host cannot look at this machine");
	CHECK(reply.starts_with("not ok"), "the host did not see a planted alias: \"%s\"", reply.c_str());
	CHECK(!bad.unload(), "cannot unload execmem_bad");
	return ask("after-planted");
}

static std::unique_ptr<live_load> load;

static result under_load()
{
	if (!host.port)
		return skip("no host channel (virtio-serial port execmem.host)");
	load = std::make_unique<live_load>();
	CHECK(load->error.empty(), "%s", load->error.c_str());
	return ask("load");
}

static result after_unload()
{
	if (!host.port)
		return skip("no host channel (virtio-serial port execmem.host)");
	CHECK(load, "nothing was loaded");
	load.reset();
	return ask("unload");
}

int main()
{
	return run_cases({
		{ "after_boot", [] { return ask("boot"); } },
		{ "planted_alias_is_seen", planted_alias_is_seen },
		{ "under_load", under_load },
		{ "after_unload", after_unload, "under_load" },
	});
}
