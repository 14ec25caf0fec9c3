// SPDX-License-Identifier: GPL-2.0-only
/* The right way with execmem, and memory of other allocators. */

#include <linux/execmem.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

int does_it_right(void)
{
	void *p = execmem_text_alloc(EXECMEM_BPF, 10);
	int err;

	if (!p)
		return -ENOMEM;
	err = execmem_finish(p);
	execmem_free(p);
	return err;
}

void other_memory(void)
{
	void *p = vmalloc(10);

	set_vm_flush_reset_perms(p);
	set_memory_ro((unsigned long)p, 1);
	set_memory_x((unsigned long)p, 1);
	set_memory_rw((unsigned long)p, 1);
	vfree(p);
}

void other_memory_later(void)
{
	void *p = execmem_text_alloc(EXECMEM_BPF, 10);

	execmem_free(p);
	p = vmalloc(10);
	set_memory_ro((unsigned long)p, 1);
	vfree(p);
}

/* Members of one name in two structures, and two members in one. */
struct text_image {
	void *mem;
	void *table;
};

struct data_image {
	void *mem;
};

int fill(struct text_image *t, struct data_image *d)
{
	t->mem = execmem_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	t->table = vmalloc(PAGE_SIZE);
	d->mem = vmalloc(PAGE_SIZE);
	return t->mem && t->table && d->mem ? execmem_finish(t->mem) : -ENOMEM;
}

void protect(struct text_image *t, struct data_image *d)
{
	set_memory_ro((unsigned long)t->table, 1);
	set_memory_ro((unsigned long)d->mem, 1);
}
