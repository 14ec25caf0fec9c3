// SPDX-License-Identifier: GPL-2.0
/*
 * Misuses executable memory and sparse areas on purpose. Reading the parameter
 * "misuse" does it, and gives a line for each that was not refused or has done
 * harm, and "refused N" at the end: so many frees of what was not allocated.
 * Each of them warns; that the kernel is tainted by it is taken back.
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
#ifdef VM_SPARSE
static typeof(&find_vm_area) find_area;
static typeof(&get_vm_sparse_area) get_sparse;
static typeof(&vm_sparse_map) sparse_map;
static typeof(&vm_sparse_unmap) sparse_unmap;

static bool find_sparse(void)
{
	find_area = lookup_function("find_vm_area");
	get_sparse = lookup_function("get_vm_sparse_area");
	sparse_map = lookup_function("vm_sparse_map");
	sparse_unmap = lookup_function("vm_sparse_unmap");
	return find_area && get_sparse && sparse_map && sparse_unmap;
}

static void misuse_sparse(void)
{
	struct vm_struct *area = get_sparse(2 * PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END,
					    GFP_KERNEL, __builtin_return_address(0));
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
		complain("sparse: no memory\n");
		goto out;
	}
	memset(other, 9, SIZE);

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err = sparse_map(area, bad[i].addr, page, bad[i].nr_pages, PAGE_SHIFT, PAGE_KERNEL);
		if (err != -EINVAL)
			complain("sparse: map %d gave %d\n", i, err);
		if (!err)
			sparse_unmap(area, bad[i].addr, bad[i].nr_pages);
	}
	err = sparse_map(others, (unsigned long)other, page, 1, PAGE_SHIFT, PAGE_KERNEL);
	if (err != -EINVAL)
		complain("sparse: map in an area of vmalloc() gave %d\n", err);

	err = sparse_map(area, addr, page, 2, PAGE_SHIFT, PAGE_KERNEL);
	if (err) {
		complain("sparse: map gave %d\n", err);
		goto out;
	}
	memset(in_area, 10, SIZE);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		sparse_unmap(area, bad[i].addr, bad[i].nr_pages);
	sparse_unmap(area, (unsigned long)other, 1);
	sparse_unmap(others, (unsigned long)other, 1);
	vfree(in_area);
	if (!holds(in_area, 10) || area->nr_pages != 2 || find_area(in_area) != area)
		complain("sparse: unmapped by somebody else\n");
	if (!holds(other, 9))
		complain("sparse: it unmapped what is not its own\n");
	sparse_unmap(area, addr, 2);
out:
	vfree(other);
	if (page)
		__free_pages(page, 2);
	if (area)
		free_vm_area(area);
}
#else
static bool find_sparse(void)
{
	return true;
}

static void misuse_sparse(void)
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
	misuse_sparse();
	complain("refused %d\n", refused);

	if (!(before & BIT(TAINT_WARN)))
		clear_bit(TAINT_WARN, taint);
	return reported;
}

static const struct kernel_param_ops misuse_ops = { .get = misuse_get };
module_param_cb(misuse, &misuse_ops, NULL, 0400);

static int __init execmem_misuse_init(void)
{
	unsigned long (*lookup_name)(const char *name) = lookup_function("kallsyms_lookup_name");

	text_alloc = lookup_function("execmem_text_alloc");
	text_free = lookup_function("execmem_free");
	text_write = lookup_function("execmem_write");
	if (!lookup_name || !text_alloc || !text_free || !text_write)
		return -ENOENT;
	taint = (unsigned long *)lookup_name("tainted_mask");
	if (!taint)
		return -ENOENT;
	return find_sparse() ? 0 : -ENOENT;
}

static void __exit execmem_misuse_exit(void)
{
}

module_init(execmem_misuse_init);
module_exit(execmem_misuse_exit);
MODULE_DESCRIPTION("execmem selftest: misuse");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
