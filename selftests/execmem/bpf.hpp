/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf(2) without libbpf: the tests must build for every architecture with
 * nothing but a compiler and libc.
 */
#ifndef EXECMEM_BPF_HPP
#define EXECMEM_BPF_HPP

#include <linux/bpf.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <linux/btf.h>

#include "common.hpp"

static inline int sys_bpf(int cmd, union bpf_attr &attr)
{
	long r = syscall(SYS_bpf, cmd, &attr, sizeof(attr));

	return r < 0 ? -errno : r;
}

static inline union bpf_attr bpf_zero()
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	return attr;
}

static inline u64 ptr(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

/* ---------------------------------------------------------- instructions */

static constexpr bpf_insn insn(u8 code, u8 dst, u8 src, int off, int imm)
{
	bpf_insn i { };

	i.code = code;
	i.dst_reg = dst;
	i.src_reg = src;
	i.off = static_cast<__s16>(off);
	i.imm = imm;
	return i;
}

static constexpr bpf_insn mov_imm(u8 dst, int imm) { return insn(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm); }
static constexpr bpf_insn mov_reg(u8 dst, u8 src) { return insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0); }
static constexpr bpf_insn add_imm(u8 dst, int imm) { return insn(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm); }
static constexpr bpf_insn add_reg(u8 dst, u8 src) { return insn(BPF_ALU64 | BPF_ADD | BPF_X, dst, src, 0, 0); }
static constexpr bpf_insn exit_insn() { return insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
static constexpr bpf_insn call_helper(int id) { return insn(BPF_JMP | BPF_CALL, 0, 0, 0, id); }
/* @off counts instructions from the one after the call. */
static constexpr bpf_insn call_subprog(int off) { return insn(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, off); }
static constexpr bpf_insn load_dw(u8 dst, u8 src, int off) { return insn(BPF_LDX | BPF_MEM | BPF_DW, dst, src, off, 0); }
static constexpr bpf_insn store_dw_imm(u8 dst, int off, int imm) { return insn(BPF_ST | BPF_MEM | BPF_DW, dst, 0, off, imm); }
static constexpr bpf_insn atomic_add_dw(u8 dst, u8 src, int off) { return insn(BPF_STX | BPF_ATOMIC | BPF_DW, dst, src, off, BPF_ADD); }
static constexpr bpf_insn ld_map_lo(u8 dst, int fd) { return insn(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd); }
/* First element of an array map. */
static constexpr bpf_insn ld_map_value_lo(u8 dst, int fd) { return insn(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd); }
static constexpr bpf_insn ld_hi() { return insn(0, 0, 0, 0, 0); }

using bpf_insns = std::vector<bpf_insn>;

/* ------------------------------------------------------------------ load */

struct bpf_load {
	u32 type = BPF_PROG_TYPE_SOCKET_FILTER;
	u32 expected_attach_type = 0;
	u32 attach_btf_id = 0;
	int attach_prog_fd = 0;
	const char *name = "execmem_test";
};

/* File descriptor or -errno. */
static inline int bpf_prog_load(const bpf_insns &insns, const bpf_load &opt = {}, std::string *log = nullptr)
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

/* A classic filter of @length instructions on the socket @fd. Return: 0 or -errno. */
static inline int attach_classic(int fd, unsigned int length)
{
	std::vector<sock_filter> code(length - 1, sock_filter { BPF_LD | BPF_IMM, 0, 0, 1 });
	code.push_back({ BPF_RET | BPF_K, 0, 0, 0xffff });
	sock_fprog prog { static_cast<unsigned short>(length), code.data() };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

/* A program of @len instructions that returns @value. */
static inline bpf_insns bpf_return(int value, unsigned int len = 2)
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

/* The same, in at least @len instructions that become some 20 bytes each. */
static inline bpf_insns bpf_return_large(int value, unsigned int len)
{
	bpf_insns v;

	v.push_back(mov_imm(BPF_REG_6, 1));
	while (v.size() < len)
		v.push_back(insn(BPF_ALU64 | BPF_DIV | BPF_K, BPF_REG_6, 0, 0, 3));
	v.push_back(mov_imm(BPF_REG_0, value));
	v.push_back(exit_insn());
	return v;
}

static inline int bpf_map_create(u32 type, u32 key, u32 value, u32 entries, u32 flags = 0)
{
	union bpf_attr attr = bpf_zero();

	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = entries;
	attr.map_flags = flags;
	return sys_bpf(BPF_MAP_CREATE, attr);
}

static inline int bpf_map_update(int fd, const void *key, const void *value)
{
	union bpf_attr attr = bpf_zero();

	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	return sys_bpf(BPF_MAP_UPDATE_ELEM, attr);
}

static inline int bpf_map_lookup(int fd, const void *key, void *value)
{
	union bpf_attr attr = bpf_zero();

	attr.map_fd = fd;
	attr.key = ptr(key);
	attr.value = ptr(value);
	return sys_bpf(BPF_MAP_LOOKUP_ELEM, attr);
}

/*
 * Run over a dummy packet; 0 or -errno, @retval as the program left it. A program
 * for XDP is put into the dispatcher if it is to run more than once.
 */
static inline int bpf_run(int fd, u32 *retval, u32 repeat = 1)
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

struct bpf_image {
	u64 addr;
	u32 len;
};

/* Where the JIT put the program and its subprograms; empty when interpreted. */
static inline std::vector<bpf_image> bpf_images(int fd)
{
	std::vector<bpf_image> v;
	u64 ksyms[64] = { };
	u32 lens[64] = { };
	bpf_prog_info info;
	union bpf_attr attr = bpf_zero();

	memset(&info, 0, sizeof(info));
	info.nr_jited_ksyms = info.nr_jited_func_lens = 64;
	info.jited_ksyms = ptr(ksyms);
	info.jited_func_lens = ptr(lens);
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = ptr(&info);
	if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, attr) || !info.jited_prog_len)
		return v;
	for (u32 i = 0; i < std::min(info.nr_jited_ksyms, 64u); i++)
		v.push_back({ ksyms[i], lens[i] });
	return v;
}

