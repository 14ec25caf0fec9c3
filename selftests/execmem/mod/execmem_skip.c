// SPDX-License-Identifier: GPL-2.0
/*
 * Break the kernel on purpose: functions of it return at once, with a value
 * of our choice, and do nothing.  It is how the tests are seen to fail:
 * booted with "execmem_mutant=FUNCTION[:VALUE]" each test loads this first.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

#include "just_return.h"

static char *func[2];
static unsigned int nr_func;
module_param_array(func, charp, &nr_func, 0444);

static long ret;
module_param(ret, long, 0444);

/* Of each function: only if its third argument is that; -1 for any. */
static int arg2[2] = { -1, -1 };
static unsigned int nr_arg2;
module_param_array(arg2, int, &nr_arg2, 0444);

static struct kprobe kp[2];

static int skip(struct kprobe *p, struct pt_regs *regs)
{
	const int wanted = arg2[p - kp];

	if (wanted != -1 && (int)(u8)regs_get_kernel_argument(regs, 2) != wanted)
		return 0;
	just_return(regs, ret);
	return 1;
}

/* With a post handler the probe is never jump-optimised, which could not skip. */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe kp[2] = {
	{ .pre_handler = skip, .post_handler = after },
	{ .pre_handler = skip, .post_handler = after },
};

static int __init execmem_skip_init(void)
{
	unsigned int i;
	int err;

	if (!nr_func)
		return -EINVAL;
	for (i = 0; i < nr_func; i++) {
		kp[i].symbol_name = func[i];
		err = register_kprobe(&kp[i]);
		if (err) {
			while (i--)
				unregister_kprobe(&kp[i]);
			return err;
		}
	}
	return 0;
}

static void __exit execmem_skip_exit(void)
{
	unsigned int i;

	for (i = 0; i < nr_func; i++)
		unregister_kprobe(&kp[i]);
}

module_init(execmem_skip_init);
module_exit(execmem_skip_exit);
MODULE_DESCRIPTION("execmem selftest: a deliberately broken kernel");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
