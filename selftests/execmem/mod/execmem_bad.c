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

static char *mode = "";
module_param(mode, charp, 0444);

static unsigned long addr;
module_param(addr, ulong, 0444);
MODULE_PARM_DESC(addr, "where the planted mapping lies");

static struct page *page;
static void *mapping;

static noinline int some_text(int a)
{
	barrier();
	return a + 1;
}

static int __init execmem_bad_init(void)
{
	int (*volatile text)(int) = some_text;
	struct page *target;

	if (!strcmp(mode, "wx")) {
		page = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		mapping = vmap(&page, 1, VM_MAP, PAGE_KERNEL_EXEC);
	} else if (!strcmp(mode, "alias")) {
		target = vmalloc_to_page(text);
		mapping = vmap(&target, 1, VM_MAP, PAGE_KERNEL);
	} else {
		return -EINVAL;
	}
	if (!mapping) {
		if (page)
			__free_page(page);
		return -ENOMEM;
	}
	/* Present in the page tables, not only promised. */
	*(volatile char *)mapping = *(volatile char *)mapping;
	addr = (unsigned long)mapping;
	return 0;
}

static void __exit execmem_bad_exit(void)
{
	vunmap(mapping);
	if (page)
		__free_page(page);
}

module_init(execmem_bad_init);
module_exit(execmem_bad_exit);
MODULE_DESCRIPTION("execmem selftest: a planted violation");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
