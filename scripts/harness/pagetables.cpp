// SPDX-License-Identifier: GPL-2.0
/*
 * What is promised: no kernel virtual address is writable and executable, and
 * no physical page that the kernel can execute has a writable mapping at
 * another address.
 *
 * Permissions are effective ones: every level's restriction is carried down
 * to the leaf. A table that is reached a second time with the same inherited
 * permissions maps the same physical pages with the same permissions again,
 * so it is not walked again; that is what makes KASAN's shadow (16 TB of
 * address space onto one page of zeroes) finish.
 *
 * Not seen: the TLBs of the CPUs (a stale entry may still allow what the
 * tables no longer do), and page tables that no CPU has loaded at the moment.
 */
#include "pagetables.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <tuple>

namespace {

struct mapping {
	std::uint64_t pa, size, va;
	bool writable, executable, user, user_half;

	std::uint64_t end() const { return pa + size; }
};

/* What the levels above allow. */
struct rights {
	bool writable = true, executable = true, user = true;

	auto operator<=>(const rights &) const = default;
};

/*
 * Where the kernel's text, built in and allocated, may be mapped. Executable
 * memory elsewhere (in the direct map, say) is reported, but for the physical
 * ranges of the second table. Even those may not be writable.
 */
struct region {
	const char *arch;
	std::uint64_t from, to;
	const char *reason;
};

constexpr region text_regions[] = {
	{ "x86_64", 0xffffffff80000000, 0xfffffffffeffffff, "kernel image and modules" },
	{ "arm64", 0xffff800000000000, 0xffffffffffffffff, "modules, vmalloc, kernel image, fixmap" },
	{ "riscv64", 0xffffffff00000000, 0xffffffffffffffff, "modules, BPF programs, kernel image" },
	{ "riscv64", 0xffffffc800000000, 0xffffffd7ffffffff, "vmalloc of Sv39: slots of kprobes" },
	{ "riscv64", 0xffff8f8000000000, 0xffffaf7fffffffff, "vmalloc of Sv48" },
	{ "riscv64", 0xff20000000000000, 0xff5fffffffffffff, "vmalloc of Sv57" },
};

/*
 * Where text is executable once more, as set_memory_x() of riscv does to the
 * linear mapping what it does to vmalloc memory: what is executable here has to
 * be executable text, too. Counted, not hidden.
 */
constexpr region linear_mappings[] = {
	{ "riscv64", 0xffffffd800000000, 0xfffffff6ffffffff, "Sv39" },
	{ "riscv64", 0xffffaf8000000000, 0xffffef7fffffffff, "Sv48" },
	{ "riscv64", 0xff60000000000000, 0xff8fffffffffffff, "Sv57" },
};

constexpr region exceptions[] = {
	{ "x86_64", 0, 0x100000,
	  "real-mode trampoline: where the other CPUs start, with paging off" },
};

class walker {
public:
	/*
	 * Without a limit, tables that were seen are passed over. With one,
	 * every mapping is listed, up to that many.
	 */
	walker(const qemu &guest, std::vector<mapping> &out, std::uint64_t limit = 0)
		: guest(guest), out(out), limit(limit) {}

	bool too_many() const { return limit && leaves > limit; }

	/* x86-64: 4 levels, the low half is the process's. */
	void x86(std::uint64_t cr3)
	{
		x86_table(cr3 & 0x000ffffffffff000, 3, 0, {}, false);
	}

	/* arm64, 4K pages: only TTBR1, which is the kernel's own. */
	void arm64(std::uint64_t ttbr1, std::uint64_t tcr)
	{
		const unsigned bits = 64 - ((tcr >> 16) & 63);

		if (((tcr >> 30) & 3) != 2) {
			problem = "the guest does not use 4K pages";
			return;
		}
		/* hardware sets the dirty state: clean but writable is writable */
		dirty_by_hardware = (tcr >> 40) & 1;
		arm64_table(ttbr1 & 0x0000fffffffff000, static_cast<int>((bits - 13) / 9),
			    ~0ULL << bits, {});
	}

	/* riscv64: 3 to 5 levels, the low half is the process's. */
	void riscv(std::uint64_t satp)
	{
		const std::uint64_t mode = satp >> 60;

		if (mode < 8 || mode > 10) {
			problem = "a CPU runs without Sv39, Sv48 or Sv57";
			return;
		}
		const int top = static_cast<int>(mode) - 6;

		riscv_table((satp & 0xfffffffffff) << 12, top, top, 0, false);
	}

