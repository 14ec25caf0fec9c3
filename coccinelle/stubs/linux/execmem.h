/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXECMEM
#error there is no execmem in this kernel
#endif
#include "kernel.h"

enum execmem_type { EXECMEM_MODULE_TEXT, EXECMEM_MODULE_RODATA, EXECMEM_KPROBES, EXECMEM_BPF };
void *execmem_text_alloc(enum execmem_type type, size_t size);
void *jit_text_alloc(enum execmem_type type, size_t size);
void *execmem_data_alloc(enum execmem_type type, size_t size);
int execmem_write(void *dst, const void *src, size_t len);
int execmem_finish(void *ptr);
int execmem_update(void *dst, const void *src, size_t len);
void execmem_free(void *ptr);
void jit_free(void *ptr);
