// SPDX-License-Identifier: GPL-2.0
/*
 * Hibernation copies all memory through the linear mapping, in which text is
 * read-only, or not mapped for a moment. There is no swap area here, so the
 * kernel makes its image, finds no place for it, and goes on.
 */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <sys/klog.h>

#include "bpf.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "page_tables.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

/* How often the kernel has said that. */
static size_t said(const std::string &what)
{
	std::string log(1 << 22, '\0');
	int n = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log.data(), log.size());
	size_t count = 0;

	log.resize(std::max(n, 0));
	for (size_t at = 0; (at = log.find(what, at)) != log.npos; at++)
		count++;
	return count;
}

static result image_is_made()
{
	static const char *const created = "Image created";

	if (read_if_there("/sys/power/disk").find("shutdown") == std::string::npos)
		return skip("CONFIG_HIBERNATION is not set");
	/* Its first line is a heading. Where there is swap the image is written, and the machine switched off. */
	if (split(read_or_fail("/proc/swaps")).size() > 1)
		return skip("there is swap, to which the kernel would write the image and switch off");
	live_load load(20);
	CHECK(load.error.empty(), "%s", load.error.c_str());
	unique_fd prog(bpf_prog_load(bpf_return(4711)));
	CHECK(prog, "program: %s", strerror(-prog.fd));

	const size_t before = said(created);
	CHECK(!spit("/sys/power/disk", "shutdown"), "/sys/power/disk does not take shutdown");
	int err = spit("/sys/power/state", "disk");
	/* Some task did not freeze in time. */
	if (err == -EBUSY)
		err = spit("/sys/power/state", "disk");
	CHECK(err < 0, "the image was written somewhere");
	CHECK(said(created) == before + 1, "no image was made: %s", strerror(-err));

	u32 ret = 0;
	CHECK(!bpf_run(prog.fd, &ret) && ret == 4711, "the program gives %u, not 4711", ret);
	return no_wx();
}

static result works_after_it()
{
	if (read_if_there("/sys/power/disk").find("shutdown") == std::string::npos)
		return skip("CONFIG_HIBERNATION is not set");
	live_load load(20);

	CHECK(load.error.empty(), "%s", load.error.c_str());
	return no_wx();
}

int main()
{
	return run_cases({
		{ "image_is_made", image_is_made },
		{ "works_after_it", works_after_it },
	});
}
