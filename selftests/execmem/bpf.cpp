// SPDX-License-Identifier: GPL-2.0
/* JITed BPF programs, subprograms, tail calls, trampolines and dispatchers compute what they should. */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "btf.hpp"
#include "kallsyms.hpp"
#include "ktap.hpp"
#include "page_tables.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "struct_ops.hpp"
#include "types.hpp"

static result check_run(int fd, u32 expect, u32 repeat = 1)
{
	u32 got = ~expect;
	int err = bpf_run(fd, &got, repeat);

	CHECK(!err, "test run: %s", strerror(-err));
	CHECK(got == expect, "returned %u, expected %u", got, expect);
	return pass();
}

static result program()
{
	TRY(need_jit());
	unique_fd p(bpf_prog_load(bpf_return(42, 100)));

	CHECK(p, "load: %s", strerror(-p.fd));
	CHECK(!bpf_images(p.fd).empty(), "the program is not JITed");
	return check_run(p.fd, 42);
}

static result subprogram()
{
	TRY(need_jit());
	/* r0 = f(3) + f(4), f(x) = x + 100 */
	unique_fd p(bpf_prog_load({
		mov_imm(BPF_REG_1, 3),
		call_subprog(5),
		mov_reg(BPF_REG_6, BPF_REG_0),
		mov_imm(BPF_REG_1, 4),
		call_subprog(2),
		add_reg(BPF_REG_0, BPF_REG_6),
		exit_insn(),
		mov_reg(BPF_REG_0, BPF_REG_1),
		add_imm(BPF_REG_0, 100),
		exit_insn(),
	}));

	CHECK(p, "load: %s", strerror(-p.fd));
	CHECK(bpf_images(p.fd).size() == 2, "%zu JITed images, expected 2", bpf_images(p.fd).size());
	return check_run(p.fd, 207);
}

static result tail_call()
{
	TRY(need_jit());
	unique_fd map(bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2));
	CHECK(map, "prog array: %s", strerror(-map.fd));

	/* Tail-call slot 1; where it is empty return 5. */
	unique_fd caller(bpf_prog_load({
		ld_map_lo(BPF_REG_2, map.fd), ld_hi(),
		mov_imm(BPF_REG_3, 1),
		call_helper(BPF_FUNC_tail_call),
		mov_imm(BPF_REG_0, 5),
		exit_insn(),
	}));
	unique_fd a(bpf_prog_load(bpf_return(77))), b(bpf_prog_load(bpf_return(88)));
	CHECK(caller && a && b, "load: %d %d %d", caller.fd, a.fd, b.fd);

	TRY(check_run(caller.fd, 5));
	u32 key = 1;
	for (int i = 0; i < 10; i++) {
		/* Each update patches the jump in the live program. */
		CHECK(!bpf_map_update(map.fd, &key, &a.fd), "map update");
		TRY(check_run(caller.fd, 77));
		CHECK(!bpf_map_update(map.fd, &key, &b.fd), "map update");
		TRY(check_run(caller.fd, 88));
	}
	union bpf_attr attr = bpf_zero();
	attr.map_fd = map.fd;
	attr.key = ptr(&key);
	CHECK(!sys_bpf(BPF_MAP_DELETE_ELEM, attr), "map delete");
	return check_run(caller.fd, 5);
}

/* Many programs of odd sizes side by side; freeing every second hurts none. */
static result neighbours()
{
	TRY(need_jit());
	std::vector<unique_fd> progs;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 300; i++) {
			if (i < (int)progs.size() && progs[i])
				continue;
			unique_fd p(bpf_prog_load(bpf_return(1000 + i, 2 + (i * 37) % 200)));

			CHECK(p, "load %d: %s", i, strerror(-p.fd));
			if (i < (int)progs.size())
				progs[i] = std::move(p);
			else
				progs.push_back(std::move(p));
		}
		for (int i = 0; i < 300; i++)
			TRY(check_run(progs[i].fd, 1000 + i));
		for (int i = round % 2; i < 300; i += 2)
			progs[i] = unique_fd();
		for (int i = 0; i < 300; i++)
			if (progs[i])
				TRY(check_run(progs[i].fd, 1000 + i));
	}
	return pass();
}

