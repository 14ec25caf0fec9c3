// SPDX-License-Identifier: GPL-2.0
/*
 * The module that user space loads a hundred times under different names: the
 * test rewrites the name "execmem_clone_000" in its image.  So nothing here may
 * depend on its length or be exported.
 */
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>

static int fail_init;
module_param(fail_init, int, 0444);

static DEFINE_STATIC_KEY_FALSE(clone_key);
static int clone_roai __ro_after_init;
static const int clone_primes[] = { 2, 3, 5, 7, 11, 13, 17, 19 };
/* An array, as small data is not in .data everywhere. */
static int clone_counter[4] = { 41 };

/* For kprobes: one per copy. */
noinline int execmem_clone_work(int n)
{
	int sum = clone_counter[0]++;
	int i;

	asm volatile(".rept 8\n nop\n .endr\n");
	for (i = 0; i < ARRAY_SIZE(clone_primes); i++) {
		might_sleep();
		sum += clone_primes[i] * n;
	}
	if (static_branch_unlikely(&clone_key))
		sum = -sum;
	return sum;
}

static int __init execmem_clone_init(void)
{
	clone_roai = execmem_clone_work(1);
	static_branch_enable(&clone_key);
	if (clone_roai != 41 + 77 || execmem_clone_work(0) != -42)
		return -EINVAL;
	return -fail_init;
}

static void __exit execmem_clone_exit(void)
{
	static_branch_disable(&clone_key);
}

module_init(execmem_clone_init);
module_exit(execmem_clone_exit);
MODULE_DESCRIPTION("execmem selftest: one of many");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
