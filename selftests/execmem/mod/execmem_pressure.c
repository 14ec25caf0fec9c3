// SPDX-License-Identifier: GPL-2.0
/*
 * What executable memory costs others when they are in its way, or memory is
 * short. Nothing is asked of execmem: probes count what it does.
 *
 *   hold      write 1: a thread takes text_mutex and keeps it until 0 is written
 *   holds     write: forget; read: "longest hold: N pieces N bytes N us", the
 *             most that was filled with traps between two mutex_unlock() of
 *             text_mutex, each a maximum of its own, "all: N pieces N bytes", and
 *             "written: N bytes", the most that was written between them
 *   free_large  read: free text of 4 MB, wait until its pages are gone
 *   free_small  read: free text of 64 kB whose chunk stays
 *   grow      read: what it takes to allocate text that needs a new chunk
 *   scattered read: the same where no two pages are neighbours, and what it
 *             takes to give that back
 *   short     read: what small pieces take when no chunk can be had
 *   locked    read: the same with text_mutex held
 *   waits     read: how long a new chunk takes with text_mutex held while another
 *             waits for memory for his; the reader is on CPU 0, and CPU 1 is there
 *   missed    read: how often one of the probes could not be taken
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/execmem.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "just_return.h"
#include "lookup.h"

static typeof(&execmem_text_alloc) text_alloc, text_alloc_locked;
static typeof(&execmem_free) text_free;
static typeof(&find_vm_area) find_area;
static struct mutex *text_lock;

/* ------------------------------------------------------------ holds */

/* Of the hold that goes on, written by who holds text_mutex; the longest; all. */
static unsigned long pieces, bytes, most_pieces, most_bytes, all_pieces, all_bytes;
static u64 since, most_ns;
/* Written in the hold that goes on, and the most. */
static unsigned long written, most_written;

static int on_fill(struct kprobe *p, struct pt_regs *regs)
{
	/* execmem_text_poke(dst, src, len): traps if there is no src */
	if (regs_get_kernel_argument(regs, 1)) {
		written += regs_get_kernel_argument(regs, 2);
		return 0;
	}
	if (!pieces)
		since = ktime_get_ns();
	pieces++;
	bytes += regs_get_kernel_argument(regs, 2);
	return 0;
}

static int on_unlock(struct kprobe *p, struct pt_regs *regs)
{
	if (regs_get_kernel_argument(regs, 0) != (unsigned long)text_lock)
		return 0;
	most_written = max(most_written, written);
	written = 0;
	if (!pieces)
		return 0;
	most_pieces = max(most_pieces, pieces);
	most_bytes = max(most_bytes, bytes);
	most_ns = max(most_ns, ktime_get_ns() - since);
	all_pieces += pieces;
	all_bytes += bytes;
	pieces = 0;
	bytes = 0;
	return 0;
}

static int holds_get(char *buf, const struct kernel_param *kp)
{
	int n;

	mutex_lock(text_lock);
	n = sprintf(buf, "longest hold: %lu pieces %lu bytes %llu us\nall: %lu pieces %lu bytes\nwritten: %lu bytes\n",
		    most_pieces, most_bytes, most_ns / 1000, all_pieces, all_bytes, most_written);
	mutex_unlock(text_lock);
	return n;
}

static int holds_set(const char *val, const struct kernel_param *kp)
{
	mutex_lock(text_lock);
	most_pieces = 0;
	most_bytes = 0;
	most_ns = 0;
	most_written = 0;
	all_pieces = 0;
	all_bytes = 0;
	mutex_unlock(text_lock);
	return 0;
}

static struct task_struct *holder;
static DECLARE_COMPLETION(held);

static int hold_thread(void *unused)
{
	mutex_lock(text_lock);
	complete(&held);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 100);
	mutex_unlock(text_lock);
	return 0;
}

static void let_go(void)
{
	if (holder)
		kthread_stop(holder);
	holder = NULL;
}

static int hold_set(const char *val, const struct kernel_param *kp)
{
	let_go();
	if (*val != '1')
		return 0;
	reinit_completion(&held);
	holder = kthread_run(hold_thread, NULL, "execmem_hold");
	if (IS_ERR(holder)) {
		int err = PTR_ERR(holder);

		holder = NULL;
		return err;
	}
	wait_for_completion(&held);
	return 0;
}

/* ------------------------------------------------------------ costs */

/* Who is counted: all if NULL. */
static struct task_struct *counted;
static bool counting;
static atomic_t broadcasts, aliases, maps, requests, reclaims;

