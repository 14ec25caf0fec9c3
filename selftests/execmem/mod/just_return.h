/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXECMEM_JUST_RETURN_H
#define EXECMEM_JUST_RETURN_H

#include <linux/kprobes.h>
#include <linux/linkage.h>
#include <linux/objtool.h>

#ifdef CONFIG_X86
void execmem_just_return(void);
asm(".text\n"
    ".type execmem_just_return, @function\n"
    "execmem_just_return:\n"
    ANNOTATE_NOENDBR
    ASM_RET
    ".size execmem_just_return, .-execmem_just_return\n");
#endif

/*
 * In the handler of a kprobe at the entry of a function: it returns @ret at
 * once. The handler returns 1 then, and the probe needs a post handler, as an
 * optimised probe cannot skip.
 */
static inline void just_return(struct pt_regs *regs, long ret)
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
}

#endif /* EXECMEM_JUST_RETURN_H */
