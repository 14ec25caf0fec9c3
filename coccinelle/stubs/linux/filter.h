/* SPDX-License-Identifier: GPL-2.0 */
#include "kernel.h"

#ifndef EXECMEM
void *bpf_jit_alloc_exec(unsigned long size);
void bpf_jit_free_exec(void *addr);
#endif
