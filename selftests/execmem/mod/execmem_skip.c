// SPDX-License-Identifier: GPL-2.0
/*
 * Break the kernel on purpose: a function of it returns at once, with a value
 * of our choice, and does nothing.  It is how the tests are seen to fail:
 * booted with "execmem_mutant=FUNCTION[:VALUE]" each test loads this first.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

#include "just_return.h"

static char *func = "";
module_param(func, charp, 0444);

static long ret;
module_param(ret, long, 0444);

static int skip(struct kprobe *p, struct pt_regs *regs)
{
	just_return(regs, ret);
	return 1;
}

/* With a post handler the probe is never jump-optimised, which could not skip. */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe kp = { .pre_handler = skip, .post_handler = after };

static int __init execmem_skip_init(void)
{
	kp.symbol_name = func;
	return register_kprobe(&kp);
}

static void __exit execmem_skip_exit(void)
{
	unregister_kprobe(&kp);
}

module_init(execmem_skip_init);
module_exit(execmem_skip_exit);
MODULE_DESCRIPTION("execmem selftest: a deliberately broken kernel");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
