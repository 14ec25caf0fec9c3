// SPDX-License-Identifier: GPL-2.0
/*
 * Watch every change of kernel page permissions: at the return from
 * set_memory_*(), and where vmalloc hands out a new area or maps pages into one
 * that its owner maps, look at the page table itself.  A page that is writable
 * and executable then is a violation, however short it lasts.
 *
 * A call that a probe has missed was not looked at: "missed" says how many were.
 * "maps" says how often an owner mapped something into its area.
 */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>

#include "lookup.h"

static atomic_t nr_transitions, nr_violations, nr_maps;

/* How many calls of one function may be on their way at a time. */
#define MAX_ACTIVE 64

struct violation {
	unsigned long addr;
	unsigned long caller;
	const char *where;
	u64 pte;
};

#define MAX_VIOLATIONS 32
static struct violation violations[MAX_VIOLATIONS];

struct call {
	unsigned long addr;
	unsigned long caller;
	int pages;
};

static void violate(unsigned long addr, u64 pte, const char *where, unsigned long caller)
{
	int n = atomic_inc_return(&nr_violations) - 1;

	if (n < MAX_VIOLATIONS) {
		violations[n].addr = addr;
		violations[n].caller = caller;
		violations[n].pte = pte;
		violations[n].where = where;
	}
}

/* What is mapped executable there is not writable in the linear mapping. */
static void look_alias(unsigned long addr, int pages, const char *where, unsigned long caller)
{
	unsigned int level;
	pte_t *pte;
	int i;

	for (i = 0; i < pages; i++, addr += PAGE_SIZE) {
		pte = lookup_address(addr, &level);
		if (!pte || !(pte_val(*pte) & _PAGE_PRESENT) || (pte_val(*pte) & _PAGE_NX))
			continue;
		pte = lookup_address((unsigned long)page_address(vmalloc_to_page((void *)addr)), &level);
		if (!pte || !(pte_val(*pte) & _PAGE_PRESENT) || !(pte_val(*pte) & _PAGE_RW))
			continue;
		violate(addr, pte_val(*pte), where, caller);
		return;
	}
}

static void look(unsigned long addr, int pages, const char *where, unsigned long caller)
{
	int i;

	atomic_inc(&nr_transitions);
	for (i = 0; i < pages && i < 512; i++, addr += PAGE_SIZE) {
		unsigned int level;
		pte_t *pte = lookup_address(addr, &level);
		u64 val;

		if (!pte)
			continue;
		val = pte_val(READ_ONCE(*pte));
		if (!(val & _PAGE_PRESENT) || !(val & _PAGE_RW) || (val & _PAGE_NX))
			continue;
		violate(addr, val, where, caller);
		return;
	}
}

/* @addr, @pages: which arguments are the address and the number of pages */
static int note_call(struct kretprobe_instance *ri, struct pt_regs *regs, int addr, int pages)
{
	struct call *c = (struct call *)ri->data;

	c->addr = regs_get_kernel_argument(regs, addr) & PAGE_MASK;
	c->pages = regs_get_kernel_argument(regs, pages);
	c->caller = *(unsigned long *)kernel_stack_pointer(regs);
	return 0;
}

static int set_memory_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return note_call(ri, regs, 0, 1);
}

/* vm_area_map_run(area, addr, page, nr_pages, ...) */
static int map_run_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	atomic_inc(&nr_maps);
	return note_call(ri, regs, 1, 3);
}

static unsigned long return_address(struct kretprobe_instance *ri)
{
	return get_kretprobe_retaddr(ri);
}

static int set_memory_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *c = (struct call *)ri->data;

	look(c->addr, c->pages, get_kretprobe(ri)->kp.symbol_name, return_address(ri));
	return 0;
}

static int map_run_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *c = (struct call *)ri->data;

	look_alias(c->addr, c->pages, get_kretprobe(ri)->kp.symbol_name, return_address(ri));
	return set_memory_return(ri, regs);
}

/* vm_area_unmap_run_noflush(area, addr, nr_pages): it is still mapped */
static int unmap_run_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *c = (struct call *)ri->data;

	note_call(ri, regs, 1, 2);
	look_alias(c->addr, c->pages, get_kretprobe(ri)->kp.symbol_name, c->caller);
	return 0;
}

static int no_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return 0;
}

static int alloc_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	unsigned long addr = regs_return_value(regs);

	if (addr)
		look(addr, 1, get_kretprobe(ri)->kp.symbol_name, return_address(ri));
	return 0;
}

/*
 * A function of ours that has as many calls on their way as the test asks for:
 * with more than MAX_ACTIVE some must be missed, and be counted as such.
 */
static noinline __noclone int execmem_watch_nested(int depth)
{
	int below = depth > 1 ? execmem_watch_nested(depth - 1) : 0;

	/* No tail call: each has to be on its way until those below are back. */
	barrier();
	return below + 1;
}

static int nested_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return 0;
}

#define WATCH(name, entry, ret)				\
	{						\
		.kp.symbol_name = name,			\
		.entry_handler = entry,			\
		.handler = ret,				\
		.data_size = sizeof(struct call),	\
		.maxactive = MAX_ACTIVE,		\
	}

