// SPDX-License-Identifier: GPL-2.0
/*
 * A module that keeps a CPU busy in a function of its own, for a profiler to
 * see: write milliseconds to the parameter "spin". Its text is small, and it
 * has much memory that is none: what takes its text and the size of the whole
 * for a range reaches far over other modules.
 *
 * User space rewrites "execmem_busy_a" in the image, to have several modules
 * with names of functions that differ.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>

static char execmem_busy_a_room[1 << 20];

/* With interrupts on: the sample is taken in the timer's. */
noinline void execmem_busy_a_spin(unsigned int ms)
{
	ktime_t end = ktime_add_ms(ktime_get(), ms);
	unsigned int i;

	do {
		for (i = 0; i < 10000; i++) {
			/* or the loop is empty */
			barrier();
		}
		execmem_busy_a_room[ms % sizeof(execmem_busy_a_room)]++;
		cond_resched();
	} while (ktime_before(ktime_get(), end));
}

static int spin_set(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;
	int err = kstrtouint(val, 0, &ms);

	if (err)
		return err;
	if (ms > 60000)
		return -EINVAL;
	execmem_busy_a_spin(ms);
	return 0;
}

static const struct kernel_param_ops spin_ops = { .set = spin_set };
module_param_cb(spin, &spin_ops, NULL, 0200);
MODULE_PARM_DESC(spin, "milliseconds to spin");

/* or it could not be unloaded */
static int __init execmem_busy_a_init(void)
{
	return 0;
}

static void __exit execmem_busy_a_exit(void)
{
}

module_init(execmem_busy_a_init);
module_exit(execmem_busy_a_exit);
MODULE_DESCRIPTION("execmem selftest: a busy function");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
