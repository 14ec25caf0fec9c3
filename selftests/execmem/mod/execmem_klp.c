// SPDX-License-Identifier: GPL-2.0
/* Livepatch of a function of execmem_test and of one of the image. */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int klp_target(int a)
{
	return a * 3 + 1000;
}

static int klp_cmdline_proc_show(struct seq_file *m, void *v)
{
	seq_puts(m, "execmem livepatch\n");
	return 0;
}

static struct klp_func module_funcs[] = {
	{ .old_name = "execmem_target", .new_func = klp_target },
	{ }
};

static struct klp_func image_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klp_cmdline_proc_show },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "execmem_test", .funcs = module_funcs },
	{ .funcs = image_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init execmem_klp_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit execmem_klp_exit(void)
{
}

module_init(execmem_klp_init);
module_exit(execmem_klp_exit);
MODULE_DESCRIPTION("execmem selftest: livepatch");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
MODULE_INFO(test, "Y");
