/* SPDX-License-Identifier: GPL-2.0 */
#include "kernel.h"

struct module;
int module_finalize(const void *header, const void *sections, struct module *mod);
#ifndef EXECMEM
void *module_alloc(unsigned long size);
void module_memfree(void *module_region);
#endif
