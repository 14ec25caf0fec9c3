// SPDX-License-Identifier: GPL-2.0
/*
 * Misuses executable memory and areas of addresses on purpose. Reading the parameter
 * "misuse" does it, and gives a line for each that was not refused or has done
 * harm, and "refused N" at the end: so many frees of what was not allocated, or
 * in an interrupt. Each of them warns; that the kernel is tainted by it is taken
 * back.
 *
 * Reading "unfinished", while execmem_finish() cannot protect what it is given,
 * says "refused" if nothing but a free is possible after that.
 */
#include <linux/execmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "lookup.h"

#define SIZE	256

static typeof(&execmem_text_alloc) text_alloc;
static typeof(&execmem_free) text_free;
static typeof(&execmem_write) text_write;
static typeof(&execmem_finish) text_finish;
static typeof(&execmem_update) text_update;
static unsigned long *taint;

static char *report;
static int reported, refused;

static void __printf(1, 2) complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	reported += vscnprintf(report + reported, PAGE_SIZE - reported, format, args);
	va_end(args);
}

static bool holds(void *p, u8 byte)
{
	u8 got[SIZE];

	return !copy_from_kernel_nofault(got, p, SIZE) && !memchr_inv(got, byte, SIZE);
}

static bool fill(void *p, u8 byte)
{
	u8 bytes[SIZE];

	memset(bytes, byte, SIZE);
	return !text_write(p, bytes, SIZE);
}

/* What nobody may free: nothing changes. */
static void refused_free(void *p)
{
	text_free(p);
	refused++;
}

static void misuse_text(enum execmem_type type, const char *name)
{
	u8 *p = text_alloc(type, SIZE), *q = text_alloc(type, SIZE), *r, *s;

	if (!p || !q || !fill(p, 1) || !fill(q, 2)) {
		complain("%s: no text\n", name);
		goto out;
	}

	refused_free(p + 64);
	refused_free(p + SIZE - 1);
	refused_free(p + PAGE_SIZE / 2 + 1);
	if (!holds(p, 1) || !holds(q, 2))
		complain("%s: freed by an address inside\n", name);
	if (!fill(p, 3))
		complain("%s: not its owner's any more after it was freed by an address inside\n", name);

	/* As good as a softirq: whoever it interrupts may hold the lock. */
	local_bh_disable();
	refused_free(q);
	local_bh_enable();
	if (!holds(q, 2) || !fill(q, 2))
		complain("%s: freed in an interrupt\n", name);

	text_free(p);
	refused_free(p);
	if (!holds(q, 2) || !fill(q, 4))
		complain("%s: what lies beside it was freed by the second free\n", name);

	/* Free twice would be given away twice. */
	r = text_alloc(type, SIZE);
	s = text_alloc(type, SIZE);
	if (!r || !s || !fill(r, 5) || !fill(s, 6))
		complain("%s: no text after it was freed twice\n", name);
	else if (!holds(r, 5) || !holds(s, 6) || !holds(q, 4))
		complain("%s: given away twice\n", name);
	text_free(r);
	text_free(s);
	p = NULL;
out:
	text_free(p);
	text_free(q);
}

static void misuse_others(void)
{
	u8 *heap = kmalloc(SIZE, GFP_KERNEL), *pages = vmalloc(PAGE_SIZE);
	unsigned long on_stack = 1;

	refused_free(&on_stack);
	refused_free((void *)text_alloc);
	if (heap) {
		memset(heap, 7, SIZE);
		refused_free(heap);
		if (!holds(heap, 7))
			complain("memory of kmalloc() was freed\n");
	}
	if (pages) {
		memset(pages, 8, SIZE);
		refused_free(pages);
		if (!holds(pages, 8))
			complain("memory of vmalloc() was freed\n");
	}
	kfree(heap);
	vfree(pages);
}

/* Patches before "mm/vmalloc: add areas that their owner maps" have none. */
#ifdef VM_OWNER_MAPPED
static typeof(&find_vm_area) find_area;
static typeof(&get_vm_owner_mapped_area) get_area;
static typeof(&vm_area_map_run) map_run;
static typeof(&vm_area_unmap_run) unmap_run;
static typeof(&vmalloc_nr_pages) all_pages;

