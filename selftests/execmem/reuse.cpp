// SPDX-License-Identifier: GPL-2.0
/*
 * Text is freed, and other text comes to its place, while another CPU runs it as soon
 * as it is there: no stale byte, no place before its time, none of another origin.
 * The module execmem_reuse does it, and asks RCU itself about grace periods.
 * "execmem_reuse=SECONDS" on the command line: for how long.
 */
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <unistd.h>

#include "arch.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static result at_once()
{
	if (arch != arch_id::x86_64)
		return skip("the functions that are made are those of x86-64");
	TRY(need_pool());
	TRY(need_module("execmem_reuse"));
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return skip("one CPU only");
	loaded_module m("execmem_reuse");
	CHECK(!m.err, "execmem_reuse: %s", strerror(-m.err));
	const std::string seconds = kernel_parameter("execmem_reuse").value_or("15");
	int err = spit("/sys/module/execmem_reuse/parameters/run", seconds);
	CHECK(!err, "run: %s", strerror(-err));

	const std::string said = module_param("execmem_reuse", "run");
	diag("%s s: %s", seconds.c_str(), said.c_str());
	std::vector<std::string> w = words(said);
	CHECK(w.size() == 13 && w[0] == "reuse:", "execmem_reuse says: %s", said.c_str());
	auto number = [&](size_t i) { return strtoull(w[i].c_str(), nullptr, 10); };

	/* At least once over what waits for a grace period, in granules. */
	CHECK(number(1) >= 100 && number(3) >= 100, "too few to say anything: %s", said.c_str());
	CHECK(number(5) == 0, "%s times new text did not consist of traps", w[5].c_str());
	CHECK(number(7) == 0, "%s times other code ran than was written", w[7].c_str());
	CHECK(number(9) == 0, "%s times a place came back before a grace period was over", w[9].c_str());
	CHECK(number(11) == 0, "%s times a place changed between BPF and others", w[11].c_str());
	return pass();
}

int main()
{
	return run_cases({ { "at_once", at_once } });
}
