/* SPDX-License-Identifier: GPL-2.0 */
#ifndef EXECMEM_TEST_H
#define EXECMEM_TEST_H

int execmem_target(int a);
int execmem_other(int a);
int execmem_test_exported(int a);

extern int execmem_data_word;
extern const int execmem_rodata_word;
extern int execmem_roai_word;

#endif /* EXECMEM_TEST_H */
