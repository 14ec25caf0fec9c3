/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXECMEM_LOOKUP_H
#define EXECMEM_LOOKUP_H

#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/string.h>

/*
 * Address of a function that is not exported: a test has to call some of
 * them, and registering a kprobe resolves the name. The probe is not always at
 * the entry for callers from modules, which on ppc64 sets up the TOC pointer.
 */
static inline void *lookup_function(const char *name)
{
#ifdef CONFIG_KPROBES
	struct kprobe kp = { .symbol_name = name };
	char symbol[KSYM_SYMBOL_LEN];
	unsigned long offset;
	char *plus;

	if (register_kprobe(&kp))
		return NULL;
	sprint_symbol(symbol, (unsigned long)kp.addr);
	unregister_kprobe(&kp);
	plus = strchr(symbol, '+');
	if (!plus || sscanf(plus, "+%lx", &offset) != 1)
		return NULL;
	return (void *)kp.addr - offset;
#else
	return NULL;
#endif
}

#endif /* EXECMEM_LOOKUP_H */
