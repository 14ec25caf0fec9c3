/* SPDX-License-Identifier: GPL-2.0 */
/* What run-time text takes of the address space, and that it gives it back. */
#ifndef EXECMEM_FOOTPRINT_HPP
#define EXECMEM_FOOTPRINT_HPP

#include <map>
#include <string>

#include "ktap.hpp"
#include "types.hpp"

/*
 * Run-time text in /proc/vmallocinfo: bytes by caller, for callers that
 * handle executable memory. A pool is one line there: what is in it is in the
 * list of debugfs. What cannot be read or understood ends the case.
 */
using footprint = std::map<std::string, s64>;

footprint measure();

/* Once what was freed before is really gone: some of it waits for a grace period. */
footprint settle();

/* No caller holds more than before. */
result no_growth(const footprint &before);

/* A case of its own in each test that asks for no_growth(): a module and programs are seen to take memory. */
result growth_is_seen();

/* Bytes. */
u64 free_memory();

#endif /* EXECMEM_FOOTPRINT_HPP */
