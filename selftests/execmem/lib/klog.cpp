// SPDX-License-Identifier: GPL-2.0
#include "klog.hpp"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "proc.hpp"
#include "splats.hpp"

std::string kernel_log()
{
	unique_fd f(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	std::string log;
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
		std::string_view rec(buf, n);
		size_t at = rec.find(';');

		if (at != rec.npos)
			log.append(rec.substr(at + 1));
	}
	return log;
}

log_mark::log_mark()
{
	static unsigned int nr;

	mark = format("execmem-selftest mark %d.%u", getpid(), nr++);
	spit("/dev/kmsg", mark + "\n");
}

std::string log_mark::since() const
{
	std::string log = kernel_log();
	size_t at = log.rfind(mark);

	return at == log.npos ? log : log.substr(at + mark.size());
}

result expected_noise::no_splat() const
{
	const std::vector<std::string> found = unexpected_splats(split(mark.since()), expected);

	for (size_t i = 0; i < found.size() && i < 20; i++)
		diag("%s", found[i].c_str());
	CHECK(found.empty(), "%zu complaints in the kernel log, the first: %s", found.size(), found[0].c_str());
	return pass();
}
