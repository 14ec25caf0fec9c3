// SPDX-License-Identifier: GPL-2.0
#include "host.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "ktap.hpp"

std::string host_port()
{
	for (int bus = 0; bus < 4; bus++) {
		for (int nr = 0; nr < 8; nr++) {
			std::string id = format("vport%dp%d", bus, nr);
			auto name = slurp("/sys/class/virtio-ports/" + id + "/name");

			if (name && trim(*name) == "execmem.host")
				return "/dev/" + id;
		}
	}
	return "";
}

host_channel::host_channel()
{
	const std::string device = host_port();

	if (!device.empty())
		port = unique_fd(open(device.c_str(), O_RDWR | O_CLOEXEC));
}

bool host_channel::send(const std::string &line)
{
	std::string s = line + "\n";

	return port && write(port.fd, s.data(), s.size()) == static_cast<ssize_t>(s.size());
}

std::string host_channel::ask(const std::string &line, std::vector<std::string> *notes)
{
	std::string got;
	char c;

	if (!send(line))
		return "";
	for (;;) {
		struct pollfd p = { port.fd, POLLIN, 0 };

		if (poll(&p, 1, 120000) <= 0 || read(port.fd, &c, 1) != 1)
			return "";
		if (c != '\n') {
			got += c;
			continue;
		}
		if (!got.starts_with("#"))
			return got;
		diag("host:%s", got.c_str() + 1);
		if (notes)
			notes->push_back(got);
		got.clear();
	}
}
