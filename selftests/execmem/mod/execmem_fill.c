// SPDX-License-Identifier: GPL-2.0
/*
 * Takes the free addresses of a range, with no memory behind them: whoever
 * allocates there next finds it exhausted. Write "START END LEAVE" to the
 * parameter "fill"; LEAVE pages in one piece in the upper half stay free, as
 * the very ends may be out of bounds for some. Anything else gives back what
 * was taken before. Not done in init, because the memory of init is freed after
 * it, and would leave holes.
 *
 * A pool may have reserved some of these addresses before: write "1" to the
 * parameter "pool" after that, and all that is left of them for programs of BPF in
 * pieces of 2 MiB is taken, too.
 */
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#if __has_include(<linux/execmem.h>)
#include <linux/execmem.h>
#define HAVE_EXECMEM
#endif

#include "lookup.h"

struct piece {
	struct list_head list;
	struct vm_struct *area;
};

static LIST_HEAD(pieces);
static unsigned long taken;	/* pages */

static typeof(&__get_vm_area_caller) get_area;

/* VM_ALLOC: nobody is going to look behind the addresses, KASAN need not prepare for it. */
static struct vm_struct *take(unsigned long start, unsigned long end, unsigned long size)
{
	return get_area(size, VM_ALLOC | VM_NO_GUARD, start, end, __builtin_return_address(0));
}

static void give_back(void)
{
	struct piece *p, *next;

	list_for_each_entry_safe(p, next, &pieces, list) {
		free_vm_area(p->area);
		kfree(p);
	}
	INIT_LIST_HEAD(&pieces);
	taken = 0;
}

static int fill(unsigned long start, unsigned long end, unsigned long leave)
{
	unsigned long size;
	struct vm_struct *hole = NULL;
	int err = 0;

	if (start >= end)
		return -EINVAL;
	if (leave) {
		hole = take(start + (end - start) / 2, end, leave << PAGE_SHIFT);
		if (!hole)
			return -ENOMEM;
	}
	for (size = rounddown_pow_of_two(end - start); size >= PAGE_SIZE; ) {
		struct piece *p = kmalloc(sizeof(*p), GFP_KERNEL);

		if (!p) {
			err = -ENOMEM;
			break;
		}
		p->area = take(start, end, size);
		if (p->area) {
			taken += size >> PAGE_SHIFT;
			list_add(&p->list, &pieces);
		} else {
			kfree(p);
			size /= 2;
		}
	}
	if (hole) {
		free_vm_area(hole);
		/* Now, not when there is no other room left. */
		vm_unmap_aliases();
	}
	if (err)
		give_back();
	return err;
}

static int fill_set(const char *val, const struct kernel_param *kp)
{
	unsigned long start, end, leave;

	give_back();
	if (sscanf(val, "%li %li %lu", &start, &end, &leave) != 3)
		return 0;
	return fill(start, end, leave);
}

static int fill_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%lu\n", taken);
}

static const struct kernel_param_ops fill_ops = { .set = fill_set, .get = fill_get };
module_param_cb(fill, &fill_ops, NULL, 0644);
MODULE_PARM_DESC(fill, "START END LEAVE; read: pages taken");

#ifdef HAVE_EXECMEM
static void *pooled[64];
static unsigned int nr_pooled;

static typeof(&jit_text_alloc) text_alloc;
static typeof(&execmem_free) text_free;

static void give_pool_back(void)
{
	while (nr_pooled)
		text_free(pooled[--nr_pooled]);
}

static int pool_set(const char *val, const struct kernel_param *kp)
{
	give_pool_back();
	if (*val != '1')
		return 0;
	while (nr_pooled < ARRAY_SIZE(pooled)) {
		pooled[nr_pooled] = text_alloc(EXECMEM_BPF, SZ_2M);
		if (!pooled[nr_pooled])
			return 0;
		nr_pooled++;
	}
	return -ENOSPC;
}

static int pool_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%u\n", nr_pooled);
}

static const struct kernel_param_ops pool_ops = { .set = pool_set, .get = pool_get };
module_param_cb(pool, &pool_ops, NULL, 0644);
MODULE_PARM_DESC(pool, "1: take what pools have for programs of BPF; read: pieces taken");

static bool look_up(void)
{
	text_alloc = lookup_function("jit_text_alloc");
	text_free = lookup_function("execmem_free");
	return text_alloc && text_free;
}
#else
static void give_pool_back(void) { }
static bool look_up(void) { return true; }
#endif

static int __init execmem_fill_init(void)
{
	get_area = lookup_function("__get_vm_area_caller");
	return get_area && look_up() ? 0 : -ENOENT;
}

static void __exit execmem_fill_exit(void)
{
	give_pool_back();
	give_back();
}

module_init(execmem_fill_init);
module_exit(execmem_fill_exit);
MODULE_DESCRIPTION("execmem selftest: an exhausted range");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
