// SPDX-License-Identifier: GPL-2.0-only
/* The right way with execmem, and memory of other allocators. */

#include <linux/execmem.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

void frees_it_right(bool text)
{
	void *p = execmem_text_alloc(EXECMEM_BPF, 10);
	void *q = jit_text_alloc(EXECMEM_BPF, 10);

	if (text)
		execmem_free(p);
	jit_free(q);
}

void frees_other_memory(void)
{
	void *p = vmalloc(10), *q = kmalloc(10, GFP_KERNEL);

	vfree(p);
	kfree(q);
}

void frees_other_memory_later(void)
{
	void *p = execmem_text_alloc(EXECMEM_BPF, 10);

	if (!p)
		p = vmalloc(10);
	else
		return;
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

void empty(struct text_image *t, struct data_image *d)
{
	execmem_free(t->mem);
	vfree(t->table);
	kfree(t);
	vfree(d->mem);
}
