// SPDX-License-Identifier: GPL-2.0
/*
 * The names of the tests in test_verifier, one a line, as it numbers them and in
 * the order in which it runs them. It has no option that says so: this is compiled
 * with its source.
 */
#define main test_verifier_main
#include "test_verifier.c"
#undef main

int main(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		if (test_as_unpriv(&tests[i]))
			printf("%u/u %s\n", i, tests[i].descr);
		printf("%u/p %s\n", i, tests[i].descr);
	}
	return 0;
}
