/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXECMEM_LOOKUP_H
#define EXECMEM_LOOKUP_H

#include <linux/kprobes.h>

/*
 * Address of a function that is not exported: a test has to call some of
 * them, and registering a kprobe resolves the name.
 */
static inline void *lookup_function(const char *name)
{
#ifdef CONFIG_KPROBES
	struct kprobe kp = { .symbol_name = name };
	void *addr;

	if (register_kprobe(&kp))
		return NULL;
	addr = kp.addr;
	unregister_kprobe(&kp);
	return addr;
#else
	return NULL;
#endif
}

#endif /* EXECMEM_LOOKUP_H */
