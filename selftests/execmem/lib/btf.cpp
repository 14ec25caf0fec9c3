// SPDX-License-Identifier: GPL-2.0
#include "btf.hpp"

#include <cerrno>
#include <cstring>

size_t vmlinux_btf::extra(const btf_type &t)
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

vmlinux_btf::vmlinux_btf()
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

const vmlinux_btf &vmlinux_btf::get()
{
	static const vmlinux_btf btf;

	return btf;
}

u32 vmlinux_btf::id(std::string_view name, u32 kind) const
{
	for (u32 i = 1; i < types.size(); i++)
		if (BTF_INFO_KIND(types[i]->info) == kind && name == strings + types[i]->name_off)
			return i;
	return 0;
}

vmlinux_btf::member vmlinux_btf::find_member(u32 id, std::string_view name) const
{
	auto *m = reinterpret_cast<const btf_member *>(types[id] + 1);

	for (u32 i = 0; i < BTF_INFO_VLEN(types[id]->info); i++)
		if (name == strings + m[i].name_off)
			return { static_cast<int>(i), m[i].offset / 8 };
	return { };
}

int bpf_tracing_load(const char *func, u32 attach_type, const bpf_insns &insns, std::string *log)
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

int bpf_attach(int prog)
{
	union bpf_attr attr = bpf_zero();

	attr.raw_tracepoint.prog_fd = prog;
	return sys_bpf(BPF_RAW_TRACEPOINT_OPEN, attr);
}

result need_bpf_trampolines()
{
	TRY(need_jit());
	if (!exists("/sys/kernel/btf/vmlinux"))
		return skip("CONFIG_DEBUG_INFO_BTF is not set");
	return pass();
}