static bool counts(void)
{
	return READ_ONCE(counting) && (!counted || counted == current);
}

static int on_broadcast(struct kprobe *p, struct pt_regs *regs)
{
	if (counts())
		atomic_inc(&broadcasts);
	return 0;
}

static int on_aliases(struct kprobe *p, struct pt_regs *regs)
{
	if (counts())
		atomic_inc(&aliases);
	return 0;
}

static int on_map(struct kprobe *p, struct pt_regs *regs)
{
	if (counts())
		atomic_inc(&maps);
	return 0;
}

/* Pages of this order and below can be had, so many for each chunk. */
static int largest_order = MAX_ORDER, can_be_had;
static atomic_t had;

/* Who may wait for memory does wait, once, for the other, but no longer than that. */
enum { STALL_MS = 20000 };
static bool stall, stalled, no_interrupts;
static unsigned int stalled_ms;
static DECLARE_COMPLETION(stalls);
static u64 locked_end;

static void stall_here(void)
{
	WRITE_ONCE(stall, false);
	stalled = true;
	/* Then whoever interrupts all CPUs would wait, for that reason alone. */
	no_interrupts = irqs_disabled();
	complete(&stalls);
	for (stalled_ms = 0; stalled_ms < STALL_MS && !no_interrupts && !READ_ONCE(locked_end); stalled_ms++)
		mdelay(1);
}

/* __alloc_pages(gfp, order, ...) */
static int on_alloc(struct kprobe *p, struct pt_regs *regs)
{
	gfp_t gfp = regs_get_kernel_argument(regs, 0);
	unsigned int order = regs_get_kernel_argument(regs, 1);

	/* What a chunk is made of: for nobody else all of this is true. */
	if (!counts() || counted != current ||
	    (gfp & (__GFP_NORETRY | __GFP_NOWARN | __GFP_COMP | __GFP_ZERO)) !=
	    (__GFP_NORETRY | __GFP_NOWARN))
		return 0;

	atomic_inc(&requests);
	if (order && (gfp & __GFP_DIRECT_RECLAIM))
		atomic_inc(&reclaims);
	if (READ_ONCE(stall) && (gfp & __GFP_DIRECT_RECLAIM))
		stall_here();
	if (order == PMD_SHIFT - PAGE_SHIFT)
		atomic_set(&had, 0);
	if ((int)order <= largest_order && atomic_add_return(1 << order, &had) <= can_be_had)
		return 0;
	just_return(regs, 0);
	return 1;
}

static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probes[] = {
	{ .symbol_name = "execmem_text_poke", .pre_handler = on_fill },
	{ .symbol_name = "mutex_unlock", .pre_handler = on_unlock },
	{ .symbol_name = "on_each_cpu_cond_mask", .pre_handler = on_broadcast },
	{ .symbol_name = "vm_unmap_aliases", .pre_handler = on_aliases },
	{ .symbol_name = "vm_area_map_run", .pre_handler = on_map },
	{ .symbol_name = "__alloc_pages", .pre_handler = on_alloc, .post_handler = after },
};

static void count(struct task_struct *who, int order, int pages)
{
	counted = who;
	largest_order = order;
	can_be_had = pages;
	atomic_set(&had, 0);
	atomic_set(&broadcasts, 0);
	atomic_set(&aliases, 0);
	atomic_set(&maps, 0);
	atomic_set(&requests, 0);
	atomic_set(&reclaims, 0);
	WRITE_ONCE(counting, true);
}

static int counted_so_far(char *buf, const char *what, int nr)
{
	WRITE_ONCE(counting, false);
	return sprintf(buf, "%s: %d pieces %d broadcasts %d aliases %d maps %d requests %d reclaims\n", what,
		       nr, atomic_read(&broadcasts), atomic_read(&aliases), atomic_read(&maps),
		       atomic_read(&requests), atomic_read(&reclaims));
}

/* Pieces that are taken, to be freed at the end. */
static void *taken[4096];
static int nr_taken;

static void *take(size_t size)
{
	void *p = nr_taken < ARRAY_SIZE(taken) ? text_alloc(EXECMEM_KPROBES, size) : NULL;

	if (p)
		taken[nr_taken++] = p;
	return p;
}

static void give_all(void)
{
	while (nr_taken)
		text_free(taken[--nr_taken]);
}

static bool has_pages_of_its_own(void *p)
{
	struct vm_struct *area = find_area(p);

	return area && area->addr == p && area->nr_pages && !(area->flags & VM_NO_GUARD);
}

