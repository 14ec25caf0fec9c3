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
	/* The case that prepares this one: who asks for this one alone gets both. */
	std::string after = "";
};

/* Names of cases on the command line: those are run, and not all. */
std::vector<std::string> asked_for();

/* "--list" on the command line: print the names of the cases, and run none. */
bool only_listed();

/* What @run returns; a failure for what it throws, as for a file that cannot be read. */
result run_case(const std::function<result()> &run);

/*
 * Print the plan, run each case that was asked for, return the kselftest exit
 * code. What may not run on this machine (guest.hpp) is one SKIP.
 */
int run_cases(const std::vector<test_case> &cases);

#endif /* EXECMEM_RUN_HPP */
