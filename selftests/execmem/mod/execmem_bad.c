// SPDX-License-Identifier: GPL-2.0
/*
 * What must never exist, made on purpose, so that the tests are seen to find
 * it: a writable and executable page (mode=wx), or a writable alias of an
 * executable page (mode=alias).
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "lookup.h"

static char *mode = "";
module_param(mode, charp, 0444);

static unsigned long addr;
module_param(addr, ulong, 0444);
MODULE_PARM_DESC(addr, "where the planted mapping lies");

static void *mapping;
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
}

module_init(execmem_bad_init);
module_exit(execmem_bad_exit);
MODULE_DESCRIPTION("execmem selftest: a planted violation");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