static bool find_areas(void)
{
	find_area = lookup_function("find_vm_area");
	get_area = lookup_function("get_vm_owner_mapped_area");
	map_run = lookup_function("vm_area_map_run");
	unmap_run = lookup_function("vm_area_unmap_run");
	all_pages = lookup_function("vmalloc_nr_pages");
	return find_area && get_area && map_run && unmap_run && all_pages;
}

static struct vm_struct *make_area(unsigned long size, unsigned long align)
{
	return get_area(size, align, VMALLOC_START, VMALLOC_END, GFP_KERNEL,
			__builtin_return_address(0));
}

/* Outside of the area, or of others. */
static void misuse_area(void)
{
	struct vm_struct *area = make_area(2 * PAGE_SIZE, PAGE_SIZE);
	unsigned long addr = area ? (unsigned long)area->addr : 0;
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	u8 *other = vmalloc(PAGE_SIZE), *in_area = (u8 *)addr;
	struct vm_struct *others = find_area(other);
	const struct {
		unsigned long addr;
		unsigned int nr_pages;
	} bad[] = {
		{ addr - PAGE_SIZE, 1 },
		{ addr + 2 * PAGE_SIZE, 1 },
		{ addr, 3 },
		{ addr + PAGE_SIZE, 2 },
		{ addr + PAGE_SIZE, UINT_MAX },
		{ addr + 1, 1 },
		{ addr, 0 },
	};
	int i, err;

	if (!area || !page || !other || !others) {
		complain("area: no memory\n");
		goto out;
	}
	memset(other, 9, SIZE);

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err = map_run(area, bad[i].addr, page, bad[i].nr_pages, PAGE_SHIFT, PAGE_KERNEL);
		if (err != -EINVAL)
			complain("area: map %d gave %d\n", i, err);
		if (!err)
			unmap_run(area, bad[i].addr, bad[i].nr_pages);
	}
	err = map_run(others, (unsigned long)other, page, 1, PAGE_SHIFT, PAGE_KERNEL);
	if (err != -EINVAL)
		complain("area: map in an area of vmalloc() gave %d\n", err);

	err = map_run(area, addr, page, 2, PAGE_SHIFT, PAGE_KERNEL);
	if (err) {
		complain("area: map gave %d\n", err);
		goto out;
	}
	memset(in_area, 10, SIZE);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		unmap_run(area, bad[i].addr, bad[i].nr_pages);
	unmap_run(area, (unsigned long)other, 1);
	unmap_run(others, (unsigned long)other, 1);
	vfree(in_area);
	if (!holds(in_area, 10) || area->nr_pages != 2 || find_area(in_area) != area)
		complain("area: unmapped by somebody else\n");
	if (!holds(other, 9))
		complain("area: it unmapped what is not its own\n");
	unmap_run(area, addr, 2);
out:
	vfree(other);
	if (page)
		__free_pages(page, 2);
	if (area)
		free_vm_area(area);
}

/*
 * Where something is mapped already, and a part of a large leaf. What harm is
 * done if that is not refused is not known, so it is the end of it.
 */
static void misuse_mapped(void)
{
	const unsigned int order = PMD_SHIFT - PAGE_SHIFT;
	struct vm_struct *area = NULL;
	struct page *page = NULL;
	unsigned long addr;
	unsigned int shift;
	int err;

	if (order >= MAX_ORDER)
		return;
	page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);
	area = make_area(PMD_SIZE, PMD_SIZE);
	if (!page || !area) {
		complain("mapped: no memory\n");
		goto out;
	}
	addr = (unsigned long)area->addr;
	memset(page_address(page), 11, PMD_SIZE);

	for (shift = PMD_SHIFT; ; shift = PAGE_SHIFT) {
		err = map_run(area, addr, page, 1U << order, shift, PAGE_KERNEL);
		if (err) {
			complain("mapped: map gave %d\n", err);
			goto out;
		}
		/* A large leaf, if there are any, or small ones. */
		err = map_run(area, addr, page, 1U << order, PMD_SHIFT, PAGE_KERNEL);
		if (err == -EINVAL)
			err = map_run(area, addr + PMD_SIZE - PAGE_SIZE, page, 1, PAGE_SHIFT,
				      PAGE_KERNEL);
		if (err != -EINVAL) {
			complain("mapped: a second map gave %d\n", err);
			return;
		}
		err = 0;
		if (!holds((void *)addr, 11) || !holds((void *)(addr + PMD_SIZE - SIZE), 11) ||
		    area->nr_pages != 1U << order)
			complain("mapped: a second map has changed the first\n");
		/* Of a large leaf that is refused; a small one goes, and comes back. */
		unmap_run(area, addr, 1);
		if (area->nr_pages == (1U << order) - 1)
			err = map_run(area, addr, page, 1, PAGE_SHIFT, PAGE_KERNEL);
		else
			unmap_run(area, addr + PAGE_SIZE, (1U << order) - 1);
		if (err || !holds((void *)addr, 11) || !holds((void *)(addr + PMD_SIZE - SIZE), 11) ||
		    area->nr_pages != 1U << order) {
			complain("mapped: a part of a leaf took all of it along\n");
			return;
		}
		unmap_run(area, addr, 1U << order);
		if (shift == PAGE_SHIFT)
			break;
	}
