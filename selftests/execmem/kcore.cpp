// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/kcore shows run-time text as it is, for debuggers and crash tools; and
 * what is not anybody's code holds trap instructions there.
 */
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <elf.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "elf.hpp"
#include "kallsyms.hpp"
#include "kcore.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static result need_kcore()
{
	if (!exists("/proc/kcore"))
		return skip("CONFIG_PROC_KCORE is not set");
	if (sizeof(long) != 8)
		return skip("the test reads 64-bit core files only");
	return pass();
}

static std::string repeat(const std::string &what, size_t n)
{
	std::string s;

	while (n--)
		s += what;
	return s;
}

static std::string hex(const std::string &bytes)
{
	std::string s;

	for (unsigned char c : bytes.substr(0, 32))
		s += format("%02x ", c);
	return s;
}

/* The instruction that must stand where nobody has written; "" where it is not known here. */
static std::string trap()
{
	switch (arch) {
	case arch_id::x86_64:
	case arch_id::i386:
		return "\xcc";
	case arch_id::arm64:
		return std::string("\x00\x20\x20\xd4", 4);	/* brk #0x100 */
	case arch_id::riscv:
		return "\x02\x90";				/* c.ebreak */
	case arch_id::s390:
		return std::string("\x00\x01", 2);		/* S390_BREAKPOINT_U16 */
	case arch_id::powerpc:
		return std::string("\x08\x00\xe0\x7f", 4);	/* trap */
	default:
		return "";
	}
}

static std::string nop()
{
	switch (arch) {
	case arch_id::x86_64:
	case arch_id::i386:
		return "\x90";
	case arch_id::arm64:
		return "\x1f\x20\x03\xd5";
	case arch_id::riscv:
		return std::string("\x01\x00", 2);		/* c.nop */
	case arch_id::s390:
		return std::string("\x07\x00", 2);
	case arch_id::powerpc:
		return std::string("\x00\x00\x00\x60", 4);
	default:
		return "";
	}
}

static result bpf_program()
{
	TRY(need_kcore());
	TRY(need_jit());
	kcore core;

	for (int i = 0; i < 10; i++) {
		unique_fd p(bpf_prog_load(bpf_return(i, 30 + 50 * i)));
		CHECK(p, "load: %s", strerror(-p.fd));

		/* The machine code, as bpf(2) gives it. */
		std::string code(65536, '\0');
		bpf_prog_info info { };
		info.jited_prog_insns = ptr(code.data());
		info.jited_prog_len = code.size();
		CHECK(!bpf_info(p.fd, info) && info.jited_prog_len, "no machine code");
		code.resize(info.jited_prog_len);

		std::vector<bpf_image> images = bpf_images(p.fd);
		CHECK(images.size() == 1, "%zu images", images.size());
		std::string seen = core.read(images[0].addr, code.size());
		CHECK(seen == code, "%#llx: /proc/kcore has %zu bytes %s... and bpf(2) %zu bytes %s...",
		      (unsigned long long)images[0].addr, seen.size(), hex(seen).c_str(), code.size(),
		      hex(code).c_str());
	}
	return pass();
}

/* Text, rodata and data of a module, at values that its source fixes. */
static result module_memory()
{
	TRY(need_kcore());
	TRY(need_module("execmem_test"));
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	kallsyms ks;
	kcore core;
	u64 rodata = ks.addr("execmem_rodata_word", "execmem_test");
	u64 data = ks.addr("execmem_data_word", "execmem_test");
	u64 text = ks.addr("execmem_target", "execmem_test");

	CHECK(rodata && data, "CONFIG_KALLSYMS_ALL is not set");
	for (const auto &[addr, want] : { std::pair(rodata, 0x4321), std::pair(data, 0x1234) }) {
		std::string bytes = core.read(addr, sizeof(int));
		int got = -1;

		if (bytes.size() == sizeof(got))
			memcpy(&got, bytes.data(), sizeof(got));
		CHECK(got == want, "%#llx: %#x, expected %#x", (unsigned long long)addr, got, want);
	}
	std::string code = core.read(text, 128);
	if (nop().empty())
		CHECK(code.find_first_not_of('\0') != code.npos, "%#llx: no code", (unsigned long long)text);
	else
		CHECK(code.find(repeat(nop(), 8)) != code.npos, "%#llx: no eight nops in %s",
		      (unsigned long long)text, hex(code).c_str());
	return pass();
}

