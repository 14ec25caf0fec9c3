/* SPDX-License-Identifier: GPL-2.0 */
/* Runs the cases of a test. */
#ifndef EXECMEM_RUN_HPP
#define EXECMEM_RUN_HPP

#include <functional>
#include <string>
#include <vector>

#include "ktap.hpp"

struct test_case {
	std::string name;
	std::function<result()> run;
};

/*
 * "execmem_mutant=FUNCTION[:VALUE]" on the kernel's command line: let FUNCTION
 * do nothing and return VALUE, to see the tests fail.
 */
int load_mutant();

/* Print the plan, run each case, return the kselftest exit code. */
int run_cases(const std::vector<test_case> &cases);

#endif /* EXECMEM_RUN_HPP */
