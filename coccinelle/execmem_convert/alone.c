// SPDX-License-Identifier: GPL-2.0-only
/* One file of a driver, the others are not given: somebody seals and frees there. */

#include "linux/filter.h"

struct engine {
	void *text;
};

int engine_init(struct engine *e)
{
	e->text = bpf_jit_alloc_exec(PAGE_SIZE);
	return e->text ? 0 : -ENOMEM;
}
