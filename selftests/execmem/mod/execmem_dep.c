// SPDX-License-Identifier: GPL-2.0
/* Depends on execmem_test: relocations from one module into another. */
#include <linux/module.h>

#include "execmem_test.h"

static int (*other_module)(int) = execmem_test_exported;

static int __init execmem_dep_init(void)
{
	if (execmem_test_exported(1) != 2 + 0x1234)
		return -EINVAL;
	return other_module(2) == 3 + 0x1234 ? 0 : -EINVAL;
}

static void __exit execmem_dep_exit(void)
{
}

module_init(execmem_dep_init);
module_exit(execmem_dep_exit);
MODULE_DESCRIPTION("execmem selftest: a module that uses another");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
