/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf(2) without libbpf: the tests must build for every architecture with
 * nothing but a compiler and libc.
 */
#ifndef EXECMEM_BPF_HPP
#define EXECMEM_BPF_HPP

#include <string>
#include <vector>

#include <linux/bpf.h>

#include "bpf_insn.hpp"
#include "ktap.hpp"
#include "types.hpp"

/* What the kernel says where it has no trampolines, or no JIT; 524 has no name outside of it. */
static constexpr int enotsupp = 524;

int sys_bpf(int cmd, union bpf_attr &attr);

union bpf_attr bpf_zero();

u64 ptr(const void *p);

struct bpf_load {
	u32 type = BPF_PROG_TYPE_SOCKET_FILTER;
	u32 expected_attach_type = 0;
	u32 attach_btf_id = 0;
	int attach_prog_fd = 0;
	const char *name = "execmem_test";
};

/* File descriptor or -errno. */
int bpf_prog_load(const bpf_insns &insns, const bpf_load &opt = {}, std::string *log = nullptr);

/* A classic filter of @length instructions on the socket @fd. Return: 0 or -errno. */
int attach_classic(int fd, unsigned int length);

/* A program of @len instructions that returns @value. */
bpf_insns bpf_return(int value, unsigned int len = 2);

/* The same, in at least @len instructions that become some 20 bytes each. */
bpf_insns bpf_return_large(int value, unsigned int len);

int bpf_map_create(u32 type, u32 key, u32 value, u32 entries, u32 flags = 0);

int bpf_map_update(int fd, const void *key, const void *value);

int bpf_map_lookup(int fd, const void *key, void *value);

/*
 * Run over a dummy packet; 0 or -errno, @retval as the program left it. A program
 * for XDP is put into the dispatcher if it is to run more than once.
 */
int bpf_run(int fd, u32 *retval, u32 repeat = 1);

/* What the kernel says of a program; buffers that @info names are filled. 0 or -errno. */
int bpf_info(int fd, bpf_prog_info &info);

struct bpf_image {
	u64 addr;
	u32 len;
};

/* Where the JIT put the program and its subprograms; empty when interpreted. */
std::vector<bpf_image> bpf_images(int fd);

u32 bpf_prog_id(int fd);

/* "bpf_prog_TAG_NAME", what kallsyms shows for a JITed program. */
std::string bpf_ksym_name(int fd, const char *name);

/* Turn the JIT and its kallsyms entries on where they are switches, until the test ends. */
result need_jit();

/* Count calls in the first u64 of @map; @map is an array map. */
bpf_insns bpf_count_calls(int map, int retval = 0);

u64 bpf_counter(int map);

#endif /* EXECMEM_BPF_HPP */
