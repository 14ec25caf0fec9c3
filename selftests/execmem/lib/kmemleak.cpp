// SPDX-License-Identifier: GPL-2.0
#include "kmemleak.hpp"

#include <string>
#include <vector>

#include <unistd.h>

#include "guest.hpp"
#include "proc.hpp"

/* It refuses when it has switched itself off, and lists nothing from then on. */
static result scan()
{
	int err = spit(debugfs("kmemleak"), "scan");

	CHECK(!err, "kmemleak does not scan: %s%s", strerror(-err), err == -EPERM ? ", it is switched off" : "");
	return pass();
}

result kmemleak_quiet()
{
	if (!exists(debugfs("kmemleak")))
		return skip("CONFIG_DEBUG_KMEMLEAK is not set");
	/* What has leaked before kmemleak_start() could forget it is no fault of this. */
	TRY(need_disruptive());
	for (int i = 0; i < 2; i++) {
		TRY(scan());
		sleep(6);
	}
	std::string leaks = read_or_fail(debugfs("kmemleak"));
	std::vector<std::string> lines = split(leaks);
	for (size_t i = 0; i < lines.size() && i < 60; i++)
		diag("%s", lines[i].c_str());
	CHECK(leaks.empty(), "kmemleak reports leaks");
	return pass();
}

result kmemleak_start()
{
	if (!exists(debugfs("kmemleak")))
		return skip("CONFIG_DEBUG_KMEMLEAK is not set");
	/* What it has found so far is somebody's. */
	TRY(need_disruptive());
	TRY(scan());
	int err = spit(debugfs("kmemleak"), "clear");
	CHECK(!err, "kmemleak does not forget: %s", strerror(-err));
	return pass();
}
