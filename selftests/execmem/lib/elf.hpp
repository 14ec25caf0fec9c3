/* SPDX-License-Identifier: GPL-2.0 */
/* A file of a module, which is an object file of 64 bits. */
#ifndef EXECMEM_ELF_HPP
#define EXECMEM_ELF_HPP

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <elf.h>

struct elf_file {
	std::string image;
	Elf64_Ehdr header { };
	std::vector<Elf64_Shdr> sections;	/* none where the image is no such file */

	explicit elf_file(std::string file);

	std::string bytes(const Elf64_Shdr &s) const { return image.substr(s.sh_offset, s.sh_size); }
	std::string name(const Elf64_Shdr &s) const;

	/* What is in @s, as an array of T. */
	template <typename T> std::vector<T> table(const Elf64_Shdr &s) const
	{
		std::vector<T> v(s.sh_offset + s.sh_size <= image.size() ? s.sh_size / sizeof(T) : 0);

		memcpy(v.data(), image.data() + s.sh_offset, v.size() * sizeof(T));
		return v;
	}
};

#endif /* EXECMEM_ELF_HPP */
