// SPDX-License-Identifier: GPL-2.0
#include "qemu.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

[[noreturn]] void die(const std::string &what)
{
	fprintf(stderr, "run-guest: %s: %s\n", what.c_str(), strerror(errno));
	exit(1);
}

/* The text of a JSON string that starts behind its opening quote. */
std::string unescape(std::string_view json)
{
	std::string text;

	for (size_t i = 0; i < json.size() && json[i] != '"'; i++) {
		if (json[i] != '\\') {
			text += json[i];
			continue;
		}
		switch (json[++i]) {
		case 'n': text += '\n'; break;
		case 't': text += '\t'; break;
		case 'r': break;
		case 'u': text += '?'; i += 4; break;
		default:  text += json[i];
		}
	}
	return text;
}

/* The value of a string in a line of JSON, "" without it. */
std::string string_of(std::string_view json, const std::string &name)
{
	const std::string key = "\"" + name + "\": \"";
	const size_t at = json.find(key);

	return at == json.npos ? "" : unescape(json.substr(at + key.size()));
}

const std::vector<std::string> semihosting = { "-semihosting-config",
					       "enable=on,target=native,userspace=on" };

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string> &b)
{
	a.insert(a.end(), b.begin(), b.end());
	return a;
}

const machine machines[] = {
	{
		"x86_64", "qemu-system-x86_64",
		{ "-machine", "pc,memory-backend=ram", "-cpu", "max,la57=off", "-device", "vmcoreinfo",
		  "-device", "isa-debug-exit,iobase=0xf4,iosize=4" },
		{ "-machine", "pc,memory-backend=ram", "-cpu", "host,la57=off,-arch-capabilities",
		  "-device", "vmcoreinfo", "-device", "isa-debug-exit,iobase=0xf4,iosize=4" },
		"virtio-serial-pci", "ttyS0", 0, true,
	}, {
		"arm64", "qemu-system-aarch64",
		semihosting + std::vector<std::string> {
			"-machine", "virt,memory-backend=ram,gic-version=3",
			"-cpu", "max,pauth-impdef=on" },
		semihosting + std::vector<std::string> {
			"-machine", "virt,memory-backend=ram,gic-version=3", "-cpu", "host" },
		"virtio-serial-pci", "ttyAMA0", 0x40000000, true,
	}, {
		"riscv64", "qemu-system-riscv64",
		semihosting + std::vector<std::string> {
			"-machine", "virt,memory-backend=ram", "-cpu", "rv64" },
		{}, "virtio-serial-pci", "ttyS0", 0x80000000, true,
	}, {
		"s390x", "qemu-system-s390x",
		{ "-machine", "s390-ccw-virtio,memory-backend=ram", "-cpu", "max",
		  "-action", "panic=exit-failure" },
		{}, "virtio-serial-ccw", "ttysclp0", 0, false,
	}, {
		/* the caps that TCG has not, or it says so on stderr */
		"ppc64le", "qemu-system-ppc64",
		{ "-machine", "pseries,x-vof=on,memory-backend=ram,cap-cfpc=broken,"
		  "cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off", "-cpu", "power9",
		  "-action", "panic=exit-failure",
		  /* or the NVRAM is empty, and the kernel says so */
		  "-prom-env", "execmem=1" },
		{}, "virtio-serial-pci", "hvc0", 0, false,
	},
};

/*
 * Before 8.1 (commit deba78709a) QEMU can miss that a CPU changes code while
 * another one translates it, and run the old code for ever: an int3 that
 * text_poke_bp() has long replaced. There all CPUs of a PC take turns in one
 * thread. Not elsewhere: it has been seen on x86 only, and on some machines a CPU
 * that waits for another one does not give up its turn.
 */
bool translates_safely(const std::string &command)
{
	int major = 0, minor = 0;

	if (FILE *version = popen((command + " --version").c_str(), "re")) {
		if (fscanf(version, "QEMU emulator version %d.%d", &major, &minor) != 2)
			major = 0;
		pclose(version);
	}
	return major > 8 || (major == 8 && minor >= 1);
}

} // namespace

const machine *find_machine(const std::string &arch)
{
	for (const auto &m : machines)
		if (arch == m.arch)
			return &m;
	return nullptr;
}