static inline u32 bpf_prog_id(int fd)
{
	bpf_prog_info info;
	union bpf_attr attr = bpf_zero();

	memset(&info, 0, sizeof(info));
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = ptr(&info);
	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, attr) ? 0 : info.id;
}

/* "bpf_prog_TAG_NAME", what kallsyms shows for a JITed program. */
static inline std::string bpf_ksym_name(int fd, const char *name)
{
	bpf_prog_info info;
	union bpf_attr attr = bpf_zero();
	std::string s = "bpf_prog_";

	memset(&info, 0, sizeof(info));
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = ptr(&info);
	if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, attr))
		return "";
	for (u8 b : info.tag)
		s += format("%02x", b);
	return s + "_" + name;
}

/* Turn the JIT and its kallsyms entries on where they are switches. */
static inline result need_jit()
{
	union bpf_attr attr = bpf_zero();

	if (syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0 && errno == ENOSYS)
		return skip("CONFIG_BPF_SYSCALL is not set");
	if (!exists("/proc/sys/net/core/bpf_jit_enable"))
		return skip("CONFIG_BPF_JIT is not set");
	spit("/proc/sys/net/core/bpf_jit_enable", "1");
	spit("/proc/sys/net/core/bpf_jit_kallsyms", "1");
	return pass();
}

/* ------------------------------------------------------------------- BTF */

/* The type information of the kernel. */
class vmlinux_btf {
	std::string raw = slurp("/sys/kernel/btf/vmlinux").value_or("");
	const char *strings = nullptr;
	std::vector<const btf_type *> types = { nullptr };	/* by id */

	/* Bytes that follow the common part of a type. */
	static size_t extra(const btf_type &t)
	{
		u32 vlen = BTF_INFO_VLEN(t.info);

		switch (BTF_INFO_KIND(t.info)) {
		case BTF_KIND_INT:
		case BTF_KIND_VAR:
		case BTF_KIND_DECL_TAG:
			return sizeof(u32);
		case BTF_KIND_ARRAY:
			return sizeof(btf_array);
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
			return vlen * sizeof(btf_member);
		case BTF_KIND_ENUM:
			return vlen * sizeof(btf_enum);
		case BTF_KIND_ENUM64:
			return vlen * 3 * sizeof(u32);
		case BTF_KIND_FUNC_PROTO:
			return vlen * sizeof(btf_param);
		case BTF_KIND_DATASEC:
			return vlen * sizeof(btf_var_secinfo);
		default:
			return 0;
		}
	}

	vmlinux_btf()
	{
		btf_header h;

		if (raw.size() < sizeof(h))
			return;
		memcpy(&h, raw.data(), sizeof(h));
		strings = raw.data() + h.hdr_len + h.str_off;
		const char *p = raw.data() + h.hdr_len + h.type_off, *end = p + h.type_len;
		while (p + sizeof(btf_type) <= end) {
			types.push_back(reinterpret_cast<const btf_type *>(p));
			p += sizeof(btf_type) + extra(*types.back());
		}
	}

public:
	struct member {
		int index = -1;
		u32 offset = 0;		/* in bytes */
	};

	static const vmlinux_btf &get()
	{
		static const vmlinux_btf btf;

		return btf;
	}