#define CHUNK	PMD_SIZE

/* A moment in which what failed before is tried again. */
static void forget_failures(void)
{
	msleep(1500);
}

/* Idle chunks stay for a while: take them, until one has to be made. */
static bool use_up_idle(void)
{
	int i;

	for (i = 0; i < 64; i++) {
		void *p;

		count(current, MAX_ORDER, INT_MAX);
		p = take(CHUNK);
		WRITE_ONCE(counting, false);
		if (!p)
			return false;
		if (atomic_read(&maps))
			return true;
	}
	return false;
}

static int grow_get(char *buf, const struct kernel_param *kp)
{
	enum { NR = 4 };
	int i, n;

	forget_failures();
	if (!use_up_idle())
		goto err;
	count(current, MAX_ORDER, INT_MAX);
	for (i = 0; i < NR; i++)
		if (!take(CHUNK))
			goto err;
	n = counted_so_far(buf, "grow", NR);
	give_all();
	return n;
err:
	counting = false;
	give_all();
	return -ENOMEM;
}

static int scattered_get(char *buf, const struct kernel_param *kp)
{
	void *p;
	int i, n;

	forget_failures();
	if (!use_up_idle())
		goto err;
	count(current, 0, INT_MAX);
	p = take(CHUNK);
	if (!p)
		goto err;
	n = counted_so_far(buf, "taken", 1);

	/* One idle chunk stays. Of two this one goes, by a worker or by whoever is first. */
	nr_taken--;
	text_free(taken[--nr_taken]);
	count(NULL, MAX_ORDER, INT_MAX);
	text_free(p);
	for (i = 0; i < 500 && vmalloc_to_page(p); i++)
		msleep(20);
	n += counted_so_far(buf + n, "back", !vmalloc_to_page(p));
	give_all();
	return n;
err:
	counting = false;
	give_all();
	return -ENOMEM;
}

/* No room in the pool for a page, nor memory for another chunk. */
static int squeeze(void)
{
	size_t size = CHUNK;

	while (size >= PAGE_SIZE) {
		void *p = take(size);

		if (!p)
			return -ENOMEM;
		if (has_pages_of_its_own(p))
			size /= 2;
	}
	return 0;
}

static int do_short(char *buf, const char *what, bool hold)
{
	enum { NR = 50 };
	int i, n, own = 0, err;
	static void *p[NR];

	/* No two pages are neighbours, and two in five are missing. */
	count(current, 0, 300);
	err = squeeze();
	if (err) {
		counting = false;
		give_all();
		return err;
	}

	counting = false;
	forget_failures();
	if (hold)
		mutex_lock(text_lock);
	count(current, 0, 300);
	for (i = 0; i < NR; i++) {
		p[i] = hold ? text_alloc_locked(EXECMEM_KPROBES, PAGE_SIZE) :
			      text_alloc(EXECMEM_KPROBES, PAGE_SIZE);
		own += p[i] && has_pages_of_its_own(p[i]);
	}
	n = counted_so_far(buf, what, own);
	for (i = 0; i < NR; i++)
		text_free(p[i]);
	if (hold)
		mutex_unlock(text_lock);
	give_all();
	return n;
}

static int short_get(char *buf, const struct kernel_param *kp)
{
	return do_short(buf, "short", false);
}

static int locked_get(char *buf, const struct kernel_param *kp)
{
	return do_short(buf, "locked", true);
}

/* Takes a chunk with text_mutex held while the other waits for memory. */
static int locked_thread(void *unused)
{
	int nr_chunks;
	void *p;

	wait_for_completion(&stalls);
	mutex_lock(text_lock);
	p = text_alloc_locked(EXECMEM_KPROBES, CHUNK);
	WRITE_ONCE(locked_end, ktime_get_ns());
	nr_chunks = p && !has_pages_of_its_own(p);
	if (p)
		text_free(p);
	mutex_unlock(text_lock);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 100);
	return nr_chunks;
}

