// SPDX-License-Identifier: GPL-2.0
/*
 * What code for kernels before and after 6.4 looks for in <linux/module.h>: it
 * asks with defined() whether modules have mem[]. That this compiles is one half
 * of the test. Reading "classes" gives what each class says of each type, and
 * "names" what %pS says of the first and the last byte of each memory.
 */
#include <linux/module.h>

#if !defined(mod_mem_type_is_init) || !defined(mod_mem_type_is_core) || \
	!defined(mod_mem_type_is_text) || !defined(mod_mem_type_is_data) || \
	!defined(mod_mem_type_is_core_data) || !defined(for_each_mod_mem_type) || \
	!defined(for_class_mod_mem_type)
#error "struct module has mem[], and there is no way to find that out"
#endif

/* They are good for constants, too. */
static_assert(MOD_TEXT == 0 && MOD_INVALID == -1);
static_assert(mod_mem_type_is_core(MOD_RO_AFTER_INIT) && !mod_mem_type_is_core(MOD_INIT_TEXT));

/* Something of each type. */
int execmem_helpers_data = 1;
const int execmem_helpers_rodata = 2;
int execmem_helpers_roai __ro_after_init = 3;

static int one(char *buf, int n, int type)
{
	return scnprintf(buf + n, PAGE_SIZE - n, "%d:%s%s%s%s%s\n", type,
			 mod_mem_type_is_init(type) ? " init" : "",
			 mod_mem_type_is_core(type) ? " core" : "",
			 mod_mem_type_is_text(type) ? " text" : "",
			 mod_mem_type_is_data(type) ? " data" : "",
			 mod_mem_type_is_core_data(type) ? " core_data" : "");
}

static int classes_get(char *buf, const struct kernel_param *kp)
{
	int n = one(buf, 0, MOD_INVALID);

	for_each_mod_mem_type(type)
		n += one(buf, n, type);
	return n;
}

static int names_get(char *buf, const struct kernel_param *kp)
{
	int n = 0;

	for_class_mod_mem_type(type, core_data) {
		const struct module_memory *mem = &THIS_MODULE->mem[type];

		if (!mem->size)
			continue;
		n += scnprintf(buf + n, PAGE_SIZE - n, "%d: %pS\n", type, mem->base);
		n += scnprintf(buf + n, PAGE_SIZE - n, "%d: %pS\n", type, mem->base + mem->size - 1);
	}
	return n;
}

static const struct kernel_param_ops classes_ops = { .get = classes_get };
module_param_cb(classes, &classes_ops, NULL, 0400);
static const struct kernel_param_ops names_ops = { .get = names_get };
module_param_cb(names, &names_ops, NULL, 0400);

static int __init execmem_helpers_init(void)
{
	return 0;
}

static void __exit execmem_helpers_exit(void)
{
}

module_init(execmem_helpers_init);
module_exit(execmem_helpers_exit);
MODULE_DESCRIPTION("execmem selftest: what <linux/module.h> offers");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
