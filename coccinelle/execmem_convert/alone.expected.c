// SPDX-License-Identifier: GPL-2.0-only
/* One file of a driver, the others are not given: somebody seals and frees there. */

#include <linux/execmem.h>
#include "linux/filter.h"

struct engine {
	void *text;
};

int engine_init(struct engine *e)
{
	/* FIXME: execmem_finish() has to come before this is executed */
	e->text = jit_text_alloc(EXECMEM_BPF, PAGE_SIZE);
	return e->text ? 0 : -ENOMEM;
}
