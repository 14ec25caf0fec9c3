// SPDX-License-Identifier: GPL-2.0-only

#include <linux/execmem.h>
#include <linux/set_memory.h>
#include <linux/vmalloc.h>

#include "image.h"

int text_seal(struct text *text)
{
	unsigned long start = (unsigned long)text->start;
	return execmem_finish((void *)start);
}

void memory_put(void *p)
{
	execmem_free(p);
}

void image_destroy(struct image *im)
{
	vfree(im->data);
	execmem_free(im->text.start);
}
