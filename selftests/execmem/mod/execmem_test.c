// SPDX-License-Identifier: GPL-2.0
/*
 * A module with a bit of everything a module can hold: relocations of every
 * kind, init sections, percpu data, exception and bug tables, static keys,
 * static calls, alternatives, tracepoints.  Each result is a read-only module
 * parameter: 1 right, 0 wrong, -1 not applicable here.
 *
 * execmem_target() is what kprobes, ftrace and livepatch tests hook.
 */
#include <linux/bug.h>
#include <linux/jump_label.h>
#include <linux/kasan.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/static_call.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#ifdef CONFIG_X86
#include <asm/alternative.h>
#include <asm/cpufeature.h>
#endif

#include "lookup.h"
#include "execmem_test.h"

#define RESULT(name) \
	static int name = -1; \
	module_param(name, int, 0444)

RESULT(reloc_pcrel);
RESULT(reloc_abs);
RESULT(reloc_data);
RESULT(reloc_rodata);
RESULT(reloc_init);
RESULT(reloc_percpu);
RESULT(string_constant);
RESULT(ro_after_init_value);
RESULT(exception_table);
RESULT(bug_table);
RESULT(alternatives);
RESULT(given_param);
RESULT(kasan_redzone);

static int fail_init;
module_param(fail_init, int, 0444);
MODULE_PARM_DESC(fail_init, "let init fail with this errno");

static int given = 1;
module_param(given, int, 0444);

/* ------------------------------------------------------- what is relocated */

int execmem_data_word = 0x1234;
const int execmem_rodata_word = 0x4321;
static int execmem_bss_word;
int execmem_roai_word __ro_after_init;
static int init_word __initdata = 77;
static DEFINE_PER_CPU(int, percpu_word);

static noinline int add_one(int a)
{
	barrier();
	return a + 1;
}

static noinline int add_two(int a)
{
	barrier();
	return a + 2;
}

typedef int (*fn_t)(int);

/* Absolute addresses in data and in rodata, of text, data and the image. */
static fn_t data_table[] = { add_one, add_two };
static const fn_t rodata_table[] = { add_two, add_one };
static int *data_pointers[] = { &execmem_data_word, &execmem_bss_word };
static const int * const rodata_pointers[] = { &execmem_rodata_word, &execmem_data_word };
static typeof(&sprintf) image_pointer = sprintf;

int execmem_target(int a)
{
	/* Room for a jump-optimised kprobe: plain instructions, no branches. */
#ifdef CONFIG_S390
	asm volatile(".rept 8\n nopr\n .endr\n");
#else
	asm volatile(".rept 8\n nop\n .endr\n");
#endif
	return a * 3 + 1;
}
EXPORT_SYMBOL_GPL(execmem_target);

/* A second one that nothing but the test of neighbours looks at. */
noinline int execmem_other(int a)
{
	barrier();
	return a * 5 + 2;
}

int execmem_test_exported(int a)
{
	return add_one(a) + execmem_data_word;
}
EXPORT_SYMBOL_GPL(execmem_test_exported);

static void __init check_relocations(void)
{
	char buf[16];
	int cpu, sum = 0;

#ifdef CONFIG_X86_64
	unsigned long pc32, abs32s, abs64;

	asm("leaq execmem_data_word(%%rip), %0" : "=r" (pc32));
	asm("movq $execmem_data_word, %0" : "=r" (abs32s));
	asm("movabsq $execmem_data_word, %0" : "=r" (abs64));
	reloc_pcrel = pc32 == (unsigned long)data_pointers[0];
	reloc_abs = abs32s == pc32 && abs64 == pc32;
#else
	reloc_pcrel = &execmem_data_word == data_pointers[0];
	reloc_abs = -1;
#endif
	reloc_data = data_table[0](1) == 2 && data_table[1](1) == 3 &&
		*data_pointers[0] == 0x1234 && *data_pointers[1] == 0 &&
		image_pointer(buf, "%d", 42) == 2 && buf[0] == '4' && buf[1] == '2';
	reloc_rodata = rodata_table[0](1) == 3 && rodata_table[1](1) == 2 &&
		*rodata_pointers[0] == 0x4321 && *rodata_pointers[1] == 0x1234;
	reloc_init = init_word == 77;

	for_each_possible_cpu(cpu)
		*per_cpu_ptr(&percpu_word, cpu) = 5;
	this_cpu_inc(percpu_word);
	for_each_possible_cpu(cpu)
		sum += *per_cpu_ptr(&percpu_word, cpu);
	reloc_percpu = sum == 5 * num_possible_cpus() + 1;

	string_constant = !strcmp("execmem_test", KBUILD_MODNAME);
	execmem_roai_word = 99;
	ro_after_init_value = execmem_roai_word == 99;
}

/* A fault in this module's text, with an entry of this module's table. */
static noinline int fault_in_module(const void *where)
{
	int v = 0;

	pagefault_disable();
	__get_kernel_nofault(&v, where, int, fault);
	pagefault_enable();
	return v ? v : 1;
fault:
	pagefault_enable();
	return -EFAULT;
}

static void __init check_exception_table(void)
{
	void *p = vmalloc(PAGE_SIZE);

	if (!p)
		return;
	/* The guard page behind an area is never mapped. */
	exception_table = fault_in_module(p + PAGE_SIZE) == -EFAULT;
	*(int *)p = 6;
	exception_table &= fault_in_module(p) == 6;
	vfree(p);
}

static int volatile never;

static noinline void warn_somewhere(void)
{
	WARN_ON(never);
}

