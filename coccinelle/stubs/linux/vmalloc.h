/* SPDX-License-Identifier: GPL-2.0 */
#include "kernel.h"

void *vmalloc(unsigned long size);
void vfree(const void *addr);
void vfree_atomic(const void *addr);
void kvfree(const void *addr);
void set_vm_flush_reset_perms(void *addr);
