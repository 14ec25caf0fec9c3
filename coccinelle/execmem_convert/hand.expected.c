// SPDX-License-Identifier: GPL-2.0-only
/* What a semantic patch cannot decide. */

#include <linux/execmem.h>
#include <linux/kprobes.h>
#include <linux/moduleloader.h>
#include <linux/set_memory.h>
#include <linux/vmalloc.h>

/* --- one pointer, two allocators: nothing of it is converted ---------------- */
struct buffer {
	void *mem;
};

int buffer_alloc(struct buffer *b, size_t size)
{
	b->mem = module_alloc(size);
	if (!b->mem)
		b->mem = vmalloc(size);
	return b->mem ? 0 : -ENOMEM;
}

void buffer_free(struct buffer *b)
{
	vfree(b->mem);
}

/* --- written again later ------------------------------------------------------- */
struct patch {
	u8 *site;
	unsigned int pages;
};

int patch_init(struct patch *p, unsigned int pages)
{
	p->site = execmem_text_alloc(EXECMEM_MODULE_TEXT, pages << PAGE_SHIFT);
	if (!p->site)
		return -ENOMEM;
	p->pages = pages;
	return 0;
}

void patch_publish(struct patch *p)
{
	/* FIXME: this can fail; the memory must be freed then, and not executed */
	execmem_finish(p->site);
}

void patch_write(struct patch *p, size_t at, u8 byte)
{
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_rw((unsigned long)p->site, p->pages);
	p->site[at] = byte;
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_ro((unsigned long)p->site, p->pages);
}

void patch_poison(struct patch *p)
{
	if (set_memory_rw((unsigned long)p->site, p->pages))
		return;
	memset(p->site, 0xcc, p->pages << PAGE_SHIFT);
	execmem_free(p->site);
}

/* --- executable and still writable; or only read-only ---------------------------- */
void *writable_text(void)
{
	void *text = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);

	if (!text)
		return NULL;
	/* FIXME: read-only from here on, too; later changes need execmem_update() */
	if (execmem_finish(text)) {
		execmem_free(text);
		return NULL;
	}
	return text;
}

void *read_only(const void *what)
{
	/* FIXME: execmem_finish() has to come before this is executed */
	void *text = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);

	if (!text)
		return NULL;
	memcpy(text, what, PAGE_SIZE);
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_ro((unsigned long)text, 1);
	return text;
}

/* --- a part of it ------------------------------------------------------------------- */
struct layout {
	void *base;
	size_t size, text_size;
};

int layout_alloc(struct layout *l)
{
	l->base = execmem_text_alloc(EXECMEM_MODULE_TEXT, l->size);
	if (!l->base)
		return -ENOMEM;
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_ro((unsigned long)l->base, l->text_size >> PAGE_SHIFT);
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_x((unsigned long)l->base, l->text_size >> PAGE_SHIFT);
	return 0;
}

void layout_data(struct layout *l)
{
	set_memory_nx((unsigned long)l->base + l->text_size, 1);
	execmem_free(l->base);
}

void *two_pages(void)
{
	void *text = execmem_text_alloc(EXECMEM_MODULE_TEXT, 2 * PAGE_SIZE);

	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_rox((unsigned long)text, 1);
	return text;
}

int text_and_rodata(struct layout *l, int pages, int text_pages)
{
	void *p = execmem_text_alloc(EXECMEM_MODULE_TEXT, pages * PAGE_SIZE);

	if (!p)
		return -ENOMEM;
	l->base = p;
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_ro((unsigned long)p, pages);
	/* FIXME: only execmem changes the permissions of its memory */
	set_memory_x((unsigned long)p, text_pages);
	return 0;
}

/* --- never made executable ------------------------------------------------------------ */
static void *scratch;

int scratch_init(void)
{
	/* FIXME: execmem_finish() has to come before this is executed */
	scratch = execmem_text_alloc(EXECMEM_MODULE_TEXT, PAGE_SIZE);
	return scratch ? 0 : -ENOMEM;
}

void *slots(void)
{
	/* FIXME: execmem_finish() has to come before this is executed */
	return execmem_text_alloc(EXECMEM_KPROBES, PAGE_SIZE);
}

/* --- the pointer goes, or comes, where it cannot be seen ---------------------------------- */
void keep(void *p);

void hand_over(void)
{
	keep(module_alloc(PAGE_SIZE));
}

void take_back(void *p)
{
	vfree(p);
}

void *other_memory(void)
{
	void *p = vmalloc(PAGE_SIZE);

	if (p)
		module_memfree(p);
	return NULL;
}

struct irq_text {
	void *start;
};

int irq_text_alloc(struct irq_text *t)
{
	t->start = module_alloc(PAGE_SIZE);
	return t->start ? set_memory_rox((unsigned long)t->start, 1) : -ENOMEM;
}

void irq_text_free(struct irq_text *t)
{
	vfree_atomic(t->start);
}

/* --- by another name ------------------------------------------------------------------------ */
static void *(*get_text)(unsigned long size) = module_alloc;

void *find_it(void)
{
	struct kprobe kp = { .symbol_name = "module_alloc" };

	if (register_kprobe(&kp))
		return NULL;
	unregister_kprobe(&kp);
	return get_text(PAGE_SIZE);
}

#define free_insn_page(page) put_page_of_insns(page)
void put_page_of_insns(void *page);

void drop_it(void *page)
{
	free_insn_page(page);
}

/* --- an override -------------------------------------------------------------------------------- */
void __weak module_memfree(void *module_region)
{
	vfree(module_region);
}