	std::string problem;

private:
	bool seen(std::uint64_t table, int level, const rights &r)
	{
		if (limit)
			return too_many();
		return !visited.emplace(table, level, r).second;
	}

	void leaf(const mapping &m)
	{
		leaves++;
		/* consecutive pages of one kind become one record */
		if (!out.empty()) {
			mapping &last = out.back();

			if (last.end() == m.pa && last.va + last.size == m.va &&
			    last.writable == m.writable && last.executable == m.executable &&
			    last.user == m.user && last.user_half == m.user_half) {
				last.size += m.size;
				return;
			}
		}
		out.push_back(m);
	}

	void x86_table(std::uint64_t table, int level, std::uint64_t va, rights above,
		       bool user_half)
	{
		if (seen(table, level, above))
			return;
		for (unsigned i = 0; i < 512; i++) {
			const auto entry = guest.phys64(table + 8 * i);

			if (!entry || !(*entry & 1))
				continue;

			std::uint64_t address = va | static_cast<std::uint64_t>(i) << (12 + 9 * level);
			const rights r {
				above.writable && (*entry & 2),
				above.executable && !(*entry >> 63),
				above.user && (*entry & 4),
			};

			if (level == 3) {
				user_half = i < 256;
				if (!user_half)
					address |= 0xffff000000000000;
			}
			if (level && !(level < 3 && (*entry & 0x80))) {
				x86_table(*entry & 0x000ffffffffff000, level - 1, address, r,
					  user_half);
				continue;
			}

			const std::uint64_t size = 1ULL << (12 + 9 * level);

			leaf({ *entry & 0x000ffffffffff000 & ~(size - 1), size, address,
			       r.writable, r.executable, r.user, user_half });
		}
	}

	void arm64_table(std::uint64_t table, int level, std::uint64_t va, rights above)
	{
		if (seen(table, level, above))
			return;
		for (unsigned i = 0; i < 512; i++) {
			const auto entry = guest.phys64(table + 8 * i);

			if (!entry || !(*entry & 1))
				continue;

			const std::uint64_t address =
				va | static_cast<std::uint64_t>(i) << (12 + 9 * level);

			if (level && (*entry & 2)) {
				/* APTable[1] takes writing away, PXNTable executing */
				const rights r {
					above.writable && !(*entry >> 62 & 1),
					above.executable && !(*entry >> 59 & 1),
					above.user && !(*entry >> 61 & 1),
				};

				arm64_table(*entry & 0x0000fffffffff000, level - 1, address, r);
				continue;
			}

			const std::uint64_t size = 1ULL << (12 + 9 * level);
			const bool read_only = (*entry >> 7 & 1) &&
					       !(dirty_by_hardware && (*entry >> 51 & 1));

			leaf({ *entry & 0x0000fffffffff000 & ~(size - 1), size, address,
			       above.writable && !read_only,
			       above.executable && !(*entry >> 53 & 1),
			       above.user && (*entry >> 6 & 1), false });
		}
	}

	/* no rights are handed down: only leaves have any */
	void riscv_table(std::uint64_t table, int level, int top, std::uint64_t va, bool user_half)
	{
		if (seen(table, level, {}))
			return;
		for (unsigned i = 0; i < 512; i++) {
			const auto entry = guest.phys64(table + 8 * i);

			if (!entry || !(*entry & 1))
				continue;

			const int shift = 12 + 9 * level;
			std::uint64_t address = va | static_cast<std::uint64_t>(i) << shift;
			const std::uint64_t pa = (*entry >> 10 & 0xfffffffffff) << 12;

			if (level == top) {
				user_half = i < 256;
				if (!user_half)
					address |= ~0ULL << (shift + 9);
			}
			if (!(*entry & 0xe)) {
				if (level)
					riscv_table(pa, level - 1, top, address, user_half);
				continue;
			}

			const std::uint64_t size = 1ULL << shift;

			leaf({ pa & ~(size - 1), size, address, (*entry & 4) != 0, (*entry & 8) != 0,
			       (*entry & 16) != 0, user_half });
		}
	}

