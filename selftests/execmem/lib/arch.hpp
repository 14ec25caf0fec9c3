/* SPDX-License-Identifier: GPL-2.0 */
/* What is known about the architecture, and where its text comes from. */
#ifndef EXECMEM_ARCH_HPP
#define EXECMEM_ARCH_HPP

#include "types.hpp"

enum class arch_id { x86_64, i386, arm64, arm, riscv, powerpc, s390, other };

#if defined(__x86_64__)
static constexpr arch_id arch = arch_id::x86_64;
#elif defined(__i386__)
static constexpr arch_id arch = arch_id::i386;
#elif defined(__aarch64__)
static constexpr arch_id arch = arch_id::arm64;
#elif defined(__arm__)
static constexpr arch_id arch = arch_id::arm;
#elif defined(__riscv)
static constexpr arch_id arch = arch_id::riscv;
#elif defined(__powerpc__)
static constexpr arch_id arch = arch_id::powerpc;
#elif defined(__s390__)
static constexpr arch_id arch = arch_id::s390;
#else
static constexpr arch_id arch = arch_id::other;
#endif

/* Does text, but for that of modules, come from a pool? */
bool have_pool();

/* Are the pages of that large, if there are such pages? */
bool have_large_leaves();

u64 page_size();

#endif /* EXECMEM_ARCH_HPP */
