// SPDX-License-Identifier: GPL-2.0-only
/* What the rule must report, and what it must not. */

void allocates_and_frees(void)
{
	void *p = execmem_text_alloc(EXECMEM_BPF, 10);

	execmem_finish(p);
	execmem_free(p);
}

void frees_other_memory(void)
{
	void *p = vmalloc(10);

	set_memory_ro((unsigned long)p, 1);
	vfree(p);
}

void changes_permissions(void)
{
	void *p;

	p = execmem_text_alloc(EXECMEM_BPF, 10);
	set_memory_ro((unsigned long)p, 1);
	vfree(p);
}

void wants_them_reset(struct image *im)
{
	im->image = jit_text_alloc(EXECMEM_BPF, 10);
	set_vm_flush_reset_perms(im->image);
}