static void check_bug_table(void)
{
#ifdef CONFIG_GENERIC_BUG
	struct bug_entry *(*find)(unsigned long addr) = lookup_function("find_bug");
	unsigned int i;

	warn_somewhere();
	if (!find)
		return;
	bug_table = THIS_MODULE->num_bugs > 0;
	for (i = 0; i < THIS_MODULE->num_bugs; i++) {
		struct bug_entry *bug = &THIS_MODULE->bug_table[i];
#ifdef CONFIG_GENERIC_BUG_RELATIVE_POINTERS
		unsigned long addr = (unsigned long)&bug->bug_addr_disp + bug->bug_addr_disp;
#else
		unsigned long addr = bug->bug_addr;
#endif
		/* Inside our text, and the kernel finds the entry by it. */
		if (!within_module(addr, THIS_MODULE) || find(addr) != bug)
			bug_table = 0;
	}
#endif
}

static void check_alternatives(void)
{
#ifdef CONFIG_X86
	int v;

	asm volatile(ALTERNATIVE("movl $1, %0", "movl $2, %0", X86_FEATURE_ALWAYS)
		     : "=r" (v));
	alternatives = v == 2;
#endif
}

static void check_kasan(void)
{
#ifdef CONFIG_KASAN_GENERIC
	/* The shadow of a global: usable, and a redzone behind it. */
	static char kasan_bytes[13];
	const s8 *shadow = kasan_mem_to_shadow(kasan_bytes);
	int (*volatile text)(int) = add_one;

	OPTIMIZER_HIDE_VAR(shadow);
	kasan_redzone = kasan_bytes[12] == 0 && shadow[0] == 0 && shadow[1] == 5 &&
		(u8)shadow[2] == 0xf9 && *(s8 *)kasan_mem_to_shadow(text) == 0;
#endif
}

/* -------------------------------------------- patched while the module runs */

/* Each "switch" parameter is written to change and read to see the effect. */
#define SWITCH(name) \
	static const struct kernel_param_ops name##_ops = { \
		.set = name##_set, .get = name##_get, \
	}; \
	module_param_cb(name, &name##_ops, NULL, 0644)

static DEFINE_STATIC_KEY_FALSE(test_key);
static DEFINE_STATIC_KEY_TRUE(true_key);

static int static_key_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int err = kstrtobool(val, &on);

	if (err)
		return err;
	if (on) {
		static_branch_enable(&test_key);
		static_branch_disable(&true_key);
	} else {
		static_branch_disable(&test_key);
		static_branch_enable(&true_key);
	}
	return 0;
}

static int static_key_get(char *buf, const struct kernel_param *kp)
{
	int v = 0;

	if (static_branch_unlikely(&test_key))
		v |= 1;
	if (static_branch_likely(&true_key))
		v |= 2;
	return sprintf(buf, "%d\n", v);
}
SWITCH(static_key);

DEFINE_STATIC_CALL(execmem_static_call, add_one);

static int static_call_set(const char *val, const struct kernel_param *kp)
{
	bool two;
	int err = kstrtobool(val, &two);

	if (!err)
		static_call_update(execmem_static_call, two ? add_two : add_one);
	return err;
}

static int static_call_get(char *buf, const struct kernel_param *kp)
{
	return sprintf(buf, "%d\n", static_call(execmem_static_call)(10));
}
SWITCH(static_call);

#ifdef CONFIG_TRACEPOINTS
DECLARE_TRACE(execmem_event, TP_PROTO(int a), TP_ARGS(a));
DEFINE_TRACE(execmem_event, TP_PROTO(int a), TP_ARGS(a));

static int event_sum;

static void event_probe(void *data, int a)
{
	event_sum += a;
}
#endif

static bool event_on;

static int tracepoint_set(const char *val, const struct kernel_param *kp)
{
#ifdef CONFIG_TRACEPOINTS
	bool on;
	int err = kstrtobool(val, &on);

	if (err || on == event_on)
		return err;
	event_on = on;
	if (on)
		return register_trace_execmem_event(event_probe, NULL);
	unregister_trace_execmem_event(event_probe, NULL);
	tracepoint_synchronize_unregister();
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int tracepoint_get(char *buf, const struct kernel_param *kp)
{
#ifdef CONFIG_TRACEPOINTS
	event_sum = 0;
	trace_execmem_event(4);
	trace_execmem_event(5);
	return sprintf(buf, "%d\n", event_sum);
#else
	return -EOPNOTSUPP;
#endif
}
SWITCH(tracepoint);

/* Read: call the two functions that tests hook. */
static int target_get(char *buf, const struct kernel_param *kp)
{
	int (*volatile target)(int) = execmem_target;
	int (*volatile other)(int) = execmem_other;

	return sprintf(buf, "%d %d\n", target(10), other(10));
}

static const struct kernel_param_ops target_ops = { .get = target_get };
module_param_cb(target, &target_ops, NULL, 0444);

static int __init execmem_test_init(void)
{
	check_relocations();
	check_exception_table();
	check_bug_table();
	check_alternatives();
	check_kasan();
	given_param = given == 7 || given == 1;
	return -fail_init;
}

static void __exit execmem_test_exit(void)
{
#ifdef CONFIG_TRACEPOINTS
	if (event_on) {
		unregister_trace_execmem_event(event_probe, NULL);
		tracepoint_synchronize_unregister();
	}
#endif
	pr_info("execmem_test: exit %d\n", execmem_data_word);
}

module_init(execmem_test_init);
module_exit(execmem_test_exit);
MODULE_DESCRIPTION("execmem selftest: what a module can hold");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
