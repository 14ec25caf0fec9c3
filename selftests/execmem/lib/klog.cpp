// SPDX-License-Identifier: GPL-2.0
#include "klog.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "proc.hpp"
#include "splats.hpp"
#include "types.hpp"

struct record {
	s64 seq;
	std::string text;
};

static std::vector<record> records()
{
	unique_fd f(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	std::vector<record> all;
	char buf[8192];

	if (!f)
		throw cannot_read(std::string("cannot open /dev/kmsg: ") + strerror(errno));
	for (;;) {
		ssize_t n = read(f.fd, buf, sizeof(buf) - 1);

		if (n < 0 && errno == EPIPE)	/* overwritten meanwhile */
			continue;
		if (n < 0 && errno != EAGAIN)
			throw cannot_read(std::string("cannot read /dev/kmsg: ") + strerror(errno));
		if (n <= 0)
			break;
		/* "level,sequence,time,flags;text" */
		buf[n] = 0;
		const char *comma = strchr(buf, ','), *text = strchr(buf, ';');
		if (!comma || !text)
			throw cannot_read(std::string("/dev/kmsg: cannot parse \"") + buf + "\"");
		all.push_back({ strtoll(comma + 1, nullptr, 10), text + 1 });
	}
	return all;
}

std::string kernel_log()
{
	std::string log;

	for (const record &r : records())
		log += r.text;
	return log;
}

log_mark::log_mark()
{
	const std::vector<record> all = records();

	last = all.empty() ? -1 : all.back().seq;
}

std::string log_mark::since() const
{
	const std::vector<record> all = records();
	std::string log;

	/* What was overwritten since may have been the one to look for. */
	if (!all.empty() && all.front().seq > last + 1)
		throw cannot_read("the kernel's log is too small: records were overwritten before they were read");
	for (const record &r : all)
		if (r.seq > last)
			log += r.text;
	return log;
}

result expected_noise::no_splat() const
{
	const std::vector<std::string> found = unexpected_splats(split(mark.since()), expected);

	for (size_t i = 0; i < found.size() && i < 20; i++)
		diag("%s", found[i].c_str());
	CHECK(found.empty(), "%zu complaints in the kernel log, the first: %s", found.size(), found[0].c_str());
	return pass();
}
