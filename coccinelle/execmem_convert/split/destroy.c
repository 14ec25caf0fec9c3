// SPDX-License-Identifier: GPL-2.0-only

#include <linux/set_memory.h>
#include <linux/vmalloc.h>

#include "image.h"

int text_seal(struct text *text)
{
	unsigned long start = (unsigned long)text->start;
	int err = set_memory_ro(start, text->pages);

	if (err)
		return err;
	return set_memory_x(start, text->pages);
}

void memory_put(void *p)
{
	vfree(p);
}

void image_destroy(struct image *im)
{
	vfree(im->data);
	vfree(im->text.start);
}