out:
	if (area)
		free_vm_area(area);
	if (page)
		__free_pages(page, order);
}

/* The owner forgot to unmap. It warns, and nobody has the page afterwards. */
static void misuse_free(void)
{
	struct vm_struct *area = make_area(PAGE_SIZE, PAGE_SIZE);
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long before = all_pages();
	u8 *p = area ? area->addr : NULL, byte;

	if (!area || !page || map_run(area, (unsigned long)p, page, 1, PAGE_SHIFT, PAGE_KERNEL)) {
		complain("free: no memory\n");
		return;
	}
	*p = 12;
	free_vm_area(area);
	if (!copy_from_kernel_nofault(&byte, p, 1))
		complain("free: still mapped\n");
	if (all_pages() > before)
		complain("free: %lu pages of vmalloc became %lu\n", before, all_pages());
	__free_page(page);
}

static void misuse_areas(void)
{
	misuse_area();
	misuse_mapped();
	misuse_free();
}
#else
static bool find_areas(void)
{
	return true;
}

static void misuse_areas(void)
{
}
#endif

static int misuse_get(char *buf, const struct kernel_param *kp)
{
	const unsigned long before = *taint;

	report = buf;
	reported = 0;
	refused = 0;
	misuse_text(EXECMEM_KPROBES, "kprobes");
	misuse_text(EXECMEM_MODULE_TEXT, "module text");
	misuse_others();
	misuse_areas();
	complain("refused %d\n", refused);

	if (!(before & BIT(TAINT_WARN)))
		clear_bit(TAINT_WARN, taint);
	return reported;
}

static int unfinished_get(char *buf, const struct kernel_param *kp)
{
	u8 *p = text_alloc(EXECMEM_MODULE_TEXT, SIZE), byte = 1;
	int n = 0, err;

	if (!p)
		return sprintf(buf, "no text\n");
	err = text_finish(p);
	if (err != -ENOMEM)
		n += sprintf(buf + n, "finish gave %d\n", err);
	err = text_update(p, &byte, 1);
	if (err != -EBUSY)
		n += sprintf(buf + n, "update gave %d\n", err);
	err = text_write(p, &byte, 1);
	if (err != -EBUSY)
		n += sprintf(buf + n, "write gave %d\n", err);
	err = text_finish(p);
	if (err != -EBUSY)
		n += sprintf(buf + n, "finish gave %d the second time\n", err);
	text_free(p);
	return n ?: sprintf(buf, "refused\n");
}

static const struct kernel_param_ops unfinished_ops = { .get = unfinished_get };
module_param_cb(unfinished, &unfinished_ops, NULL, 0400);

static const struct kernel_param_ops misuse_ops = { .get = misuse_get };
module_param_cb(misuse, &misuse_ops, NULL, 0400);

static int __init execmem_misuse_init(void)
{
	unsigned long (*lookup_name)(const char *name) = lookup_function("kallsyms_lookup_name");

	text_alloc = lookup_function("execmem_text_alloc");
	text_free = lookup_function("execmem_free");
	text_write = lookup_function("execmem_write");
	text_finish = lookup_function("execmem_finish");
	text_update = lookup_function("execmem_update");
	if (!lookup_name || !text_alloc || !text_free || !text_write || !text_finish || !text_update)
		return -ENOENT;
	taint = (unsigned long *)lookup_name("tainted_mask");
	if (!taint)
		return -ENOENT;
	return find_areas() ? 0 : -ENOENT;
}

static void __exit execmem_misuse_exit(void)
{
}

module_init(execmem_misuse_init);
module_exit(execmem_misuse_exit);
MODULE_DESCRIPTION("execmem selftest: misuse");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
