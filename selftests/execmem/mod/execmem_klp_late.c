// SPDX-License-Identifier: GPL-2.0
/*
 * A livepatch that refers to what execmem_test does not export, from text,
 * data and rodata: relocations that can only be applied once both modules are
 * there, to memory that is finished.
 *
 * A compiler cannot make such relocations. This file refers to stand-ins, and
 * the test "livepatch" turns the references to execmem_late_NAME into late
 * relocations against NAME of execmem_test before it loads the module.
 */
#include <linux/livepatch.h>
#include <linux/module.h>

/* Weak, so that nothing is known of them where they are used. */
int __weak execmem_late_execmem_other(int a)
{
	return -1;
}

int __weak execmem_late_execmem_data_word = -1;

/* apply_relocate_add() of powerpc patches text, but stores to all else: 6.1 has it so. */
#ifdef CONFIG_PPC
#define late_const
#else
#define late_const const
#endif

int (*execmem_klp_late_data)(int) = execmem_late_execmem_other;
int (* late_const execmem_klp_late_rodata)(int) = execmem_late_execmem_other;
int * late_const execmem_klp_late_word = &execmem_late_execmem_data_word;

static int klp_late_target(int a)
{
	return execmem_late_execmem_other(a) +
	       READ_ONCE(execmem_klp_late_data)(a) +
	       READ_ONCE(execmem_klp_late_rodata)(a) +
	       *READ_ONCE(execmem_klp_late_word);
}

static struct klp_func funcs[] = {
	{ .old_name = "execmem_target", .new_func = klp_late_target },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "execmem_test", .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init execmem_klp_late_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit execmem_klp_late_exit(void)
{
}

module_init(execmem_klp_late_init);
module_exit(execmem_klp_late_exit);
MODULE_DESCRIPTION("execmem selftest: late relocations of a livepatch");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
MODULE_INFO(test, "Y");
