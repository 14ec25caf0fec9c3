// SPDX-License-Identifier: GPL-2.0
/*
 * Text comes and goes at the same places as fast as it can: on one CPU it is
 * allocated, written, published and freed, on another one it is run as soon as it
 * is published. Nothing on the way makes that one serialize.
 *
 *   run       write SECONDS: for so long. Read: "reuse: N pieces N reused N untrapped
 *             N wrong N early N mixed"
 *
 * untrapped: bytes of a new piece were no traps. wrong: a function returned another
 * value than was written. early: a place was handed out again before a grace period
 * had ended that began after it was freed, as RCU itself says. mixed: a BPF piece got
 * the place of another kind, or the other way round.
 */
#include <linux/execmem.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "lookup.h"

static typeof(&execmem_text_alloc) text_alloc;
static typeof(&jit_text_alloc) jit_alloc;
static typeof(&execmem_write) text_write;
static typeof(&execmem_finish) text_finish;
static typeof(&execmem_free) text_free;

static atomic_t pieces, reused, untrapped, wrong, early, mixed;

/* What was freed where, and when. */
struct place {
	unsigned long addr;
	unsigned long grace_period;
	bool bpf;
};

enum { NR_PLACES = 1 << 16, SIZE = 128, GRANULE = 64 };
static struct place places[NR_PLACES];
static DEFINE_SPINLOCK(places_lock);

static struct place *place_of(unsigned long addr)
{
	return &places[addr / GRANULE % NR_PLACES];
}

static void look_at_places(unsigned long addr, bool bpf)
{
	unsigned long end = addr + SIZE;

	spin_lock(&places_lock);
	for (; addr < end; addr += GRANULE) {
		struct place *p = place_of(addr);

		if (p->addr != addr)
			continue;
		atomic_inc(&reused);
		if (!poll_state_synchronize_rcu(p->grace_period))
			atomic_inc(&early);
		if (p->bpf != bpf)
			atomic_inc(&mixed);
	}
	spin_unlock(&places_lock);
}

static void note_places(unsigned long addr, bool bpf)
{
	unsigned long end = addr + SIZE, gp = get_state_synchronize_rcu();

	spin_lock(&places_lock);
	for (; addr < end; addr += GRANULE)
		*place_of(addr) = (struct place) { addr, gp, bpf };
	spin_unlock(&places_lock);
}

/* From the one who makes functions to the one who runs them, and back. */
struct exchange {
	int (*function)(void);
	u32 value;
	bool ran;
};

static struct exchange exchanges[2];

static int runner(void *data)
{
	struct exchange *e = data;

	while (!kthread_should_stop()) {
		int (*f)(void) = NULL;

		/* In this order: what was freed was taken away before @ran is false again. */
		if (!smp_load_acquire(&e->ran))
			f = smp_load_acquire(&e->function);
		if (!f) {
			cond_resched();
			continue;
		}
		if (f() != READ_ONCE(e->value))
			atomic_inc(&wrong);
		smp_store_release(&e->ran, true);
	}
	return 0;
}

static int maker(void *data)
{
	static const u8 begin[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0xb8 };	/* endbr64; mov $value, %eax */
	struct exchange *e = data;
	bool bpf = e != exchanges;
	u8 code[SIZE];
	u32 value = 0;

	while (!kthread_should_stop()) {
		void *p = bpf ? jit_alloc(EXECMEM_BPF, SIZE) : text_alloc(EXECMEM_FTRACE, SIZE);

		if (!p) {
			cond_resched();
			continue;
		}
		look_at_places((unsigned long)p, bpf);
		if (memchr_inv(p, 0xcc, SIZE))
			atomic_inc(&untrapped);

		value = value * 1103515245 + 12345;
		memset(code, 0xc3, SIZE);				/* ret */
		memcpy(code, begin, sizeof(begin));
		memcpy(code + sizeof(begin), &value, sizeof(value));
		if (text_write(p, code, SIZE) || text_finish(p))
			atomic_inc(&wrong);

		WRITE_ONCE(e->value, value);
		smp_store_release(&e->ran, false);
		smp_store_release(&e->function, p);
		while (!smp_load_acquire(&e->ran) && !kthread_should_stop())
			cond_resched();
		/* Who runs it has returned, or has not begun and will not. */
		if (READ_ONCE(e->ran)) {
			WRITE_ONCE(e->function, NULL);
			note_places((unsigned long)p, bpf);
			text_free(p);
			atomic_inc(&pieces);
		}
	}
	return 0;
}

static int run_set(const char *val, const struct kernel_param *kp)
{
	struct task_struct *threads[4] = { };
	unsigned int seconds, i, cpu = cpumask_first(cpu_online_mask);
	int err = kstrtouint(val, 0, &seconds);

	if (err)
		return err;
	if (num_online_cpus() < 2)
		return -ENXIO;
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		/* Makers first on each CPU, and who runs what they make on the other. */
		threads[i] = kthread_create(i < 2 ? maker : runner, &exchanges[i % 2], "execmem_reuse/%u", i);
		if (IS_ERR(threads[i])) {
			err = PTR_ERR(threads[i]);
			threads[i] = NULL;
			break;
		}
		kthread_bind(threads[i], i == 0 || i == 3 ? cpu : cpumask_next(cpu, cpu_online_mask));
	}
	for (i = 0; i < ARRAY_SIZE(threads) && !err; i++)
		wake_up_process(threads[i]);
	if (!err)
		schedule_timeout_interruptible(seconds * HZ);
	/* Makers last: they wait for the others. */
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (threads[i])
			kthread_stop(threads[i]);
	for (i = 0; i < ARRAY_SIZE(exchanges); i++) {
		void *p = exchanges[i].function;

		exchanges[i].function = NULL;
		if (p)
			text_free(p);
	}
	return err;
}

static int run_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "reuse: %d pieces %d reused %d untrapped %d wrong %d early %d mixed\n",
		       atomic_read(&pieces), atomic_read(&reused), atomic_read(&untrapped),
		       atomic_read(&wrong), atomic_read(&early), atomic_read(&mixed));
}

static const struct kernel_param_ops run_ops = { .set = run_set, .get = run_get };
module_param_cb(run, &run_ops, NULL, 0600);

static int __init execmem_reuse_init(void)
{
	text_alloc = lookup_function("execmem_text_alloc");
	jit_alloc = lookup_function("jit_text_alloc");
	text_write = lookup_function("execmem_write");
	text_finish = lookup_function("execmem_finish");
	text_free = lookup_function("execmem_free");

	return text_alloc && jit_alloc && text_write && text_finish && text_free ? 0 : -ENOENT;
}

static void __exit execmem_reuse_exit(void)
{
}

module_init(execmem_reuse_init);
module_exit(execmem_reuse_exit);
MODULE_DESCRIPTION("execmem selftest: text at places that were used before");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
