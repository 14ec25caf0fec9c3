/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a test may do to the machine that it runs on. The file "list" gives each
 * test one of three classes:
 *
 *   safe        what it adds is its own and goes with it; whoever else uses the
 *               machine does not notice
 *   disruptive  it takes for a while what others use too: the tracer, the module
 *               area, memory, the time of all CPUs; or its figures are those of
 *               the whole machine
 *   guest       the machine may end, lose data, or need the harness outside
 *
 * In the harness' guest all of them run; elsewhere the safe ones. Disruptive ones
 * run there with KSELFTEST_EXECMEM=all, or =NAME,... in the environment.
 */
#ifndef EXECMEM_GUEST_HPP
#define EXECMEM_GUEST_HPP

#include <string>

#include "ktap.hpp"

/* Is this a guest that is there to be tested: execmem.guest=1, or a port to the harness? */
bool in_guest();

/* For a case that does more than the class of its test allows. */
result need_guest();
result need_disruptive();

/* May the test @name run here, as "list" has it? Without that list none may. */
result may_run(const std::string &name);

#endif /* EXECMEM_GUEST_HPP */