/* More machine code than one 2M block holds. */
static result large_program()
{
	TRY(need_jit());
	const int n = 500000;
	bpf_insns v = { mov_imm(BPF_REG_0, 0) };

	for (int i = 0; i < n; i++)
		v.push_back(add_imm(BPF_REG_0, 0x10001 + (i & 1)));
	v.push_back(exit_insn());
	unique_fd p(bpf_prog_load(v));
	CHECK(p, "load: %s", strerror(-p.fd));
	std::vector<bpf_image> images = bpf_images(p.fd);
	CHECK(images.size() == 1, "not JITed");
	diag("%u bytes of machine code", images[0].len);
	return check_run(p.fd, static_cast<u32>(n / 2 * (0x10001LL + 0x10002LL)));
}

static result need_fentry()
{
	TRY(need_bpf_trampolines());
	if (!vmlinux_btf::get().id("bpf_fentry_test1", BTF_KIND_FUNC))
		return skip("CONFIG_NET is not set (no bpf_fentry_test1)");
	if (arch != arch_id::x86_64 && arch != arch_id::arm64)
		return skip("no BPF trampolines on this architecture");
	return pass();
}

/* BPF_PROG_TEST_RUN of a tracing program calls the bpf_fentry_test functions. */
static result trampolines(u32 type, unsigned int nr)
{
	TRY(need_fentry());
	unique_fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, 4, 8, 1));
	CHECK(map, "map: %s", strerror(-map.fd));
	std::vector<unique_fd> progs, links;

	for (unsigned int i = 0; i < nr; i++) {
		std::string log;
		unique_fd p(bpf_tracing_load("bpf_fentry_test1", type, bpf_count_calls(map.fd), &log));

		CHECK(p, "load: %s %s", strerror(-p.fd), log.c_str());
		/* With each one the trampoline is built anew. */
		unique_fd l(bpf_attach(p.fd));
		if (l.fd == -enotsupp || l.fd == -EOPNOTSUPP)
			return skip("no CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS on this architecture");
		CHECK(l, "attach: %s", strerror(-l.fd));
		progs.push_back(std::move(p));
		links.push_back(std::move(l));

		u64 before = bpf_counter(map.fd);
		u32 ret;
		int err = bpf_run(progs[0].fd, &ret);
		CHECK(!err, "test run: %s", strerror(-err));
		u64 hits = bpf_counter(map.fd) - before;
		CHECK(hits == links.size(), "%llu hits with %zu programs attached",
		      (unsigned long long)hits, links.size());
	}
	while (links.size() > 1) {
		links.pop_back();
		u64 before = bpf_counter(map.fd);
		u32 ret;
		CHECK(!bpf_run(progs[0].fd, &ret), "test run");
		u64 hits = bpf_counter(map.fd) - before;
		CHECK(hits == links.size(), "%llu hits with %zu programs attached",
		      (unsigned long long)hits, links.size());
	}
	return pass();
}

