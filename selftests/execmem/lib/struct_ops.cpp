// SPDX-License-Identifier: GPL-2.0
#include "struct_ops.hpp"

#include <cstring>

unique_fd struct_ops_prog(const char *ops, const char *member, const bpf_insns &insns)
{
	const vmlinux_btf &btf = vmlinux_btf::get();
	bpf_load opt;

	opt.type = BPF_PROG_TYPE_STRUCT_OPS;
	opt.attach_btf_id = btf.id(ops, BTF_KIND_STRUCT);
	opt.expected_attach_type = btf.find_member(opt.attach_btf_id, member).index;
	opt.name = member;
	return unique_fd(bpf_prog_load(insns, opt));
}

result need_struct_ops(const char *ops, const char *option)
{
	TRY(need_bpf_trampolines());
	if (!vmlinux_btf::get().id(ops, BTF_KIND_STRUCT))
		return skip("%s is not set (no struct %s)", option, ops);
	return pass();
}

unique_fd dummy_ops_load()
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

int dummy_ops_run(int fd, u32 a, u32 b, u32 c, u32 *sum)
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

unique_fd some_btf()
{
	struct {
		btf_header h;
		btf_type t;
		u32 bits;
		char strings[8];
	} blob { };
	union bpf_attr attr = bpf_zero();

	blob.h.magic = BTF_MAGIC;
	blob.h.version = BTF_VERSION;
	blob.h.hdr_len = sizeof(blob.h);
	blob.h.type_len = sizeof(blob.t) + sizeof(blob.bits);
	blob.h.str_off = blob.h.type_len;
	blob.h.str_len = sizeof("\0int");
	blob.t.name_off = 1;
	blob.t.info = BTF_KIND_INT << 24;
	blob.t.size = sizeof(int);
	blob.bits = BTF_INT_SIGNED << 24 | 32;
	memcpy(blob.strings, "\0int", sizeof("\0int"));
	attr.btf = ptr(&blob);
	attr.btf_size = blob.h.hdr_len + blob.h.type_len + blob.h.str_len;
	return unique_fd(sys_bpf(BPF_BTF_LOAD, attr));
}
