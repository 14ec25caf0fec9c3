/* SPDX-License-Identifier: GPL-2.0 */
/* The way to the harness outside of the guest. */
#ifndef EXECMEM_HOST_HPP
#define EXECMEM_HOST_HPP

#include <string>
#include <vector>

#include "proc.hpp"

/*
 * The virtio-serial port "execmem.host" leads to the harness, which looks at
 * the guest from outside. Return: the device of it, or "".
 */
std::string host_port();

struct host_channel {
	unique_fd port;

	host_channel();

	bool send(const std::string &line);

	/* Ask; hand on the diagnostics; give back the last line, "" when lost. */
	std::string ask(const std::string &line, std::vector<std::string> *notes = nullptr);
};

#endif /* EXECMEM_HOST_HPP */