/* Attach and detach leaves nothing behind in kallsyms. */
static result trampoline_is_freed()
{
	TRY(need_fentry());
	size_t before = kallsyms().with_prefix("bpf_trampoline_").size();

	for (int i = 0; i < 20; i++) {
		unique_fd p(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
		unique_fd l(bpf_attach(p.fd));

		if (l.fd == -enotsupp || l.fd == -EOPNOTSUPP)
			return skip("no CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS on this architecture");
		CHECK(p && l, "attach %d: %d %d", i, p.fd, l.fd);
	}
	size_t after = 0;
	bool gone = wait_for(10000, [&] {
		after = kallsyms().with_prefix("bpf_trampoline_").size();
		return after <= before;
	});
	CHECK(gone, "%zu trampolines before, %zu after", before, after);
	return pass();
}

/* The dispatcher is made anew for each program that runs, and once more without it. */
static result xdp_dispatcher()
{
	TRY(need_jit());
	bpf_load xdp;
	std::vector<unique_fd> progs;

	xdp.type = BPF_PROG_TYPE_XDP;
	for (int i = 0; i < 8; i++) {
		unique_fd p(bpf_prog_load(bpf_return(i & 3, 2 + i), xdp));

		if (p.fd == -EINVAL)
			return skip("CONFIG_NET is not set (no XDP)");
		CHECK(p, "load: %s", strerror(-p.fd));
		progs.push_back(std::move(p));
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 8; i++)
			TRY(check_run(progs[i].fd, i & 3, 2));
	/* Where there is one. Its text stays. */
	const std::vector<symbol> syms = kallsyms().with_prefix("bpf_dispatcher_xdp");
	CHECK(arch != arch_id::x86_64 || std::any_of(syms.begin(), syms.end(),
						      [](const symbol &s) { return s.module == "bpf"; }),
	      "the dispatcher has no text");
	return pass();
}

/* A classic filter on a socket, through the same JIT. */
static result classic_filter()
{
	TRY(need_jit());
	int sv[2];

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), "socketpair: %s", strerror(errno));
	unique_fd a(sv[0]), b(sv[1]);
	/* Keep datagrams whose first byte is 'k'. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'k', 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { 4, code };

	for (int i = 0; i < 50; i++) {
		char buf[8];

		CHECK(!setsockopt(b.fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)),
		      "SO_ATTACH_FILTER: %s", strerror(errno));
		send(a.fd, "drop", 4, 0);
		send(a.fd, "keep", 4, 0);
		ssize_t n = recv(b.fd, buf, sizeof(buf), MSG_DONTWAIT);
		CHECK(n == 4 && !memcmp(buf, "keep", 4), "the filter let the wrong datagram through (%zd)", n);
		n = recv(b.fd, buf, sizeof(buf), MSG_DONTWAIT);
		CHECK(n < 0, "a second datagram came through");
		setsockopt(b.fd, SOL_SOCKET, SO_DETACH_FILTER, &prog, sizeof(prog));
	}
	return pass();
}

/* What a freed program was called is gone from kallsyms. */
static result program_is_freed()
{
	TRY(need_jit());
	unique_fd p(bpf_prog_load(bpf_return(4711, 33)));
	CHECK(p, "load: %s", strerror(-p.fd));
	std::vector<bpf_image> images = bpf_images(p.fd);
	std::string name = bpf_ksym_name(p.fd, "execmem_test");

	CHECK(images.size() == 1, "not JITed");
	CHECK(kallsyms().addr(name, "bpf") == images[0].addr, "%s is not at %#llx in kallsyms", name.c_str(),
	      (unsigned long long)images[0].addr);
	p = unique_fd();
	bool gone = wait_for(10000, [&] { return !kallsyms().addr(name, "bpf"); });
	CHECK(gone, "%s is still in kallsyms", name.c_str());
	return pass();
}

/* ------------------------------------------------------------ struct_ops */

/* The trampoline of a struct_ops function hands the arguments on and the result back. */
static result struct_ops_dummy()
{
	TRY(need_struct_ops("bpf_dummy_ops", "CONFIG_NET"));
	unique_fd p = dummy_ops_load();
	CHECK(p, "load: %s", strerror(-p.fd));

	for (u32 i = 0; i < 20; i++) {
		u32 sum = 0;
		int err = dummy_ops_run(p.fd, 1000 * i, 7, 20 + i, &sum);

		if (err == -enotsupp)
			return skip("no BPF trampolines on this architecture");
		CHECK(!err, "test run: %s", strerror(-err));
		CHECK(sum == 1001 * i + 27, "returned %u, expected %u", sum, 1001 * i + 27);
	}
	return no_wx();
}

/* Some bytes through a TCP connection over loopback that uses congestion control @cc. */
static result send_with(const char *cc)
{
	unique_fd listener(socket(AF_INET, SOCK_STREAM, 0)), client(socket(AF_INET, SOCK_STREAM, 0));
	sockaddr_in addr { };
	socklen_t len = sizeof(addr);
	ifreq ifr { };
	char buf[4096] = { };

	CHECK(listener && client, "socket: %s", strerror(errno));
	strcpy(ifr.ifr_name, "lo");
	CHECK(!ioctl(client.fd, SIOCGIFFLAGS, &ifr), "lo: %s", strerror(errno));
	const ifreq was = ifr;
	defer down([&] {
		if (!(was.ifr_flags & IFF_UP))
			ioctl(client.fd, SIOCSIFFLAGS, &was);
	});
	ifr.ifr_flags |= IFF_UP;
	CHECK(!ioctl(client.fd, SIOCSIFFLAGS, &ifr), "lo: %s", strerror(errno));
	addr.sin_family = AF_INET;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!bind(listener.fd, reinterpret_cast<sockaddr *>(&addr), len) && !listen(listener.fd, 1) &&
	      !getsockname(listener.fd, reinterpret_cast<sockaddr *>(&addr), &len), "listen: %s", strerror(errno));
	CHECK(!setsockopt(client.fd, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)), "TCP_CONGESTION %s: %s", cc,
	      strerror(errno));
	CHECK(!connect(client.fd, reinterpret_cast<sockaddr *>(&addr), len), "connect: %s", strerror(errno));
	unique_fd server(accept(listener.fd, nullptr, nullptr));
	CHECK(server, "accept: %s", strerror(errno));
	for (int i = 0; i < 50; i++) {
		CHECK(write(client.fd, buf, sizeof(buf)) == sizeof(buf), "send: %s", strerror(errno));
		CHECK(recv(server.fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf), "receive: %s", strerror(errno));
	}
	return pass();
}

