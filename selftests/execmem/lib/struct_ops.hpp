/* SPDX-License-Identifier: GPL-2.0 */
/* BPF programs that implement a struct of functions. */
#ifndef EXECMEM_STRUCT_OPS_HPP
#define EXECMEM_STRUCT_OPS_HPP

#include "btf.hpp"

/* A program that implements @member of the kernel's struct @ops. */
unique_fd struct_ops_prog(const char *ops, const char *member, const bpf_insns &insns);

/* A map of struct_ops must come with type information of its own, whatever it says: an int. */
unique_fd some_btf();

result need_struct_ops(const char *ops, const char *option);

/* bpf_dummy_ops.test_2(state, int a, unsigned short b, char, unsigned long c), which is a + b + c here. */
unique_fd dummy_ops_load();

/* Called through a trampoline that is made for this one call. Return: 0 or -errno. */
int dummy_ops_run(int fd, u32 a, u32 b, u32 c, u32 *sum);

#endif /* EXECMEM_STRUCT_OPS_HPP */
