// SPDX-License-Identifier: GPL-2.0-only
/* A driver that makes code, in the ways that can be converted all by themselves. */

#include <linux/filter.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/execmem.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* --- one page, a global, errors ignored ---------------------------------- */
static const u8 code[16];
static void *page;

static int __init page_init(void)
{
	page = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	memcpy(page, code, sizeof(code));
	if (execmem_finish(page)) {
		execmem_free(page);
		page = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void __exit page_exit(void)
{
	execmem_free(page);
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
	return execmem_finish(im->text);
}

struct image *image_create(unsigned int pages)
{
	struct image *im = kzalloc(sizeof(*im), GFP_KERNEL);

	if (!im)
		return ERR_PTR(-ENOMEM);
	im->pages = pages;
	im->text = (u32 *)execmem_text_alloc(EXECMEM_MODULE_TEXT,
					     pages * PAGE_SIZE);
	if (!im->text)
		goto free_image;
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
	execmem_free(im->text);
free_image:
	kfree(im);
	return ERR_PTR(-ENOMEM);
}

void image_destroy(struct image *image)
{
	void *data = image->data;

	set_memory_rw((unsigned long)data, 1);
	vfree(data);
	execmem_free(image->text);
	kfree(image);
}

/* --- helpers that are given a pointer -------------------------------------- */
static void *text_get(size_t size)
{
	return execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_ALIGN(size));
}

static int text_seal(void *text, int npages)
{
	if (execmem_finish(text))
		return -EINVAL;
	return 0;
}

static void text_put(void *text)
{
	if (text)
		execmem_free(text);
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
	int ret;

	s->text = execmem_text_alloc(EXECMEM_MODULE_TEXT, s->size);
	if (!s->text)
		return -ENOMEM;
	ret = execmem_finish(s->text);
	if (ret) {
		execmem_free(s->text);
		s->text = NULL;
	}
	return ret;
}

void stub_destroy(void *stub)
{
	execmem_free(stub);
}

/* --- a table; the first of the two checks goes ------------------------------ */
static void *table[4];

static int table_fill(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		table[i] = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);
		if (!table[i]) {
			pr_err("no memory for %zu\n", i);
			goto fail;
		}
		memset(table[i], 0xcc, PAGE_SIZE);
		err = execmem_finish(table[i]);
		if (err < 0)
			goto fail;
	}
	return 0;
fail:
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		execmem_free(table[i]);
		table[i] = NULL;
	}
	return -ENOMEM;
}

/* --- the address in a variable, a result by pointer -------------------------- */
static int slot_get(void **slot, unsigned int order)
{
	void *p = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE << order);
	unsigned long addr = (unsigned long)p;

	if (!p)
		return -ENOMEM;
	if (execmem_finish((void *)addr)) {
		execmem_free(p);
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
	execmem_free(slot);
	return 0;
}

/* --- BPF ----------------------------------------------------------------------- */
int jit_once(const u8 *insns, size_t len)
{
	void *image = NULL;
	int err;

	image = jit_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	if (unlikely(image == NULL)) {
		err = -ENOMEM;
		goto out;
	}
	memcpy(image, insns, len);
	if (execmem_finish(image)) {
		jit_free(image);
		image = NULL;
		err = -ENOMEM;
		goto out;
	}
	err = ((int (*)(void))image)();
out:
	jit_free(image);
	return err;
}

/* --- where the kernel may leave its text unprotected -------------------------- */
void *insn_get(void)
{
	void *insns;

	insns = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);
	if (!insns)
		return NULL;

	if (execmem_finish(insns)) {
		execmem_free(insns);
		return NULL;
	}
	return insns;
}

void insn_put(void *insns)
{
	execmem_free(insns);
}

/* --- a page of kprobes ----------------------------------------------------------- */
static void *insn_page;

int insn_init(void)
{
	insn_page = execmem_text_alloc(EXECMEM_KPROBES, PAGE_SIZE);
	if (insn_page && execmem_finish(insn_page)) {
		execmem_free(insn_page);
		insn_page = NULL;
	}
	if (unlikely(!insn_page))
		return -ENOMEM;
	return 0;
}

void insn_exit(void)
{
	execmem_free(insn_page);
}

/* --- as a callback ------------------------------------------------------------------ */
struct text_ops {
	void *(*alloc)(size_t size);
	void (*free)(void *text);
};

const struct text_ops ops = {
	.alloc = text_get,
	.free = execmem_free,
};

int all(void)
{
	page_init();
	page_exit();
	return table_fill();
}