static bool cc_available(const std::string &name)
{
	std::vector<std::string> v =
		words(read_if_there("/proc/sys/net/ipv4/tcp_available_congestion_control"));

	return std::find(v.begin(), v.end(), name) != v.end();
}

/* A TCP congestion control made of BPF programs, registered, used and removed. */
static result struct_ops_tcp()
{
	TRY(need_struct_ops("bpf_struct_ops_tcp_congestion_ops", "CONFIG_INET"));
	const vmlinux_btf &btf = vmlinux_btf::get();
	const char *ops = "tcp_congestion_ops";
	u32 ops_id = btf.id(ops, BTF_KIND_STRUCT);
	u32 value_id = btf.id("bpf_struct_ops_tcp_congestion_ops", BTF_KIND_STRUCT);
	u32 data = btf.find_member(value_id, "data").offset, key = 0;
	unique_fd counter(bpf_map_create(BPF_MAP_TYPE_ARRAY, 4, 8, 1));
	CHECK(counter, "map: %s", strerror(-counter.fd));
	unique_fd btf_fd = some_btf();
	CHECK(btf_fd, "BTF: %s", strerror(-btf_fd.fd));

	union bpf_attr attr = bpf_zero();
	attr.map_type = BPF_MAP_TYPE_STRUCT_OPS;
	attr.key_size = 4;
	attr.value_size = btf.size(value_id);
	attr.max_entries = 1;
	attr.btf_fd = btf_fd.fd;
	attr.btf_vmlinux_value_type_id = value_id;
	unique_fd map(sys_bpf(BPF_MAP_CREATE, attr));
	CHECK(map, "struct_ops map: %s", strerror(-map.fd));

	std::string value(btf.size(value_id), '\0');
	std::vector<unique_fd> progs;
	for (const char *member : { "ssthresh", "undo_cwnd", "cong_avoid" }) {
		unique_fd p = struct_ops_prog(ops, member,
					      strcmp(member, "cong_avoid") ? bpf_return(10) :
					      bpf_count_calls(counter.fd));
		CHECK(p, "%s: %s", member, strerror(-p.fd));
		u64 fd = p.fd;
		memcpy(&value[data + btf.find_member(ops_id, member).offset], &fd, sizeof(long));
		progs.push_back(std::move(p));
	}
	strcpy(&value[data + btf.find_member(ops_id, "name").offset], "execmem_cc");

	int err = bpf_map_update(map.fd, &key, value.data());
	if (err == -enotsupp)
		return skip("no BPF trampolines on this architecture");
	CHECK(!err, "registering execmem_cc: %s", strerror(-err));
	CHECK(cc_available("execmem_cc"), "execmem_cc is not available");
	TRY(send_with("execmem_cc"));
	CHECK(bpf_counter(counter.fd) > 0, "cong_avoid was never called");
	diag("cong_avoid was called %llu times", (unsigned long long)bpf_counter(counter.fd));
	const result wx = no_wx();	/* while it is there */

	attr = bpf_zero();
	attr.map_fd = map.fd;
	attr.key = ptr(&key);
	err = sys_bpf(BPF_MAP_DELETE_ELEM, attr);
	CHECK(!err, "removing execmem_cc: %s", strerror(-err));
	CHECK(!cc_available("execmem_cc"), "execmem_cc is still available");
	return wx;
}

int main()
{
	return run_cases({
		{ "program", program },
		{ "subprogram", subprogram },
		{ "tail_call", tail_call },
		{ "neighbours", neighbours },
		{ "large_program", large_program },
		{ "fentry", [] { return trampolines(BPF_TRACE_FENTRY, 5); } },
		{ "fexit", [] { return trampolines(BPF_TRACE_FEXIT, 5); } },
		{ "trampoline_is_freed", trampoline_is_freed },
		{ "xdp_dispatcher", xdp_dispatcher },
		{ "classic_filter", classic_filter },
		{ "struct_ops_dummy", struct_ops_dummy },
		{ "struct_ops_tcp", struct_ops_tcp },
		{ "program_is_freed", program_is_freed },
	});
}
