/* SPDX-License-Identifier: GPL-2.0 */
/* Just enough of a kernel for a compiler to check the files of the tests. */
#ifndef STUBS_KERNEL_H
#define STUBS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef unsigned long ulong;

#define __init
#define __exit
#define __weak __attribute__((weak))
#define GFP_KERNEL 0u
#define ENOMEM 12
#define EINVAL 22
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define PAGE_ALIGN(n) (DIV_ROUND_UP(n, PAGE_SIZE) * PAGE_SIZE)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ERR_PTR(e) ((void *)(long)(e))
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WARN_ON(c) (!!(c))
#define IS_ENABLED(option) (option)
#define CONFIG_STRICT_MODULE_RWX 1
#define unlikely(c) __builtin_expect(!!(c), 0)

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
void pr_err(const char *format, ...);
void *kmalloc(size_t size, unsigned int gfp);
void *kzalloc(size_t size, unsigned int gfp);
void kfree(const void *p);

#endif
