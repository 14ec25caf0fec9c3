// SPDX-License-Identifier: GPL-2.0
/*
 * Break the kernel on purpose: a function of it returns at once, with a value
 * of our choice, and does nothing.  It is how the tests are seen to fail:
 * booted with "execmem_mutant=FUNCTION[:VALUE]" each test loads this first.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/linkage.h>

static char *func = "";
module_param(func, charp, 0444);

static long ret;
module_param(ret, long, 0444);

#ifdef CONFIG_X86
void execmem_just_return(void);
asm(".text\n"
    ".type execmem_just_return, @function\n"
    "execmem_just_return:\n"
    ANNOTATE_NOENDBR
    ASM_RET
    ".size execmem_just_return, .-execmem_just_return\n");
#endif

static int skip(struct kprobe *p, struct pt_regs *regs)
{
#ifdef CONFIG_X86
	regs->ax = ret;
	instruction_pointer_set(regs, (unsigned long)execmem_just_return);
#elif defined(CONFIG_RISCV)
	regs_set_return_value(regs, ret);
	instruction_pointer_set(regs, regs->ra);
#elif defined(CONFIG_S390)
	regs->gprs[2] = ret;
	regs->psw.addr = regs->gprs[14];
#elif defined(CONFIG_PPC)
	regs->gpr[3] = ret;
	regs_set_return_ip(regs, regs->link);
#else
	regs_set_return_value(regs, ret);
	instruction_pointer_set(regs, procedure_link_pointer(regs));
#endif
	return 1;
}

/* With a post handler the probe is never jump-optimised, which could not skip. */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe kp = { .pre_handler = skip, .post_handler = after };

static int __init execmem_skip_init(void)
{
	kp.symbol_name = func;
	return register_kprobe(&kp);
}

static void __exit execmem_skip_exit(void)
{
	unregister_kprobe(&kp);
}

module_init(execmem_skip_init);
module_exit(execmem_skip_exit);
MODULE_DESCRIPTION("execmem selftest: a deliberately broken kernel");
MODULE_LICENSE("GPL");
MODULE_INFO(test, "Y");
