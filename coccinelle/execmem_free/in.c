// SPDX-License-Identifier: GPL-2.0-only
/* What frees memory from execmem in a wrong way */

#include <linux/execmem.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

void module_memfree(void *p);

/* --- in one function ----------------------------------------------------------- */
int frees_it(const void *code, size_t size)
{
	u8 *p;
	int err;

	p = (u8 *)execmem_text_alloc(EXECMEM_BPF, size);
	if (!p)
		return -ENOMEM;
	err = execmem_write(p, code, size);
	if (err) {
		vfree(p);
		return err;
	}
	err = execmem_finish(p);
	if (err)
		module_memfree((void *)p);
	return err;
}

void frees_it_by_another_name(void)
{
	unsigned long addr;
	void *p = jit_text_alloc(EXECMEM_BPF, PAGE_SIZE);

	addr = (unsigned long)p;
	kvfree((void *)addr);
}

/* --- a member and a global ------------------------------------------------------- */
struct image {
	void *text;
	void *data;
};

static void *trampoline;

struct image *image_create(void)
{
	struct image *im = kzalloc(sizeof(*im), GFP_KERNEL);
	void *text;

	if (!im)
		return NULL;
	im->text = text = execmem_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	if (!text) {
		kfree(im);
		return NULL;
	}
	im->data = vmalloc(PAGE_SIZE);
	trampoline = execmem_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	return im;
}

void image_destroy(struct image *image)
{
	vfree(image->data);
	vfree(image->text);
	kfree(image);
	vfree_atomic(trampoline);
}

void image_drop(struct image *image)
{
	void *text = image->text, *data = image->data;

	module_memfree(text);
	vfree(data);
}

struct other {
	void *text;
};

void other_destroy(struct other *o)
{
	vfree(o->text);
	kfree(o);
}
