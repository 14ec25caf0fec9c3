// SPDX-License-Identifier: GPL-2.0
#include "kmemleak.hpp"

#include <string>
#include <vector>

#include <unistd.h>

#include "proc.hpp"

result kmemleak_quiet()
{
	if (!exists(debugfs("kmemleak")))
		return skip("CONFIG_DEBUG_KMEMLEAK is not set");
	for (int i = 0; i < 2; i++) {
		int err = spit(debugfs("kmemleak"), "scan");

		if (err == -EBUSY)
			return skip("kmemleak is switched off");
		CHECK(!err, "kmemleak scan: %s", strerror(-err));
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
	spit(debugfs("kmemleak"), "scan");
	spit(debugfs("kmemleak"), "clear");
	return pass();
}
