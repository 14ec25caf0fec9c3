/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of the running kernel, as debuggers see it. */
#ifndef EXECMEM_KCORE_HPP
#define EXECMEM_KCORE_HPP

#include <string>
#include <vector>

#include <elf.h>

#include "proc.hpp"
#include "types.hpp"

/* The core file of the running kernel. */
class kcore {
	unique_fd f;
	std::vector<Elf64_Phdr> segments;

public:
	kcore();

	/* @len bytes at @addr, or fewer. */
	std::string read(u64 addr, size_t len) const;

	/* The same by physical address, for text that has no segment of its own. */
	std::string read_phys(u64 addr, size_t len) const;
};

#endif /* EXECMEM_KCORE_HPP */
