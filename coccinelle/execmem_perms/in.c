// SPDX-License-Identifier: GPL-2.0-only
/* What changes the permissions of memory from execmem */

#include <linux/execmem.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* --- in one function ----------------------------------------------------------- */
int changes_them(void)
{
	void *p;

	p = execmem_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	if (!p)
		return -ENOMEM;
	if (set_memory_ro((unsigned long)p, 1))
		goto out;
	set_memory_x((unsigned long)p, 1);
out:
	set_memory_nx((long)p, 1);
	execmem_free(p);
	return 0;
}

void changes_a_part(size_t at)
{
	u8 *p = (u8 *)jit_text_alloc(EXECMEM_BPF, 2 * PAGE_SIZE);

	set_memory_rox((unsigned long)p + at, 1);
	set_memory_rw((unsigned long)(p + at), 1);
	jit_free(p);
}

void changes_it_by_address(void)
{
	void *p = jit_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	unsigned long addr = (unsigned long)p;

	set_memory_x(addr, 1);
	addr = (unsigned long)vmalloc(PAGE_SIZE);
	set_memory_x(addr, 1);
	jit_free(p);
}

/* --- a member and a global ------------------------------------------------------- */
struct image {
	void *text;
	void *data;
};

static struct image boot_image;
static void *trampoline;

int image_create(struct image *im)
{
	im->text = jit_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	im->data = vmalloc(PAGE_SIZE);
	if (!im->text || !im->data)
		return -ENOMEM;
	set_memory_ro((unsigned long)im->data, 1);
	return 0;
}

void image_protect(struct image *image)
{
	set_vm_flush_reset_perms(image->text);
	set_memory_ro((unsigned long)image->data, 1);
}

void image_open(struct image *image)
{
	void *text = image->text, *data = image->data;

	set_memory_rw((unsigned long)text, 1);
	set_memory_rw((unsigned long)data, 1);
}

void boot_image_open(void)
{
	set_memory_rw((unsigned long)boot_image.text, 1);
	set_memory_rw((unsigned long)boot_image.data, 1);
}

struct other {
	void *text;
};

void other_protect(struct other *o)
{
	set_memory_ro((unsigned long)o->text, 1);
}

struct module_data {
	void *ro;
};

int data_create(struct module_data *d)
{
	void *p = execmem_data_alloc(EXECMEM_MODULE_RODATA, PAGE_SIZE);

	if (!p)
		return -ENOMEM;
	d->ro = p;
	trampoline = execmem_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	return 0;
}

void data_protect(struct module_data *d)
{
	set_memory_ro((unsigned long)d->ro, 1);
	set_memory_x((unsigned long)trampoline, 1);
}
