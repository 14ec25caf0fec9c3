// SPDX-License-Identifier: GPL-2.0
#include "elf.hpp"

elf_file::elf_file(std::string file) : image(std::move(file))
{
	if (image.size() < sizeof(header))
		return;
	memcpy(&header, image.data(), sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64)
		return;
	Elf64_Shdr all { };
	all.sh_offset = header.e_shoff;
	all.sh_size = header.e_shnum * sizeof(Elf64_Shdr);
	sections = table<Elf64_Shdr>(all);
}

std::string elf_file::name(const Elf64_Shdr &s) const
{
	const std::string names = bytes(sections.at(header.e_shstrndx));

	return names.c_str() + s.sh_name;
}
