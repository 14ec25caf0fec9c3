// SPDX-License-Identifier: GPL-2.0-only
/* A driver that makes code, in the ways that can be converted all by themselves. */

#include <linux/filter.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* --- one page, a global, errors ignored ---------------------------------- */
static const u8 code[16];
static void *page;

static int __init page_init(void)
{
	page = module_alloc(PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	memcpy(page, code, sizeof(code));
	set_memory_ro((unsigned long)page, 1);
	set_memory_x((unsigned long)page, 1);
	return 0;
}

static void __exit page_exit(void)
{
	set_memory_nx((unsigned long)page, 1);
	set_memory_rw((unsigned long)page, 1);
	vfree(page);
}

/* --- a member: allocated, sealed and freed in three functions ------------- */
struct image {
	u32 *text;
	void *data;
	unsigned int pages;
};

int image_emit(struct image *im);

static int image_seal(struct image *im)
{
	int ret;

	ret = set_memory_ro((unsigned long)im->text, im->pages);
	if (ret)
		return ret;
	return set_memory_x((unsigned long)im->text, im->pages);
}

struct image *image_create(unsigned int pages)
{
	struct image *im = kzalloc(sizeof(*im), GFP_KERNEL);

	if (!im)
		return ERR_PTR(-ENOMEM);
	im->pages = pages;
	im->text = (u32 *)module_alloc(pages * PAGE_SIZE);
	if (!im->text)
		goto free_image;
	set_vm_flush_reset_perms(im->text);
	im->data = vmalloc(PAGE_SIZE);
	if (!im->data)
		goto free_text;
	set_memory_ro((unsigned long)im->data, 1);
	if (image_emit(im))
		goto free_data;
	if (image_seal(im))
		goto free_data;
	return im;

free_data:
	vfree(im->data);
free_text:
	module_memfree(im->text);
free_image:
	kfree(im);
	return ERR_PTR(-ENOMEM);
}

void image_destroy(struct image *image)
{
	void *data = image->data;

	set_memory_rw((unsigned long)data, 1);
	vfree(data);
	vfree(image->text);
	kfree(image);
}

/* --- helpers that are given a pointer -------------------------------------- */
static void *text_get(size_t size)
{
	return module_alloc(PAGE_ALIGN(size));
}

static int text_seal(void *text, int npages)
{
	if (set_memory_ro((unsigned long)text, npages) ||
	    set_memory_x((unsigned long)text, npages))
		return -EINVAL;
	return 0;
}

static void text_put(void *text)
{
	if (text)
		vfree(text);
}

void *stub_make(size_t size)
{
	int npages = DIV_ROUND_UP(size, PAGE_SIZE);
	void *stub = text_get(size);

	if (!stub)
		return NULL;
	memset(stub, 0xcc, size);
	if (text_seal(stub, npages)) {
		text_put(stub);
		return NULL;
	}
	return stub;
}

struct stub {
	void *text;
	size_t size;
};

int stub_renew(struct stub *s)
{
	int npages = PAGE_ALIGN(s->size) >> PAGE_SHIFT;
	int ret;

	s->text = module_alloc(s->size);
	if (s->text)
		set_vm_flush_reset_perms(s->text);
	if (!s->text)
		return -ENOMEM;
	ret = set_memory_ro((unsigned long)s->text, npages);
	if (!ret)
		ret = set_memory_x((unsigned long)s->text, npages);
	if (ret) {
		module_memfree(s->text);
		s->text = NULL;
	}
	return ret;
}

void stub_destroy(void *stub)
{
	module_memfree(stub);
}

/* --- a table; the first of the two checks goes ------------------------------ */
static void *table[4];

static int table_fill(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		table[i] = module_alloc(PAGE_SIZE);
		if (!table[i]) {
			pr_err("no memory for %zu\n", i);
			goto fail;
		}
		memset(table[i], 0xcc, PAGE_SIZE);
		err = set_memory_x((unsigned long)table[i], 1);
		if (err < 0)
			goto fail;
		err = set_memory_ro((unsigned long)table[i], 1);
		if (err < 0)
			goto fail;
	}
	return 0;
fail:
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		vfree(table[i]);
		table[i] = NULL;
	}
	return -ENOMEM;
}

/* --- the address in a variable, a result by pointer -------------------------- */
static int slot_get(void **slot, unsigned int order)
{
	void *p = module_alloc(PAGE_SIZE << order);
	unsigned long addr = (unsigned long)p;

	if (!p)
		return -ENOMEM;
	if (set_memory_rox(addr, 1 << order)) {
		vfree(p);
		return -EINVAL;
	}
	*slot = p;
	return 0;
}

int slot_try(void)
{
	void *slot;

	if (slot_get(&slot, 1))
		return -ENOMEM;
	vfree(slot);
	return 0;
}

/* --- BPF ----------------------------------------------------------------------- */
int jit_once(const u8 *insns, size_t len)
{
	void *image = NULL;
	int err;

	image = bpf_jit_alloc_exec(PAGE_SIZE);
	if (unlikely(image == NULL)) {
		err = -ENOMEM;
		goto out;
	}
	set_vm_flush_reset_perms(image);
	memcpy(image, insns, len);
	set_memory_ro((long)image, 1);
	set_memory_x((long)image, 1);
	err = ((int (*)(void))image)();
out:
	bpf_jit_free_exec(image);
	return err;
}

/* --- where the kernel may leave its text unprotected -------------------------- */
void *insn_get(void)
{
	void *insns;

	insns = module_alloc(PAGE_SIZE);
	if (!insns)
		return NULL;

	if (strict_module_rwx_enabled()) {
		set_memory_ro((unsigned long)insns, 1);
		set_memory_x((unsigned long)insns, 1);
	}
	return insns;
}

void insn_put(void *insns)
{
	module_memfree(insns);
}

/* --- a page of kprobes ----------------------------------------------------------- */
static void *insn_page;

int insn_init(void)
{
	insn_page = alloc_insn_page();
	if (unlikely(!insn_page))
		return -ENOMEM;
	return 0;
}

void insn_exit(void)
{
	free_insn_page(insn_page);
}

/* --- as a callback ------------------------------------------------------------------ */
struct text_ops {
	void *(*alloc)(size_t size);
	void (*free)(void *text);
};

const struct text_ops ops = {
	.alloc = text_get,
	.free = module_memfree,
};

int all(void)
{
	page_init();
	page_exit();
	return table_fill();
}