/*
 * Where the code of a loaded module ends: behind its last section. The loader
 * makes some sections as large as it needs them, there it is an upper bound.
 */
static u64 end_of_code(const std::string &module)
{
	const elf_file file(read_or_fail(module_path(module)));
	u64 last = 0, end = 0;

	for (const Elf64_Shdr &s : file.sections) {
		const std::string name = file.name(s);

		if (!(s.sh_flags & SHF_ALLOC) || !(s.sh_flags & SHF_EXECINSTR) || name.starts_with(".init"))
			continue;
		u64 addr = section_addr(module, name);
		if (addr < last)
			continue;
		last = addr;
		end = addr + s.sh_size;
		if (name == ".plt" || name == ".text.ftrace_trampoline")
			end += 1024;
		else if (name == ".stubs")
			end += 8192;
	}
	/* s390 has its GOT and PLT behind them, in no section. */
	if (arch == arch_id::s390)
		end += 1024;
	return end;
}

static result rest_of_module()
{
	TRY(need_kcore());
	TRY(need_module("execmem_test"));
	if (trap().empty())
		return skip("which trap instruction this architecture has is not known here");
	TRY(need_dump());
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	kcore core;
	page_tables pt;
	u64 end = end_of_code("execmem_test");
	const mapping *map = pt.find(section_addr("execmem_test", ".text"));

	if (map && arch == arch_id::s390)
		end = std::min(end, map->end - 64);
	CHECK(end && map && end < map->end, "the code ends at %#llx, its mapping at %#llx", (unsigned long long)end,
	      (unsigned long long)(map ? map->end : 0));
	end = (end + 15) & ~15ULL;
	std::string rest = core.read(end, map->end - end);
	CHECK(rest.size() == map->end - end, "%#llx: read %zu bytes", (unsigned long long)end, rest.size());
	diag("%zu bytes behind the code", rest.size());
	CHECK(rest == repeat(trap(), rest.size() / trap().size()), "%#llx-%#llx behind the code: %s",
	      (unsigned long long)end, (unsigned long long)map->end, hex(rest).c_str());
	return pass();
}

/* Text of a freed program is a trap, or is no longer mapped at all. */
static result freed_program()
{
	TRY(need_kcore());
	TRY(need_jit());
	if (trap().empty())
		return skip("which trap instruction this architecture has is not known here");
	TRY(need_dump());
	kcore core;
	unique_fd first(bpf_prog_load(bpf_return(1, 400)));
	unique_fd freed(bpf_prog_load(bpf_return(2, 400)));
	unique_fd last(bpf_prog_load(bpf_return(3, 400)));
	CHECK(first && freed && last, "load");
	std::vector<bpf_image> images = bpf_images(freed.fd);
	CHECK(images.size() == 1, "not JITed");
	bpf_image i = images[0];
	std::string code = core.read(i.addr, i.len);
	CHECK(code.size() == i.len && code != repeat(trap(), i.len / trap().size()), "no code before it is freed");

	/* Where nothing is mapped 6.1 shows what the reader read last: ask the page tables first. */
	freed = unique_fd();
	std::string now;
	bool unmapped = false;
	bool gone = wait_for(10000, [&] {
		page_tables pt;
		unmapped = !pt.find(i.addr);
		now = core.read(i.addr, i.len);
		return unmapped || now == repeat(trap(), i.len / trap().size());
	});
	CHECK(gone, "%#llx: freed text is mapped and holds %s", (unsigned long long)i.addr, hex(now).c_str());
	diag("freed text is %s", unmapped ? "unmapped" : "full of traps");
	return pass();
}

int main()
{
	return run_cases({
		{ "bpf_program", bpf_program },
		{ "module_memory", module_memory },
		{ "rest_of_module", rest_of_module },
		{ "freed_program", freed_program },
	});
}
