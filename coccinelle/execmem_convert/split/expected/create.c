// SPDX-License-Identifier: GPL-2.0-only
/* A driver of two files: what one of them allocates is sealed and freed in the other. */

#include <linux/execmem.h>
#include <linux/vmalloc.h>

#include "image.h"

int image_create(struct image *im, size_t size)
{
	int err;

	im->data = vmalloc(size);
	if (!im->data)
		return -ENOMEM;
	im->text.start = execmem_text_alloc(EXECMEM_MODULE_TEXT, size);
	if (!im->text.start) {
		vfree(im->data);
		return -ENOMEM;
	}
	im->text.pages = DIV_ROUND_UP(size, PAGE_SIZE);
	err = text_seal(&im->text);
	if (err)
		memory_put(im->text.start);
	return err;
}
