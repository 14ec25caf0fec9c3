// SPDX-License-Identifier: GPL-2.0
#include "kcore.hpp"

#include <algorithm>

#include <fcntl.h>
#include <unistd.h>

kcore::kcore() : f(open("/proc/kcore", O_RDONLY | O_CLOEXEC))
{
	Elf64_Ehdr eh;

	if (pread(f.fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_ident[EI_CLASS] != ELFCLASS64)
		return;
	segments.resize(eh.e_phnum);
	size_t size = segments.size() * sizeof(segments[0]);
	if (pread(f.fd, segments.data(), size, eh.e_phoff) != static_cast<ssize_t>(size))
		segments.clear();
}

std::string kcore::read(u64 addr, size_t len) const
{
	std::string s(len, '\0');

	for (const Elf64_Phdr &p : segments) {
		if (p.p_type != PT_LOAD || addr < p.p_vaddr || addr - p.p_vaddr >= p.p_filesz)
			continue;
		ssize_t n = pread(f.fd, s.data(), len, p.p_offset + (addr - p.p_vaddr));
		s.resize(std::max<ssize_t>(n, 0));
		return s;
	}
	return "";
}

std::string kcore::read_phys(u64 addr, size_t len) const
{
	for (const Elf64_Phdr &p : segments)
		if (p.p_type == PT_LOAD && p.p_paddr != ~0ULL && addr >= p.p_paddr &&
		    addr - p.p_paddr < p.p_filesz)
			return read(p.p_vaddr + (addr - p.p_paddr), len);
	return "";
}