	/* Id of the type @name of that kind, or 0. */
	u32 id(std::string_view name, u32 kind) const
	{
		for (u32 i = 1; i < types.size(); i++)
			if (BTF_INFO_KIND(types[i]->info) == kind && name == strings + types[i]->name_off)
				return i;
		return 0;
	}

	u32 size(u32 id) const { return types[id]->size; }

	member find_member(u32 id, std::string_view name) const
	{
		auto *m = reinterpret_cast<const btf_member *>(types[id] + 1);

		for (u32 i = 0; i < BTF_INFO_VLEN(types[id]->info); i++)
			if (name == strings + m[i].name_off)
				return { static_cast<int>(i), m[i].offset / 8 };
		return { };
	}
};

/* A tracing program (fentry, fexit) attached to a kernel function. */
static inline int bpf_tracing_load(const char *func, u32 attach_type, const bpf_insns &insns,
				   std::string *log = nullptr)
{
	bpf_load opt;

	opt.type = BPF_PROG_TYPE_TRACING;
	opt.expected_attach_type = attach_type;
	opt.attach_btf_id = vmlinux_btf::get().id(func, BTF_KIND_FUNC);
	opt.name = attach_type == BPF_TRACE_FENTRY ? "execmem_fentry" : "execmem_fexit";
	if (!opt.attach_btf_id)
		return -ENOENT;
	return bpf_prog_load(insns, opt, log);
}

static inline int bpf_attach(int prog)
{
	union bpf_attr attr = bpf_zero();

	attr.raw_tracepoint.prog_fd = prog;
	return sys_bpf(BPF_RAW_TRACEPOINT_OPEN, attr);
}

static inline result need_bpf_trampolines()
{
	TRY(need_jit());
	if (!exists("/sys/kernel/btf/vmlinux"))
		return skip("CONFIG_DEBUG_INFO_BTF is not set");
	return pass();
}

/* ------------------------------------------------------------ struct_ops */

/* What the kernel says where it has no trampolines, or no JIT; 524 has no name outside of it. */
static constexpr int enotsupp = 524;

/* A program that implements @member of the kernel's struct @ops. */
static inline unique_fd struct_ops_prog(const char *ops, const char *member, const bpf_insns &insns)
{
	const vmlinux_btf &btf = vmlinux_btf::get();
	bpf_load opt;

	opt.type = BPF_PROG_TYPE_STRUCT_OPS;
	opt.attach_btf_id = btf.id(ops, BTF_KIND_STRUCT);
	opt.expected_attach_type = btf.find_member(opt.attach_btf_id, member).index;
	opt.name = member;
	return unique_fd(bpf_prog_load(insns, opt));
}

static inline result need_struct_ops(const char *ops, const char *option)
{
	TRY(need_bpf_trampolines());
	if (!vmlinux_btf::get().id(ops, BTF_KIND_STRUCT))
		return skip("%s is not set (no struct %s)", option, ops);
	return pass();
}

/* bpf_dummy_ops.test_2(state, int a, unsigned short b, char, unsigned long c), which is a + b + c here. */
static inline unique_fd dummy_ops_load()
{
	return struct_ops_prog("bpf_dummy_ops", "test_2", {
		load_dw(BPF_REG_0, BPF_REG_1, 8),
		load_dw(BPF_REG_2, BPF_REG_1, 16),
		add_reg(BPF_REG_0, BPF_REG_2),
		load_dw(BPF_REG_2, BPF_REG_1, 32),
		add_reg(BPF_REG_0, BPF_REG_2),
		exit_insn(),
	});
}

/* Called through a trampoline that is made for this one call. Return: 0 or -errno. */
static inline int dummy_ops_run(int fd, u32 a, u32 b, u32 c, u32 *sum)
{
	u64 args[5] = { 0, a, b, 'x', c };
	union bpf_attr attr = bpf_zero();

	attr.test.prog_fd = fd;
	attr.test.ctx_in = ptr(args);
	attr.test.ctx_size_in = sizeof(args);
	int err = sys_bpf(BPF_PROG_TEST_RUN, attr);
	*sum = attr.test.retval;
	return err;
}

/* Count calls in the first u64 of @map; @map is an array map. */
static inline bpf_insns bpf_count_calls(int map, int retval = 0)
{
	return {
		ld_map_value_lo(BPF_REG_1, map), ld_hi(),
		mov_imm(BPF_REG_2, 1),
		atomic_add_dw(BPF_REG_1, BPF_REG_2, 0),
		mov_imm(BPF_REG_0, retval),
		exit_insn(),
	};
}

static inline u64 bpf_counter(int map)
{
	u32 key = 0;
	u64 value = 0;

	bpf_map_lookup(map, &key, &value);
	return value;
}

#endif /* EXECMEM_BPF_HPP */