	const qemu &guest;
	std::vector<mapping> &out;
	const std::uint64_t limit;
	std::uint64_t leaves = 0;
	std::set<std::tuple<std::uint64_t, int, rights>> visited;
	bool dirty_by_hardware = false;
};

/* Each CPU's value of what the monitor prints as NAME and a hexadecimal number. */
std::vector<std::uint64_t> registers(qemu &guest, const std::string &name)
{
	const std::string text = guest.monitor("info registers -a");
	std::vector<std::uint64_t> values;

	for (size_t at = 0; (at = text.find(name, at)) != text.npos; ) {
		at += name.size();
		values.push_back(strtoull(text.c_str() + at, nullptr, 16));
	}
	return values;
}

std::vector<std::uint64_t> x86_cr3(qemu &guest)
{
	return registers(guest, "CR3=");
}

bool x86_five_levels(qemu &guest)
{
	const std::string text = guest.monitor("info registers");
	const size_t at = text.find("CR4=");

	return at != text.npos && (strtoull(text.c_str() + at + 4, nullptr, 16) >> 12 & 1);
}

std::string hex(std::uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	return text;
}

std::string describe(const mapping &m)
{
	return hex(m.va) + "-" + hex(m.va + m.size) + " (physical " + hex(m.pa) + ")";
}

bool in_text_region(const std::string &arch, const mapping &m)
{
	return std::any_of(std::begin(text_regions), std::end(text_regions), [&](const region &r) {
		return arch == r.arch && m.va >= r.from && m.va + m.size - 1 <= r.to;
	});
}

const char *find_exception(const std::string &arch, const mapping &m)
{
	for (const auto &e : exceptions)
		if (arch == e.arch && m.pa >= e.from && m.end() <= e.to)
			return e.reason;
	return nullptr;
}

bool in_linear_mapping(const std::string &arch, std::uint64_t va)
{
	return std::any_of(std::begin(linear_mappings), std::end(linear_mappings),
			   [&](const region &r) { return arch == r.arch && va >= r.from && va <= r.to; });
}

bool all_pages_in(const std::set<std::uint64_t> &pages, const mapping &m)
{
	for (std::uint64_t pa = m.pa; pa < m.end(); pa += 4096)
		if (!pages.count(pa))
			return false;
	return true;
}

/* The part of a mapping that lies in the physical range. */
mapping part(mapping m, std::uint64_t from, std::uint64_t to)
{
	const std::uint64_t start = std::max(m.pa, from), end = std::min(m.end(), to);

	m.va += start - m.pa;
	m.pa = start;
	m.size = end - start;
	return m;
}

/* Ours must map VA to PA, with those permissions or stricter ones. */
std::string compare(const std::vector<mapping> &ours, std::uint64_t va, std::uint64_t pa, bool writable,
		    bool executable)
{
	auto next = std::upper_bound(ours.begin(), ours.end(), va,
				     [](std::uint64_t v, const mapping &m) { return v < m.va; });

	if (next == ours.begin() || va - (next - 1)->va >= (next - 1)->size ||
	    (next - 1)->pa + (va - (next - 1)->va) != pa)
		return "QEMU maps " + hex(va) + " to " + hex(pa) + ", the walker does not";
	if (((next - 1)->writable && !writable) || ((next - 1)->executable && !executable))
		return "QEMU and the walker disagree on " + hex(va);
	return "";
}

/*
 * QEMU's own view, "info tlb" (riscv: "info mem"), as a check on the walker:
 * every leaf that it lists must be one of ours.
 */
std::string compare_with_qemu(qemu &guest, const std::string &arch, std::vector<mapping> ours)
{
	const std::string command = arch == "riscv64" ? "info mem" : "info tlb";
	const std::string text = guest.monitor(command);
	size_t lines = 0;

	std::sort(ours.begin(), ours.end(),
		  [](const mapping &a, const mapping &b) { return a.va < b.va; });
	for (size_t at = 0; at < text.size(); ) {
		const size_t end = std::min(text.find('\n', at), text.size());
		std::uint64_t va, pa, size;
		char flags[16];
		std::string complaint;

		if (sscanf(text.c_str() + at, "%" SCNx64 ": %" SCNx64 " %15s", &va, &pa, flags) == 3) {
			const std::string_view f = flags;

			lines++;
			complaint = compare(ours, va, pa, f.find('W') != f.npos, f.find('X') == f.npos);
		} else if (sscanf(text.c_str() + at, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %15s", &va, &pa,
				  &size, flags) == 4) {
			lines++;
			complaint = compare(ours, va, pa, flags[1] == 'w', flags[2] == 'x');
		}
		if (!complaint.empty())
			return complaint;
		at = end + 1;
	}
	return lines ? "" : command + " printed nothing";
}

} // namespace

