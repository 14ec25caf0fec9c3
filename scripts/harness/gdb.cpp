// SPDX-License-Identifier: GPL-2.0
/*
 * arm64: the monitor does not show system registers, QEMU's gdb stub does.
 * It is opened for each question, on a socket that only this run knows, and
 * left again with the guest still stopped.
 */
#include "qemu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

class gdb_connection {
public:
	explicit gdb_connection(const std::string &path)
	{
		sockaddr_un address { AF_UNIX, "" };

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path.c_str());
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address))) {
			close(fd);
			fd = -1;
		}
	}

	~gdb_connection()
	{
		if (fd >= 0)
			close(fd);
	}

	/* Empty when the stub has no answer. */
	std::string ask(const std::string &request)
	{
		unsigned char sum = 0;
		char tail[4];

		for (char c : request)
			sum = static_cast<unsigned char>(sum + static_cast<unsigned char>(c));
		snprintf(tail, sizeof(tail), "#%02x", sum);

		const std::string packet = "$" + request + tail;

		if (fd < 0 || write(fd, packet.data(), packet.size()) < 0)
			return "";

		std::string answer;
		char c;

		while (next(c) && c != '$')
			;
		while (next(c) && c != '#') {
			if (c == '}' && next(c))
				c ^= 0x20;
			answer += c;
		}
		next(c);
		next(c);
		if (write(fd, "+", 1) != 1)
			return "";
		return answer;
	}

private:
	bool next(char &c)
	{
		pollfd p { fd, POLLIN, 0 };

		return fd >= 0 && poll(&p, 1, 5000) > 0 && read(fd, &c, 1) == 1;
	}

	int fd = -1;
};

/* The number that the stub gave to a register, out of its XML description. */
std::string register_number(gdb_connection &gdb, const std::string &name)
{
	for (const char *file : { "system-registers.xml", "target.xml" }) {
		std::string xml, part;

		do {
			char offset[64];

			snprintf(offset, sizeof(offset), "%zx,%x", xml.size(), 0x800);
			part = gdb.ask(std::string("qXfer:features:read:") + file + ":" + offset);
			if (part.empty() || (part[0] != 'm' && part[0] != 'l'))
				break;
			xml += part.substr(1);
		} while (part[0] == 'm');

		const size_t at = xml.find("\"" + name + "\"");

		if (at == xml.npos)
			continue;

		const size_t start = xml.rfind('<', at), end = xml.find('>', at);
		const size_t number = xml.find("regnum=\"", start);

		if (number != xml.npos && number < end)
			return std::to_string(atoi(xml.c_str() + number + 8));
	}
	return "";
}

} // namespace

std::vector<std::uint64_t> qemu::arm_register(const std::string &name)
{
	std::vector<std::uint64_t> values;

	monitor("gdbserver unix:" + gdb_socket + ",server=on,wait=off");
	{
		gdb_connection gdb(gdb_socket);

		gdb.ask("qSupported:xmlRegisters=arm");

		const std::string number = register_number(gdb, name);

		for (std::string thread = gdb.ask("qfThreadInfo"); thread.starts_with("m");
		     thread = gdb.ask("qsThreadInfo")) {
			/* "m" and one or more thread numbers with commas between */
			for (size_t at = 1; at < thread.size() && !number.empty(); ) {
				const size_t end = std::min(thread.find(',', at), thread.size());
				char request[32];

				gdb.ask("Hg" + thread.substr(at, end - at));
				snprintf(request, sizeof(request), "p%x", atoi(number.c_str()));

				const std::string bytes = gdb.ask(request);

				if (bytes.size() == 16)	/* little-endian hexadecimal */
					values.push_back(__builtin_bswap64(
						strtoull(bytes.c_str(), nullptr, 16)));
				at = end + 1;
			}
		}
	}
	monitor("gdbserver none");
	unlink(gdb_socket.c_str());
	return values;
}