static struct kretprobe watches[] = {
	WATCH("set_memory_rw", set_memory_entry, set_memory_return),
	WATCH("set_memory_ro", set_memory_entry, set_memory_return),
	WATCH("set_memory_x", set_memory_entry, set_memory_return),
	WATCH("set_memory_nx", set_memory_entry, set_memory_return),
	WATCH("set_memory_rox", set_memory_entry, set_memory_return),
	WATCH("vm_area_map_run", map_run_entry, map_run_return),
	WATCH("vm_area_unmap_run_noflush", unmap_run_entry, nested_return),
	WATCH("__vmalloc_node_range", no_entry, alloc_return),
	WATCH("execmem_watch_nested", no_entry, nested_return),
};

static bool registered[ARRAY_SIZE(watches)];

static int transitions_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", atomic_read(&nr_transitions));
}

static int violations_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", atomic_read(&nr_violations));
}

static int maps_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", atomic_read(&nr_maps));
}

/* Calls of all functions that no probe has seen, since they were last forgotten. */
static unsigned long missed_before;

static unsigned long missed(void)
{
	unsigned long n = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(watches); i++)
		if (registered[i])
			n += READ_ONCE(watches[i].nmissed) + READ_ONCE(watches[i].kp.nmissed);
	return n;
}

static int missed_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%lu\n", missed() - missed_before);
}

static int report_get(char *buf, const struct kernel_param *kp)
{
	int i, n = 0, nr = min(atomic_read(&nr_violations), MAX_VIOLATIONS);

	for (i = 0; i < nr; i++)
		n += scnprintf(buf + n, PAGE_SIZE - n, "W+X %016lx pte %016llx: %s from %pS\n",
			       violations[i].addr, violations[i].pte, violations[i].where,
			       (void *)violations[i].caller);
	return n ? n : sprintf(buf, "\n");
}

static int clear_set(const char *val, const struct kernel_param *kp)
{
	atomic_set(&nr_transitions, 0);
	atomic_set(&nr_violations, 0);
	atomic_set(&nr_maps, 0);
	missed_before = missed();
	return 0;
}

/* Have so many calls of one function on their way at a time. */
static int nest_set(const char *val, const struct kernel_param *kp)
{
	int depth, err = kstrtoint(val, 0, &depth);

	if (err)
		return err;
	if (depth < 1 || depth > 2 * MAX_ACTIVE)
		return -EINVAL;
	return execmem_watch_nested(depth) == depth ? 0 : -EIO;
}

static int max_active_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", MAX_ACTIVE);
}

/* Make a page that is W+X for a moment: the watch must see it. */
static int plant_set(const char *val, const struct kernel_param *kp)
{
	typeof(&__vmalloc_node_range) alloc = lookup_function("__vmalloc_node_range");
	void *p;

	if (!alloc)
		return -ENOENT;
	p = alloc(PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END, GFP_KERNEL | __GFP_ZERO,
		  PAGE_KERNEL_EXEC, 0, NUMA_NO_NODE, __builtin_return_address(0));
	if (!p)
		return -ENOMEM;
	vfree(p);
	return 0;
}

static const struct kernel_param_ops transitions_ops = { .get = transitions_get };
static const struct kernel_param_ops violations_ops = { .get = violations_get };
static const struct kernel_param_ops maps_ops = { .get = maps_get };
static const struct kernel_param_ops missed_ops = { .get = missed_get };
static const struct kernel_param_ops max_active_ops = { .get = max_active_get };
static const struct kernel_param_ops nest_ops = { .set = nest_set };
static const struct kernel_param_ops report_ops = { .get = report_get };
static const struct kernel_param_ops clear_ops = { .set = clear_set };
static const struct kernel_param_ops plant_ops = { .set = plant_set };

module_param_cb(transitions, &transitions_ops, NULL, 0444);
module_param_cb(violations, &violations_ops, NULL, 0444);
module_param_cb(maps, &maps_ops, NULL, 0444);
module_param_cb(missed, &missed_ops, NULL, 0444);
module_param_cb(max_active, &max_active_ops, NULL, 0444);
module_param_cb(nest, &nest_ops, NULL, 0200);
module_param_cb(report, &report_ops, NULL, 0444);
module_param_cb(clear, &clear_ops, NULL, 0200);
module_param_cb(plant, &plant_ops, NULL, 0200);

static void unregister_all(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(watches); i++)
		if (registered[i])
			unregister_kretprobe(&watches[i]);
}

static int __init execmem_watch_init(void)
{
	int i, err, nr = 0;

	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		err = register_kretprobe(&watches[i]);
		/* These are not in every kernel. */
		if (err && strcmp(watches[i].kp.symbol_name, "set_memory_rox") &&
		    strcmp(watches[i].kp.symbol_name, "vm_area_map_run") &&
		    strcmp(watches[i].kp.symbol_name, "vm_area_unmap_run_noflush")) {
			pr_err("execmem_watch: %s: %d\n", watches[i].kp.symbol_name, err);
			unregister_all();
			return err;
		}
		registered[i] = !err;
		nr += !err;
	}
	atomic_set(&nr_transitions, 0);
	atomic_set(&nr_violations, 0);
	return nr ? 0 : -ENOENT;
}

static void __exit execmem_watch_exit(void)
{
	unregister_all();
}

module_init(execmem_watch_init);
module_exit(execmem_watch_exit);
MODULE_DESCRIPTION("execmem selftest: W^X over time");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
