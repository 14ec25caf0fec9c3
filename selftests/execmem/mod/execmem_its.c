// SPDX-License-Identifier: GPL-2.0
/*
 * Many indirect calls, so that some end in the lower half of a cache line and
 * get a thunk of the ITS mitigation in memory allocated at load.
 */
#include <linux/module.h>
#include <linux/uaccess.h>

typedef int (*fn_t)(int);

static noinline int plus_one(int a)
{
	barrier();
	return a + 1;
}

static noinline int plus_two(int a)
{
	barrier();
	return a + 2;
}

static fn_t volatile table[] = { plus_one, plus_two };

#define CALL2	v = table[0](v); v = table[1](v);
#define CALL8	CALL2 CALL2 CALL2 CALL2

/* 48 calls: +1 and +2 in turn. */
static noinline int many_calls(int v)
{
	CALL8 CALL8 CALL8 CALL8 CALL8 CALL8
	return v;
}

static int value_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", many_calls(0));
}

static const struct kernel_param_ops value_ops = { .get = value_get };
module_param_cb(value, &value_ops, NULL, 0444);

/* "jmp *%reg; int3" */
static bool is_thunk(unsigned long addr)
{
	u8 b[4];

	if (copy_from_kernel_nofault(b, (void *)addr, sizeof(b)))
		return false;
	if (b[0] == 0x41)
		return b[1] == 0xff && (b[2] & 0xf8) == 0xe0 && b[3] == 0xcc;
	return b[0] == 0xff && (b[1] & 0xf8) == 0xe0 && b[2] == 0xcc;
}

/* Where the direct calls of many_calls() lead that lead to a thunk. */
static int thunks_get(char *buf, const struct kernel_param *kp)
{
	const u8 *text = (const u8 *)many_calls;
	int i, n = 0;

	for (i = 0; i < 1024 && n < PAGE_SIZE - 32; i++) {
		unsigned long to;

		if (text[i] == 0xcc && text[i + 1] == 0xcc)
			break;
		if (text[i] != 0xe8)
			continue;
		to = (unsigned long)text + i + 5 + *(const s32 *)(text + i + 1);
		if (is_thunk(to))
			n += scnprintf(buf + n, PAGE_SIZE - n, "%lx\n", to);
	}
	return n ? n : sprintf(buf, "\n");
}

static const struct kernel_param_ops thunks_ops = { .get = thunks_get };
module_param_cb(thunks, &thunks_ops, NULL, 0444);

static int __init execmem_its_init(void)
{
	return many_calls(0) == 72 ? 0 : -EINVAL;
}

static void __exit execmem_its_exit(void)
{
}

module_init(execmem_its_init);
module_exit(execmem_its_exit);
MODULE_DESCRIPTION("execmem selftest: indirect calls");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
