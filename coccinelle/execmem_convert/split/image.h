/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IMAGE_H
#define IMAGE_H

#include <linux/module.h>

struct text {
	void *start;
	int pages;
};

struct image {
	struct text text;
	void *data;
};

int text_seal(struct text *text);
void memory_put(void *p);
int image_create(struct image *im, size_t size);
void image_destroy(struct image *im);

#endif
