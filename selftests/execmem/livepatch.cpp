// SPDX-License-Identifier: GPL-2.0
/* Livepatch of a function of a module and of the image, in either order of loading. */
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <elf.h>

#include "arch.hpp"
#include "elf.hpp"
#include "ktap.hpp"
#include "livepatch.hpp"
#include "modules.hpp"
#include "page_tables.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "types.hpp"

static std::string target()
{
	return module_param("execmem_test", "target");
}

static bool image_patched()
{
	return read_or_fail("/proc/cmdline") == "execmem livepatch\n";
}

static result patch_loaded_module()
{
	TRY(need_livepatch());
	loaded_module m("execmem_test");
	CHECK(!m.err, "execmem_test: %s", strerror(-m.err));
	CHECK(target() == "31 52" && !image_patched(), "wrong before the patch");
	int err = load_module("execmem_klp");
	CHECK(!err, "execmem_klp: %s", strerror(-err));
	bool done = wait_for(30000, [] { return patch_settled(); });
	std::string got = target();
	bool image = image_patched();
	TRY(remove_patch());
	CHECK(done, "the transition did not end");
	CHECK(got == "1030 52", "patched function gives %s, expected 1030 52", got.c_str());
	CHECK(image, "the function of the image was not patched");
	CHECK(target() == "31 52", "after the patch was removed: %s", target().c_str());
	CHECK(!image_patched(), "the function of the image is still patched");
	return pass();
}

/* The patch is there first and is applied to the module while that loads. */
static result patch_coming_module()
{
	TRY(need_livepatch());
	int err = load_module("execmem_klp");
	CHECK(!err, "execmem_klp: %s", strerror(-err));
	bool done = wait_for(30000, [] { return patch_settled(); });
	std::string first, second;
	int errs[3];
	{
		loaded_module m("execmem_test");
		errs[0] = m.err;
		first = target();
		errs[1] = m.unload();
	}
	{
		loaded_module m("execmem_test");
		errs[2] = m.err;
		second = target();
	}
	TRY(remove_patch());
	CHECK(done, "the transition did not end");
	CHECK(!errs[0] && !errs[1] && !errs[2], "load %d, unload %d, load %d", errs[0], errs[1], errs[2]);
	CHECK(first == "1030 52" && second == "1030 52", "patched function gives %s, then %s", first.c_str(),
	      second.c_str());
	return pass();
}

/* ------------------------------------------------------ late relocations */

#ifndef SHF_RELA_LIVEPATCH
#define SHF_RELA_LIVEPATCH 0x00100000
#endif
#ifndef SHN_LIVEPATCH
#define SHN_LIVEPATCH 0xff20
#endif

/*
 * Makes late relocations against OBJECT of all references to the symbols
 * execmem_late_NAME: the symbol becomes .klp.sym.OBJECT.NAME,0 and the
 * relocations move to a section .klp.rela.OBJECT.SECTION. New tables go to the
 * end of the file. Documentation/livepatch/module-elf-format.rst has the format.
 */
class late_module : public elf_file {
	std::string names;	/* of the sections */

	/* Puts @bytes at the end of the file, as the contents of @s. */
	void put(Elf64_Shdr &s, const void *bytes, size_t size)
	{
		image.resize((image.size() + 7) & ~size_t(7));
		s.sh_offset = image.size();
		s.sh_size = size;
		image.append(static_cast<const char *>(bytes), size);
	}

public:
	std::vector<std::string> made;	/* names of the new sections */

