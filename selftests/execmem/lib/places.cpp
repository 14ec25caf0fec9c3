// SPDX-License-Identifier: GPL-2.0
#include "places.hpp"

#include <algorithm>

#include "arch.hpp"
#include "proc.hpp"

/* Is there a table of ranges below? Without one nothing can be out of its range. */
static constexpr bool layout_known = arch == arch_id::x86_64 || arch == arch_id::arm64 ||
				     arch == arch_id::riscv || arch == arch_id::s390 ||
				     arch == arch_id::powerpc;

static layout arch_layout(const kallsyms &ks, const page_tables &pt)
{
	layout l { };
	const u64 GB = 1ULL << 30;

	/* riscv has its head before _text. */
	for (const char *first : { arch == arch_id::riscv ? "_start" : "_text", "_stext" })
		if (!l.image.start)
			l.image.start = ks.addr(first);
	l.image.end = ks.addr("_end");
	switch (arch) {
	case arch_id::x86_64:
		/* __START_KERNEL_map + KERNEL_IMAGE_SIZE: 1G with RANDOMIZE_BASE, else 512M. */
		l.module = { 0xffffffff80000000 + (ks.has("kernel_randomize_memory") ? GB : GB / 2),
			     0xffffffffff000000 };
		l.kprobe = l.bpf = l.module;
		break;
	case arch_id::arm64: {
		/* The upper half of the kernel's space starts with the modules. */
		u64 page_offset = pt.maps.empty() ? 0 : pt.maps[0].start;
		int bits = 0;

		while (bits < 52 && (~page_offset >> bits))
			bits++;
		u64 page_end = -(1ULL << (std::min(bits, 48) - 1));

		l.bpf = l.kprobe = { page_end, 0xfffffffffe000000 };
		/* In reach of a branch through a PLT, whichever way. */
		l.module = { std::max(page_end, l.image.end - 2 * GB), l.image.start + 2 * GB };
		break;
	}
	case arch_id::riscv: {
		/* Documentation/riscv/vm-layout.rst */
		std::string cpuinfo = read_or_fail("/proc/cpuinfo");

		l.module = { l.image.end - 2 * GB, l.image.start };
		l.bpf = { l.image.start - (128 << 20), l.image.start };
		l.kprobe = cpuinfo.find("sv57") != cpuinfo.npos ? region { 0xff20000000000000, 0xff60000000000000 } :
			   cpuinfo.find("sv48") != cpuinfo.npos ? region { 0xffff8f8000000000, 0xffffaf8000000000 } :
			   region { 0xffffffc800000000, 0xffffffd800000000 };
		break;
	}
	case arch_id::s390:
		/* Laid out at boot, and the dump has a line for what is not mapped, too. */
		l.module = { pt.area("Modules Area Start"), pt.area("Modules Area End") };
		l.kprobe = l.bpf = l.module;
		break;
	case arch_id::powerpc:
		/* The vmalloc range of radix, and what a TOC pointer reaches from its middle on. */
		l.kprobe = l.bpf = { 0xc008000000000000, 0xc00a000000000000 };
		l.module = { 0xc009000000000000, 0xc009000000000000 + 2 * GB };
		break;
	default:
		break;	/* need_places() has said so */
	}
	return l;
}

view::view() : where(arch_layout(ks, pt)) { }

result need_places()
{
	if (!layout_known)
		return skip("no table of ranges for this architecture");
	return need_dump();
}

result check_place(const view &v, const char *what, u64 addr, const region &r, perm p)
{
	const mapping *m = v.pt.find(addr);
	bool write = p == RW, exec = p == ROX;

	CHECK(addr, "%s: no address", what);
	CHECK(r.holds(addr), "%s at %#llx is outside %#llx-%#llx", what, (unsigned long long)addr,
	      (unsigned long long)r.start, (unsigned long long)r.end);
	CHECK(!v.where.image.holds(addr), "%s at %#llx lies in the kernel image", what, (unsigned long long)addr);
	CHECK(m, "%s at %#llx is not mapped", what, (unsigned long long)addr);
	CHECK(m->write == write && m->exec == exec, "%s at %#llx should be %s: %s", what,
	      (unsigned long long)addr, p == ROX ? "ROX" : p == RO ? "RO" : "RW", m->line.c_str());
	return pass();
}
