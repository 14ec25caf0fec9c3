// SPDX-License-Identifier: GPL-2.0
/*
 * What must never exist, made on purpose, so that the tests are seen to find
 * it: a writable and executable page (mode=wx), a writable alias of an
 * executable page (mode=alias), or a large page of the linear mapping that is
 * split (mode=split, at a write to the parameter split).
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#ifdef CONFIG_X86
#include <asm/pgtable.h>
#endif

#include "lookup.h"

static char *mode = "";
module_param(mode, charp, 0444);

static unsigned long addr;
module_param(addr, ulong, 0444);
MODULE_PARM_DESC(addr, "where the planted mapping lies");

static unsigned int splits;
module_param(splits, uint, 0444);
MODULE_PARM_DESC(splits, "how many pages of the linear mapping a write to split splits");

static void *mapping;
static struct page *block;
static bool is_vmap;

static noinline int some_text(int a)
{
	barrier();
	return a + 1;
}

/* vmap() never maps executable; what could is not exported. */
static void *alloc_wx(void)
{
	typeof(&__vmalloc_node_range) alloc = lookup_function("__vmalloc_node_range");

	if (!alloc)
		return NULL;
	return alloc(PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END, GFP_KERNEL | __GFP_ZERO,
		     PAGE_KERNEL_EXEC, 0, NUMA_NO_NODE, __builtin_return_address(0));
}

#ifdef CONFIG_X86
#define BLOCK_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define MAX_BLOCKS	64

static int (*change[2])(unsigned long addr, int numpages);

/* Memory whose part of the linear mapping nobody has split before. */
static int __init find_block(void)
{
	static struct page *tried[MAX_BLOCKS] __initdata;
	unsigned int level = PG_LEVEL_4K;
	int n;

	change[0] = lookup_function("set_memory_ro");
	change[1] = lookup_function("set_memory_rw");
	if (!change[0] || !change[1])
		return -ENOENT;
	for (n = 0; n < MAX_BLOCKS; n++) {
		tried[n] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, BLOCK_ORDER);
		if (!tried[n])
			break;
		addr = (unsigned long)page_address(tried[n]);
		if (lookup_address(addr, &level) && level > PG_LEVEL_4K) {
			block = tried[n];
			splits = level - PG_LEVEL_4K;
			break;
		}
	}
	while (n--)
		__free_pages(tried[n], BLOCK_ORDER);
	return block ? 0 : -ENODATA;
}

static int split_set(const char *val, const struct kernel_param *kp)
{
	int err;

	if (!block)
		return -EINVAL;
	err = change[0](addr, 1);
	return err ?: change[1](addr, 1);
}
#else
#define BLOCK_ORDER	0

static int __init find_block(void)
{
	return -EOPNOTSUPP;
}

static int split_set(const char *val, const struct kernel_param *kp)
{
	return -EOPNOTSUPP;
}
#endif

static const struct kernel_param_ops split_ops = { .set = split_set };
module_param_cb(split, &split_ops, NULL, 0200);

static int __init execmem_bad_init(void)
{
	int (*volatile text)(int) = some_text;
	struct page *page;

	if (!strcmp(mode, "wx")) {
		mapping = alloc_wx();
	} else if (!strcmp(mode, "alias")) {
		page = vmalloc_to_page(text);
		mapping = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
		is_vmap = true;
	} else if (!strcmp(mode, "split")) {
		return find_block();
	} else {
		return -EINVAL;
	}
	if (!mapping)
		return -ENOMEM;
	addr = (unsigned long)mapping;
	return 0;
}

static void __exit execmem_bad_exit(void)
{
	if (is_vmap)
		vunmap(mapping);
	else
		vfree(mapping);
	if (block)
		__free_pages(block, BLOCK_ORDER);
}

module_init(execmem_bad_init);
module_exit(execmem_bad_exit);
MODULE_DESCRIPTION("execmem selftest: a planted violation");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
