// SPDX-License-Identifier: GPL-2.0-only
/* Other things with such names, and memory of other allocators. */

#include <linux/module.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* a function of this file */
static void *module_alloc(unsigned long size)
{
	return kmalloc(size, GFP_KERNEL);
}

static inline void module_memfree(void *p)
{
	kfree(p);
}

/* a member, and a parameter */
struct loader {
	void *(*module_alloc)(struct loader *l, size_t size);
	void (*bpf_jit_free_exec)(void *p);
	int alloc_insn_page;
};

void *load(struct loader *l, void *(*alloc_insn_page)(void))
{
	void *p = l->module_alloc(l, PAGE_SIZE);

	if (!p)
		p = alloc_insn_page();
	if (!p)
		p = module_alloc(l->alloc_insn_page);
	if (unlikely(!p)) {
		module_memfree(p);
		l->bpf_jit_free_exec(p);
	}
	return p;
}

/* names that begin or end like them */
void my_module_memfree(void *p);
void *module_alloc_huge(size_t size);
long bpf_jit_alloc_exec_limit(void);

void nearly(void)
{
	my_module_memfree(module_alloc_huge(bpf_jit_alloc_exec_limit()));
}

/* permissions of memory that is none of execmem's */
static u8 table[4096];

int seal_others(void)
{
	void *p = vmalloc(PAGE_SIZE);

	if (!p)
		return -ENOMEM;
	set_vm_flush_reset_perms(p);
	set_memory_ro((unsigned long)p, 1);
	set_memory_x((unsigned long)p, 1);
	set_memory_ro((unsigned long)table, 1);
	set_memory_uc((unsigned long)p, 1);
	set_memory_wb((unsigned long)p, 1);
	set_memory_nx((unsigned long)p, 1);
	set_memory_rw((unsigned long)p, 1);
	vfree(p);
	return 0;
}