	late_module(std::string file, const std::string &object) : elf_file(std::move(file))
	{
		const std::string mark = "execmem_late_";

		if (sections.empty())
			return;
		names = bytes(sections[header.e_shstrndx]);

		size_t symtab = 0;
		while (symtab < sections.size() && sections[symtab].sh_type != SHT_SYMTAB)
			symtab++;
		if (symtab == sections.size())
			return;
		Elf64_Shdr &strtab = sections[sections[symtab].sh_link];
		std::vector<Elf64_Sym> syms = table<Elf64_Sym>(sections[symtab]);
		std::string strings = bytes(strtab);
		std::set<u32> late;
		for (u32 i = 1; i < syms.size(); i++) {
			std::string name = strings.c_str() + syms[i].st_name;

			if (!name.starts_with(mark))
				continue;
			late.insert(i);
			syms[i] = { };
			syms[i].st_name = strings.size();
			syms[i].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE);
			syms[i].st_shndx = SHN_LIVEPATCH;
			strings += ".klp.sym." + object + "." + name.substr(mark.size()) + ",0";
			strings += '\0';
		}
		put(sections[symtab], syms.data(), syms.size() * sizeof(syms[0]));
		put(strtab, strings.data(), strings.size());

		for (size_t i = 0, old = sections.size(); i < old; i++) {
			if (sections[i].sh_type != SHT_RELA)
				continue;
			std::vector<Elf64_Rela> stay, move;
			for (const Elf64_Rela &r : table<Elf64_Rela>(sections[i]))
				(late.count(ELF64_R_SYM(r.r_info)) ? move : stay).push_back(r);
			if (move.empty())
				continue;
			put(sections[i], stay.data(), stay.size() * sizeof(stay[0]));
			Elf64_Shdr s = sections[i];
			std::string name = ".klp.rela." + object + "." +
				std::string(names.c_str() + sections[s.sh_info].sh_name);
			s.sh_name = names.size();
			s.sh_flags = SHF_RELA_LIVEPATCH | SHF_ALLOC;
			put(s, move.data(), move.size() * sizeof(move[0]));
			sections.push_back(s);
			names += name;
			names += '\0';
			made.push_back(name);
		}
		put(sections[header.e_shstrndx], names.data(), names.size());
		Elf64_Shdr all { };
		put(all, sections.data(), sections.size() * sizeof(sections[0]));
		header.e_shoff = all.sh_offset;
		header.e_shnum = sections.size();
		memcpy(image.data(), &header, sizeof(header));
	}
};

/*
 * Relocations that are applied when both the patch and what it patches are
 * loaded: to text, data and rodata that have been finished before.
 */
static result late_relocations(bool patch_first)
{
	TRY(need_livepatch());
	TRY(need_module("execmem_klp_late"));
	late_module late(read_or_fail(module_path("execmem_klp_late")), "execmem_test");
	std::string made;
	for (const std::string &name : late.made)
		made += " " + name;
	diag("sections made:%s", made.c_str());
	for (const char *s : { "text", "data", "rodata" })
		/* On powerpc there are none; s390's compiler puts such pointers with the data, constant or not. */
		CHECK((!strcmp(s, "rodata") && (arch == arch_id::powerpc || arch == arch_id::s390)) ||
		      made.find(std::string(".klp.rela.execmem_test..") + s) != made.npos,
		      "execmem_klp_late.ko has no reference to turn in .%s", s);

	std::unique_ptr<loaded_module> m;
	if (!patch_first)
		m = std::make_unique<loaded_module>("execmem_test");
	int err = init_module_image(late.image);
	CHECK(!err, "the patch does not load: %s", strerror(-err));
	if (patch_first)
		m = std::make_unique<loaded_module>("execmem_test");
	bool done = wait_for(30000, [] { return patch_settled("execmem_klp_late"); });
	err = m->err;
	std::string got = target();
	result wx = no_wx();
	TRY(remove_patch("execmem_klp_late"));
	CHECK(!err, "execmem_test: %s", strerror(-err));
	CHECK(done, "the transition did not end");
	/* execmem_other(10) is 52, three times, and execmem_data_word is 0x1234. */
	CHECK(got == "4816 52", "patched function gives %s, expected 4816 52", got.c_str());
	CHECK(target() == "31 52", "after the patch was removed: %s", target().c_str());
	return wx;
}

int main()
{
	return run_cases({
		{ "patch_loaded_module", patch_loaded_module },
		{ "patch_coming_module", patch_coming_module },
		{ "again", patch_loaded_module },
		{ "late_relocations", [] { return late_relocations(false); } },
		{ "late_relocations_of_coming_module", [] { return late_relocations(true); } },
	});
}
