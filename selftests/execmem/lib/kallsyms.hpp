/* SPDX-License-Identifier: GPL-2.0 */
/* /proc/kallsyms */
#ifndef EXECMEM_KALLSYMS_HPP
#define EXECMEM_KALLSYMS_HPP

#include <string>
#include <string_view>
#include <vector>

#include "types.hpp"

struct symbol {
	u64 addr;
	char type;
	std::string name;
	std::string module;	/* empty for the image; "bpf", "__builtin__kprobes", ... */
};

struct kallsyms {
	std::vector<symbol> syms;

	kallsyms();

	/* Address of @name (in @module, where given), or 0. */
	u64 addr(std::string_view name, std::string_view module = "") const;

	std::vector<symbol> with_prefix(std::string_view prefix) const;

	std::vector<symbol> of_module(std::string_view module) const;

	bool has(std::string_view name) const { return addr(name) != 0; }
};

#endif /* EXECMEM_KALLSYMS_HPP */
