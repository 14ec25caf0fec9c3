/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's leak detector, around the cases of a test. */
#ifndef EXECMEM_KMEMLEAK_HPP
#define EXECMEM_KMEMLEAK_HPP

#include "ktap.hpp"

/* Before: what it has found so far is not ours. */
result kmemleak_start();

/* After all that it is content; scanned twice, as new objects get a grace. */
result kmemleak_quiet();

#endif /* EXECMEM_KMEMLEAK_HPP */
