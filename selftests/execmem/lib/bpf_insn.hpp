/* SPDX-License-Identifier: GPL-2.0 */
/* BPF instructions. */
#ifndef EXECMEM_BPF_INSN_HPP
#define EXECMEM_BPF_INSN_HPP

#include <vector>

#include <linux/bpf.h>

#include "types.hpp"

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

#endif /* EXECMEM_BPF_INSN_HPP */
