// SPDX-License-Identifier: GPL-2.0
#include "bpf.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.hpp"
#include "settings.hpp"

int sys_bpf(int cmd, union bpf_attr &attr)
{
	long r = syscall(SYS_bpf, cmd, &attr, sizeof(attr));

	return r < 0 ? -errno : r;
}

union bpf_attr bpf_zero()
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	return attr;
}

u64 ptr(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

int bpf_prog_load(const bpf_insns &insns, const bpf_load &opt, std::string *log)
{
	static char buf[65536];
	union bpf_attr attr = bpf_zero();

	attr.prog_type = opt.type;
	attr.expected_attach_type = opt.expected_attach_type;
	attr.attach_btf_id = opt.attach_btf_id;
	attr.attach_prog_fd = opt.attach_prog_fd;
	attr.insns = ptr(insns.data());
	attr.insn_cnt = insns.size();
	attr.license = ptr("GPL");
	strncpy(attr.prog_name, opt.name, sizeof(attr.prog_name) - 1);
	if (log) {
		buf[0] = 0;
		attr.log_buf = ptr(buf);
		attr.log_size = sizeof(buf);
		attr.log_level = 1;
	}
	int r = sys_bpf(BPF_PROG_LOAD, attr);
	if (log)
		*log = buf;
	return r;
}

int attach_classic(int fd, unsigned int length)
{
	std::vector<sock_filter> code(length - 1, sock_filter { BPF_LD | BPF_IMM, 0, 0, 1 });
	code.push_back({ BPF_RET | BPF_K, 0, 0, 0xffff });
	sock_fprog prog { static_cast<unsigned short>(length), code.data() };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

bpf_insns bpf_return(int value, unsigned int len)
{
	bpf_insns v;

	v.push_back(mov_imm(BPF_REG_0, value));
	while (v.size() + 1 < len) {
		v.push_back(add_imm(BPF_REG_0, 1));
		v.push_back(add_imm(BPF_REG_0, -1));
	}
	v.push_back(exit_insn());
	return v;
}

bpf_insns bpf_return_large(int value, unsigned int len)
{
	bpf_insns v;

	v.push_back(mov_imm(BPF_REG_6, 1));
	while (v.size() < len)
		v.push_back(insn(BPF_ALU64 | BPF_DIV | BPF_K, BPF_REG_6, 0, 0, 3));
	v.push_back(mov_imm(BPF_REG_0, value));
	v.push_back(exit_insn());
	return v;
}

int bpf_map_create(u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	union bpf_attr attr = bpf_zero();

	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = entries;
	attr.map_flags = flags;
	return sys_bpf(BPF_MAP_CREATE, attr);
}

int bpf_map_update(int fd, const void *key, const void *value)
{
	union bpf_attr attr = bpf_zero();

	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	return sys_bpf(BPF_MAP_UPDATE_ELEM, attr);
}

int bpf_map_lookup(int fd, const void *key, void *value)
{
	union bpf_attr attr = bpf_zero();

	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	return sys_bpf(BPF_MAP_LOOKUP_ELEM, attr);
}

int bpf_run(int fd, u32 *retval, u32 repeat)
{
	static u8 packet[64];
	union bpf_attr attr = bpf_zero();

	attr.test.prog_fd = fd;
	attr.test.data_in = ptr(packet);
	attr.test.data_size_in = sizeof(packet);
	attr.test.repeat = repeat;
	int r = sys_bpf(BPF_PROG_TEST_RUN, attr);
	*retval = attr.test.retval;
	return r;
}

int bpf_info(int fd, bpf_prog_info &info)
{
	union bpf_attr attr = bpf_zero();

	/* With kptr_restrict=2 there would be neither addresses nor code. */
	show_pointers();
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = ptr(&info);
	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
}

std::vector<bpf_image> bpf_images(int fd)
{
	std::vector<bpf_image> v;
	u64 ksyms[64] = { };
	u32 lens[64] = { };
	bpf_prog_info info { };

	info.nr_jited_ksyms = info.nr_jited_func_lens = 64;
	info.jited_ksyms = ptr(ksyms);
	info.jited_func_lens = ptr(lens);
	if (bpf_info(fd, info) || !info.jited_prog_len)
		return v;
	for (u32 i = 0; i < std::min(info.nr_jited_ksyms, 64u); i++)
		v.push_back({ ksyms[i], lens[i] });
	return v;
}

u32 bpf_prog_id(int fd)
{
	bpf_prog_info info { };

	return bpf_info(fd, info) ? 0 : info.id;
}

std::string bpf_ksym_name(int fd, const char *name)
{
	bpf_prog_info info { };
	std::string s = "bpf_prog_";

	if (bpf_info(fd, info))
		return "";
	for (u8 b : info.tag)
		s += format("%02x", b);
	return s + "_" + name;
}

result need_jit()
{
	union bpf_attr attr = bpf_zero();

	if (syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0 && errno == ENOSYS)
		return skip("CONFIG_BPF_SYSCALL is not set");
	if (!exists("/proc/sys/net/core/bpf_jit_enable"))
		return skip("CONFIG_BPF_JIT is not set");
	set_for_now("/proc/sys/net/core/bpf_jit_enable", "1");
	set_for_now("/proc/sys/net/core/bpf_jit_kallsyms", "1");
	return pass();
}

bpf_insns bpf_count_calls(int map, int retval)
{
	return {
		ld_map_value_lo(BPF_REG_1, map), ld_hi(),
		mov_imm(BPF_REG_2, 1),
		atomic_add_dw(BPF_REG_1, BPF_REG_2, 0),
		mov_imm(BPF_REG_0, retval),
		exit_insn(),
	};
}

u64 bpf_counter(int map)
{
	u32 key = 0;
	u64 value = 0;

	bpf_map_lookup(map, &key, &value);
	return value;
}
