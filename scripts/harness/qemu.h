/* SPDX-License-Identifier: GPL-2.0 */
/* One QEMU process: its channels, its monitor and its memory. */
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

struct guest_setup {
	std::string arch, kernel, initrd, append, dir;
	/*
	 * tcg gives every machine the same guest; kvm is the faster choice; with
	 * icount one instruction takes one nanosecond, on one CPU
	 */
	std::string accel = "tcg";
	std::string cpu;	/* instead of the usual one */
	unsigned memory_mb = 1024, cpus = 2;
};

/* What is different from machine to machine. */
struct machine {
	const char *arch, *command;
	std::vector<std::string> tcg, kvm;	/* arguments */
	const char *virtio_serial;	/* the device that has the ports */
	const char *console;		/* for the kernel's command line */
	std::uint64_t ram_start;
	/*
	 * The guest's init has a device to end QEMU with a status of its own.
	 * Where there is none it powers off, which nothing else does: a panic
	 * and a reset have other reasons.
	 */
	bool exit_device;
};

/* Nothing for an architecture that there is no machine for. */
const machine *find_machine(const std::string &arch);

class qemu {
public:
	/* Starts it; exits with one line on stderr when that fails. */
	explicit qemu(const guest_setup &setup);
	~qemu();
	qemu(const qemu &) = delete;
	qemu &operator=(const qemu &) = delete;

	/* "exited N" or "killed by signal N" once it has ended. */
	std::optional<std::string> ended();
	/* Why QEMU says that it ended: "guest-shutdown", "guest-reset", "guest-panic". */
	std::string end_reason();
	void kill();

	/* The guest's request port, a byte stream in both directions. */
	int host_port() const { return port; }

	void stop();
	void cont();
	/* A command of the human monitor; the text that it prints. */
	std::string monitor(const std::string &command);
	/* All memory into the file @path, as ELF, while the guest stands still. Return: what went wrong, or "". */
	std::string dump(const std::string &path);

	/* Every value of a system register, one for each CPU (arm64 only). */
	std::vector<std::uint64_t> arm_register(const std::string &name);

	/* 8 bytes of guest-physical memory; nothing where there is no RAM. */
	std::optional<std::uint64_t> phys64(std::uint64_t address) const;

private:
	std::string qmp_command(const std::string &json);
	std::string qmp_read();

	pid_t pid = -1;
	int qmp = -1, port = -1;
	std::string qmp_pending, shutdown_reason;
	std::optional<std::string> end;
	unsigned char *ram = nullptr;
	std::uint64_t ram_size = 0, ram_start = 0;
	std::string gdb_socket;
};