static int waits_get(char *buf, const struct kernel_param *kp)
{
	struct task_struct *thread;
	int err = -ENOMEM, nr_chunks;

	forget_failures();
	if (raw_smp_processor_id() != 0 || !cpu_online(1))
		return -ENXIO;
	/* No room is left, but for what others need meanwhile. */
	if (!use_up_idle())
		goto out;
	reinit_completion(&stalls);
	locked_end = 0;
	stalled = false;
	thread = kthread_create(locked_thread, NULL, "execmem_locked");
	if (IS_ERR(thread)) {
		err = PTR_ERR(thread);
		goto out;
	}
	kthread_bind(thread, 1);
	wake_up_process(thread);

	WRITE_ONCE(stall, true);
	count(current, MAX_ORDER, INT_MAX);
	err = take(CHUNK) ? 0 : -ENOMEM;
	WRITE_ONCE(counting, false);
	if (!stalled) {
		/* Nobody has waited for anything: let the thread go. */
		WRITE_ONCE(stall, false);
		complete(&stalls);
		err = -EIO;
	}
	nr_chunks = kthread_stop(thread);
	if (!err)
		err = no_interrupts ? sprintf(buf, "waits: interrupts are off\n") :
			sprintf(buf, "waits: %d chunks %d before %u waited\n", nr_chunks,
				stalled_ms < STALL_MS, stalled_ms);
out:
	give_all();
	return err;
}

static int missed_get(char *buf, const struct kernel_param *kp)
{
	unsigned long n = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		n += probes[i].nmissed;
	return sprintf(buf, "%lu\n", n);
}

/* A piece that is freed beside others, which keep their chunk. */
static int free_small_get(char *buf, const struct kernel_param *kp)
{
	unsigned long before;
	void *p, *stays;
	int i;

	p = text_alloc(EXECMEM_KPROBES, SZ_64K);
	stays = text_alloc(EXECMEM_KPROBES, SZ_64K);
	if (!p || !stays) {
		text_free(p);
		text_free(stays);
		return -ENOMEM;
	}
	before = all_bytes;
	text_free(p);
	for (i = 0; i < 500 && all_bytes - before < SZ_64K; i++)
		msleep(20);
	text_free(stays);
	return sprintf(buf, "free_small: %d freed %lu filled\n", SZ_64K, all_bytes - before);
}

/* A chunk of several slots, which goes as soon as nothing lives in it. */
static int free_large_get(char *buf, const struct kernel_param *kp)
{
	unsigned long before;
	void *p;
	int i;

	forget_failures();
	p = text_alloc(EXECMEM_KPROBES, 2 * CHUNK);
	if (!p)
		return -ENOMEM;
	before = all_bytes;
	text_free(p);
	for (i = 0; i < 500 && vmalloc_to_page(p); i++)
		msleep(20);
	return sprintf(buf, "free_large: %lu filled %d gone\n", all_bytes - before, !vmalloc_to_page(p));
}

#define READ_PARAM(name)						\
	static const struct kernel_param_ops name##_ops = { .get = name##_get };	\
	module_param_cb(name, &name##_ops, NULL, 0400)

static const struct kernel_param_ops hold_ops = { .set = hold_set };
static const struct kernel_param_ops holds_ops = { .set = holds_set, .get = holds_get };

module_param_cb(hold, &hold_ops, NULL, 0200);
module_param_cb(holds, &holds_ops, NULL, 0600);
READ_PARAM(grow);
READ_PARAM(scattered);
READ_PARAM(short);
READ_PARAM(locked);
READ_PARAM(free_large);
READ_PARAM(free_small);
READ_PARAM(waits);
READ_PARAM(missed);

static int __init execmem_pressure_init(void)
{
	unsigned long (*lookup_name)(const char *name) = lookup_function("kallsyms_lookup_name");
	int i, err;

	text_alloc = lookup_function("execmem_text_alloc");
	text_free = lookup_function("execmem_free");
	find_area = lookup_function("find_vm_area");
	if (!lookup_name || !text_alloc || !text_free || !find_area)
		return -ENOENT;
	text_lock = (struct mutex *)lookup_name("text_mutex");
	if (!text_lock)
		return -ENOENT;
	/* Before it was there, the other could be called with text_mutex held. */
	text_alloc_locked = lookup_function("execmem_text_alloc_locked") ?: (void *)text_alloc;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = register_kprobe(&probes[i]);
		if (err) {
			pr_err("execmem_pressure: %s: %d\n", probes[i].symbol_name, err);
			while (i--)
				unregister_kprobe(&probes[i]);
			return err;
		}
	}
	return 0;
}

static void __exit execmem_pressure_exit(void)
{
	int i;

	let_go();
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		unregister_kprobe(&probes[i]);
}

module_init(execmem_pressure_init);
module_exit(execmem_pressure_exit);
MODULE_DESCRIPTION("execmem selftest: what others pay");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
