/* SPDX-License-Identifier: GPL-2.0 */
/* Livepatches come and go. */
#ifndef EXECMEM_LIVEPATCH_HPP
#define EXECMEM_LIVEPATCH_HPP

#include <string>

#include "ktap.hpp"

result need_livepatch();

bool patch_settled(const std::string &patch = "execmem_klp");

result remove_patch(const std::string &patch = "execmem_klp");

#endif /* EXECMEM_LIVEPATCH_HPP */