qemu::qemu(const guest_setup &setup)
{
	int qmp_pair[2], port_pair[2];
	const machine &m = *find_machine(setup.arch);
	const bool kvm = setup.accel == "kvm";

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp_pair) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port_pair))
		die("socketpair");

	/*
	 * The guest's RAM is a nameless shared file, so that this program can
	 * read page tables without asking anybody.
	 */
	int memory = memfd_create("execmem-guest", MFD_CLOEXEC);

	ram_size = static_cast<std::uint64_t>(setup.memory_mb) << 20;
	ram_start = m.ram_start;
	if (memory < 0 || ftruncate(memory, static_cast<off_t>(ram_size)))
		die("memory for the guest");
	ram = static_cast<unsigned char *>(mmap(nullptr, ram_size, PROT_READ, MAP_SHARED,
						memory, 0));
	if (ram == MAP_FAILED)
		die("memory for the guest");

	const std::string size = std::to_string(setup.memory_mb) + "M";
	const std::string cpus = std::to_string(setup.cpus);
	std::vector<std::string> args {
		m.command,
		"-nodefaults", "-display", "none", "-no-reboot",
		"-m", size, "-smp",
		/* the MP table of a PC, where this kernel looks for them, has one of each socket */
		setup.arch == "x86_64" ? cpus + ",sockets=" + cpus + ",cores=1,threads=1" : cpus,
		"-object", "memory-backend-file,id=ram,size=" + size + ",share=on,mem-path=/dev/fd/" +
			std::to_string(memory),
		"-serial", "file:" + setup.dir + "/console.log",
		"-chardev", "socket,id=qmp,fd=" + std::to_string(qmp_pair[1]),
		"-mon", "chardev=qmp,mode=control",
		"-device", m.virtio_serial,
		"-chardev", "file,id=result,path=" + setup.dir + "/result.ktap",
		"-device", "virtserialport,chardev=result,name=execmem.result",
		"-chardev", "socket,id=host,fd=" + std::to_string(port_pair[1]),
		"-device", "virtserialport,chardev=host,name=execmem.host",
		"-kernel", setup.kernel, "-initrd", setup.initrd, "-append", setup.append,
	};
	const bool multi = setup.accel != "icount" && (setup.accel == "mttcg" || setup.arch != "x86_64" ||
						       translates_safely(m.command));
	args = args + (kvm ? m.kvm : m.tcg) + std::vector<std::string> {
		"-accel", kvm ? "kvm" : multi ? "tcg,thread=multi" : "tcg,thread=single" };
	if (setup.accel == "icount")
		args = args + std::vector<std::string> { "-icount", "shift=0,sleep=off", "-seed", "1",
			"-rtc", "base=2024-01-01T00:00:00,clock=vm" };
	/* the last one counts */
	if (!setup.cpu.empty())
		args = args + std::vector<std::string> { "-cpu", setup.cpu };
	/* its name has to be short: not in the directory of the run */
	gdb_socket = std::filesystem::temp_directory_path() /
		     ("execmem-gdb." + std::to_string(getpid()));

	fflush(nullptr);
	const pid_t parent = getpid();

	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		std::vector<char *> argv;
		int log = open((setup.dir + "/qemu.log").c_str(),
			       O_WRONLY | O_CREAT | O_TRUNC, 0644);

		for (auto &arg : args)
			argv.push_back(arg.data());
		argv.push_back(nullptr);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		for (int fd : { memory, qmp_pair[1], port_pair[1] })
			fcntl(fd, F_SETFD, 0);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(log, 1);
		dup2(log, 2);
		execvp(argv[0], argv.data());
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(memory);
	close(qmp_pair[1]);
	close(port_pair[1]);
	qmp = qmp_pair[0];
	port = port_pair[0];
	qmp_read();		/* the greeting */
	qmp_command("{\"execute\":\"qmp_capabilities\"}");
}

qemu::~qemu()
{
	kill();
	munmap(ram, ram_size);
	close(qmp);
	close(port);
	unlink(gdb_socket.c_str());
}

std::optional<std::string> qemu::ended()
{
	int status;

	if (!end && waitpid(pid, &status, WNOHANG) == pid)
		end = WIFEXITED(status) ? "exited " + std::to_string(WEXITSTATUS(status)) :
		      "killed by signal " + std::to_string(WTERMSIG(status));
	return end;
}

std::string qemu::end_reason()
{
	/* what it said before it closed the connection */
	while (!qmp_read().empty())
		;
	return shutdown_reason;
}

void qemu::kill()
{
	if (ended())
		return;
	::kill(pid, SIGKILL);
	waitpid(pid, nullptr, 0);
	end = "killed";
}

/* One line, or nothing when QEMU has gone or does not answer in 60 seconds. */
std::string qemu::qmp_read()
{
	char buffer[65536];

	while (true) {
		if (const size_t eol = qmp_pending.find('\n'); eol != qmp_pending.npos) {
			std::string line = qmp_pending.substr(0, eol);

			qmp_pending.erase(0, eol + 1);
			if (line.find("\"event\": \"SHUTDOWN\"") != line.npos)
				shutdown_reason = string_of(line, "reason");
			return line;
		}

		pollfd p { qmp, POLLIN, 0 };

		if (poll(&p, 1, 60000) <= 0)
			return "";

		ssize_t n = read(qmp, buffer, sizeof(buffer));

		if (n <= 0)
			return "";
		qmp_pending.append(buffer, static_cast<size_t>(n));
	}
}

std::string qemu::qmp_command(const std::string &json)
{
	const std::string line = json + "\n";

	if (send(qmp, line.data(), line.size(), MSG_NOSIGNAL) < 0)
		return "";
	while (true) {
		std::string answer = qmp_read();

		/* events come in between */
		if (answer.empty() || answer.starts_with("{\"return\"") ||
		    answer.starts_with("{\"error\""))
			return answer;
	}
}

void qemu::stop()
{
	qmp_command("{\"execute\":\"stop\"}");
}

void qemu::cont()
{
	qmp_command("{\"execute\":\"cont\"}");
}

std::string qemu::monitor(const std::string &command)
{
	const std::string answer = qmp_command(
		"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"" +
		command + "\"}}");
	constexpr std::string_view head = "{\"return\": \"";

	if (!answer.starts_with(head))
		return "";
	return unescape(std::string_view(answer).substr(head.size()));
}

std::string qemu::dump(const std::string &path)
{
	stop();
	const std::string answer = qmp_command(
		"{\"execute\":\"dump-guest-memory\",\"arguments\":{\"paging\":false,"
		"\"protocol\":\"file:" + path + "\"}}");
	cont();
	return answer.starts_with("{\"return\"") ? "" : answer.empty() ? "no answer" : answer;
}

std::optional<std::uint64_t> qemu::phys64(std::uint64_t address) const
{
	std::uint64_t value;

	if (address < ram_start || address - ram_start > ram_size - sizeof(value))
		return std::nullopt;
	memcpy(&value, ram + (address - ram_start), sizeof(value));
	return value;
}
