// SPDX-License-Identifier: GPL-2.0
/* More data than any module area or test guest holds: loading must fail cleanly. */
#include <linux/module.h>
#include <linux/sizes.h>

static char huge[SZ_1G + SZ_256M];

static int __init execmem_huge_init(void)
{
	huge[1] = 1;
	return huge[sizeof(huge) - 1];
}

static void __exit execmem_huge_exit(void)
{
	huge[0] = huge[1];
}

module_init(execmem_huge_init);
module_exit(execmem_huge_exit);
MODULE_DESCRIPTION("execmem selftest: too large");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
