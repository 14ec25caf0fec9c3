/* SPDX-License-Identifier: GPL-2.0 */
#include "kernel.h"

#ifndef EXECMEM
void *alloc_insn_page(void);
void free_insn_page(void *page);
#endif
struct kprobe { const char *symbol_name; void *addr; };
int register_kprobe(struct kprobe *p);
void unregister_kprobe(struct kprobe *p);