oracle_answer check_aliases(qemu &guest, const std::string &arch)
{
	std::vector<mapping> all;
	walker walk(guest, all);
	oracle_answer answer { oracle_answer::ok, "", {} };

	if (arch == "x86_64") {
		if (x86_five_levels(guest))
			return { oracle_answer::skip, "the guest runs with five page-table levels", {} };
		for (std::uint64_t cr3 : x86_cr3(guest))
			walk.x86(cr3);
	} else if (arch == "riscv64") {
		for (std::uint64_t satp : registers(guest, " satp "))
			walk.riscv(satp);
	} else if (arch != "arm64") {
		return { oracle_answer::skip, "the host reads the page tables of x86_64, arm64 and riscv64 only",
			 {} };
	} else {
		const auto tcr = guest.arm_register("TCR_EL1");

		for (std::uint64_t ttbr1 : guest.arm_register("TTBR1_EL1"))
			if (!tcr.empty())
				walk.arm64(ttbr1, tcr[0]);
	}
	if (!walk.problem.empty())
		return { oracle_answer::skip, walk.problem, {} };

	/*
	 * Executable: by the kernel, so the kernel's half and not the user's
	 * pages. Writable: by anybody, anywhere.
	 */
	std::vector<mapping> exec, writable;

	for (const auto &m : all) {
		if (m.executable && !m.user && !m.user_half)
			exec.push_back(m);
		if (m.writable)
			writable.push_back(m);
	}
	if (exec.empty())
		return { oracle_answer::not_ok, "found no executable kernel page at all: "
			 "the page tables were not read", {} };

	std::sort(writable.begin(), writable.end(),
		  [](const mapping &a, const mapping &b) { return a.pa < b.pa; });

	/* running maximum of the ends, so that overlapping ones are not missed */
	std::vector<std::uint64_t> reach;

	for (const auto &m : writable)
		reach.push_back(std::max(reach.empty() ? 0 : reach.back(), m.end()));

	std::uint64_t bytes = 0, large = 0, linear = 0;
	size_t bad = 0, excused = 0;
	std::set<std::uint64_t> text_pages;

	for (const auto &x : exec)
		if (in_text_region(arch, x))
			for (std::uint64_t pa = x.pa; pa < x.end(); pa += 4096)
				text_pages.insert(pa);

	for (const auto &x : exec) {
		bytes += x.size;
		if (x.size >= 2u << 20 && !(x.va & ((2u << 20) - 1)))
			large += x.size & ~((2ull << 20) - 1);

		if (!in_text_region(arch, x)) {
			const char *reason = find_exception(arch, x);

			if (in_linear_mapping(arch, x.va) && all_pages_in(text_pages, x)) {
				linear += x.size;
			} else if (reason) {
				excused++;
				answer.details.push_back("excused: executable " + describe(x) + ": " +
							 reason);
			} else {
				bad++;
				answer.details.push_back("executable where no text belongs: " +
							 describe(x));
			}
		}

		auto first = std::upper_bound(reach.begin(), reach.end(), x.pa) - reach.begin();

		for (size_t i = static_cast<size_t>(first);
		     i < writable.size() && writable[i].pa < x.end(); i++) {
			if (writable[i].end() <= x.pa)
				continue;

			const mapping w = part(writable[i], x.pa, x.end());
			const mapping both = part(x, w.pa, w.end());
			const std::string pair = w.va == both.va ?
				describe(both) + " is writable and executable" :
				"executable " + describe(both) + " is writable at " + hex(w.va);

			if (w.user_half && !w.user) {
				excused++;
				answer.details.push_back("excused: " + pair + ": text_poke() in progress, "
							 "the writing CPU's own mapping");
			} else if (++bad <= 20) {
				answer.details.push_back(pair);
			}
		}
	}

	std::string cross;

	if (arch == "x86_64" || arch == "riscv64") {
		std::vector<mapping> every;
		walker again(guest, every, 300000);

		if (arch == "x86_64")
			again.x86(x86_cr3(guest).at(0));
		else
			again.riscv(registers(guest, " satp ").at(0));
		/* KASAN's shadow would keep "info tlb" busy for hours */
		if (!again.too_many())
			cross = compare_with_qemu(guest, arch, std::move(every));
	}

	answer.text = std::to_string(bytes >> 12) + " executable pages (" +
		std::to_string(large >> 12) + " of them in 2 MB leaves or runs), " +
		std::to_string(bad) + " writable or out of place, " + std::to_string(excused) + " excused";
	if (linear)
		answer.text += "; " + std::to_string(linear >> 12) +
			" of them are text once more, in the linear mapping, as in 6.1";
	if (bad)
		answer.kind = oracle_answer::not_ok;
	if (!cross.empty()) {
		answer.kind = oracle_answer::not_ok;
		answer.text += "; " + cross;
	}
	return answer;
}
