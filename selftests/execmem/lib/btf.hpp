/* SPDX-License-Identifier: GPL-2.0 */
/* The type information of the kernel, and programs that are attached by it. */
#ifndef EXECMEM_BTF_HPP
#define EXECMEM_BTF_HPP

#include <string>
#include <string_view>
#include <vector>

#include <linux/btf.h>

#include "bpf.hpp"
#include "proc.hpp"

/* The type information of the kernel. */
class vmlinux_btf {
	std::string raw = read_or_fail("/sys/kernel/btf/vmlinux");
	const char *strings = nullptr;
	std::vector<const btf_type *> types = { nullptr };	/* by id */

	/* Bytes that follow the common part of a type. */
	static size_t extra(const btf_type &t);

	vmlinux_btf();

public:
	struct member {
		int index = -1;
		u32 offset = 0;		/* in bytes */
	};

	static const vmlinux_btf &get();

	/* Id of the type @name of that kind, or 0. */
	u32 id(std::string_view name, u32 kind) const;

	u32 size(u32 id) const { return types[id]->size; }

	member find_member(u32 id, std::string_view name) const;
};

/* A tracing program (fentry, fexit) attached to a kernel function. */
int bpf_tracing_load(const char *func, u32 attach_type, const bpf_insns &insns, std::string *log = nullptr);

int bpf_attach(int prog);

result need_bpf_trampolines();

#endif /* EXECMEM_BTF_HPP */
