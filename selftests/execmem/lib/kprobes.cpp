// SPDX-License-Identifier: GPL-2.0
#include "kprobes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>

#include "arch.hpp"
#include "kcore.hpp"
#include "ktap.hpp"
#include "page_tables.hpp"

bool have_kprobe_events()
{
	return exists(tracefs("kprobe_events"));
}

std::string getppid_symbol(const kallsyms &ks)
{
	for (const char *s : { "__x64_sys_getppid", "__arm64_sys_getppid", "__s390x_sys_getppid",
			       "__ia32_sys_getppid", "__se_sys_getppid", "sys_getppid" })
		if (ks.has(s))
			return s;
	return "";
}

std::vector<std::string> aliases(const std::string &name)
{
	static const kallsyms ks;
	std::vector<std::string> v = { name };
	u64 addr = ks.addr(name);

	for (const symbol &s : ks.syms)
		if (addr && s.addr == addr && s.name != name)
			v.push_back(s.name);
	return v;
}

std::string kprobe_line(const std::string &symbol, unsigned int off)
{
	std::string bare = symbol.substr(symbol.find(':') + 1);

	for (const std::string &l : split(read_or_fail(debugfs("kprobes/list"))))
		for (const std::string &name : aliases(bare))
			if (l.find(" " + name + format("+0x%x ", off)) != l.npos)
				return l;
	return "";
}

int remove_kprobe_events(const std::string &group)
{
	const auto events = slurp(tracefs("kprobe_events"));
	int first = 0;

	if (!events)
		return -EIO;
	/* TYPE:GROUP/NAME WHERE; a return probe may have a number behind its type */
	for (const std::string &line : split(*events)) {
		const size_t colon = line.find(':'), end = std::min(line.find(' '), line.size());

		if (colon > end || line.substr(colon + 1, group.size() + 1) != group + "/")
			continue;
		int err = append(tracefs("kprobe_events"), "-" + line.substr(colon, end - colon) + "\n");
		if (err && !first)
			first = err;
	}
	return first;
}

kprobe_event::kprobe_event(const std::string &n, const std::string &what, const char *type) : name(n)
{
	err = append(tracefs("kprobe_events"),
		     std::string(type) + ":execmem/" + name + " " + what + "\n");
	/* Hits are counted all the same, and whoever traces this machine gets no events of ours. */
	if (!err)
		spit(dir() + "/filter", "common_pid < 0");
}

int kprobe_event::remove()
{
	if (err)
		return err;
	enable(false);
	err = -ENODEV;
	return append(tracefs("kprobe_events"), "-:execmem/" + name + "\n");
}

bool kprobe_event::optimised() const
{
	return kprobe_line(symbol, offset).find("[OPTIMIZED]") != std::string::npos;
}

std::pair<s64, s64> kprobe_event::counts() const
{
	for (const std::string &line : split(read_or_fail(tracefs("kprobe_profile")))) {
		std::vector<std::string> w = words(line);

		if (w.size() == 3 && w[0] == name)
			return { atoll(w[1].c_str()), atoll(w[2].c_str()) };
	}
	return { -1, -1 };
}

std::optional<std::set<unsigned int>> instructions(const std::string &symbol, unsigned int len)
{
	std::function<unsigned int(const u8 *)> length;
	std::set<unsigned int> starts;

	if (arch == arch_id::riscv)
		length = [](const u8 *p) { return (p[0] & 3) == 3 ? 4 : 2; };
	else if (arch == arch_id::s390)
		length = [](const u8 *p) { return p[0] < 0x40 ? 2 : p[0] < 0xc0 ? 4 : 6; };
	else
		return std::nullopt;

	const size_t colon = symbol.find(':');
	const std::string module = colon == symbol.npos ? "" : symbol.substr(0, colon);
	const u64 addr = kallsyms().addr(symbol.substr(module.empty() ? 0 : colon + 1), module);
	kcore core;
	std::string code = core.read(addr, len);

	if (code.size() < len) {
		/* riscv's image is elsewhere than its memory, and only that is in kcore */
		page_tables pt;
		const mapping *m = pt.find(addr);

		if (m)
			code = core.read_phys(m->phys + (addr - m->start), len);
	}
	for (size_t at = 0; at < code.size(); at += length(reinterpret_cast<const u8 *>(code.data()) + at)) {
		/* The first 8 bytes are ftrace's on riscv: nops of two bytes, or its call. */
		if (arch == arch_id::riscv && at < 8)
			continue;
		/*
		 * A probe on compare-and-branch goes on where the branch does not
		 * when it is taken, in 6.1 as it is, under TCG of QEMU 7.2.
		 */
		if (arch == arch_id::s390 && static_cast<u8>(code[at]) == 0xec)
			continue;
		starts.insert(at);
	}
	return starts;
}

std::vector<unsigned int> offsets_to_try(const std::string &symbol, unsigned int len)
{
	const unsigned int step = arch == arch_id::arm64 || arch == arch_id::powerpc ? 4 : 1;
	const auto starts = instructions(symbol, len);
	std::vector<unsigned int> offsets;

	for (unsigned int off = 4; off < len; off += step)
		if (!starts || starts->count(off))
			offsets.push_back(off);
	return offsets;
}

void kprobe_set::fill(const std::string &symbol, size_t most)
{
	for (unsigned int off : offsets_to_try(symbol, 80)) {
		if (names.size() >= most)
			return;
		std::string name = format("%s/p%zu", group.c_str(), names.size());

		if (!append(tracefs("kprobe_events"), format("p:%s %s+%u\n", name.c_str(), symbol.c_str(), off)))
			names.push_back(std::move(name));
	}
}

int kprobe_set::remove()
{
	int first = 0;

	for (const std::string &name : names) {
		int err = append(tracefs("kprobe_events"), "-:" + name + "\n");

		if (err && !first)
			first = err;
	}
	names.clear();
	return first;
}

std::unique_ptr<kprobe_event> kprobe_inside(const std::string &name, const std::string &symbol,
					    unsigned int first, unsigned int last)
{
	const auto starts = instructions(symbol, last + 1);

	for (unsigned int off = first; off <= last; off++) {
		if (starts && !starts->count(off))
			continue;
		auto ev = std::make_unique<kprobe_event>(name, symbol + format("+%u", off));

		if (ev->err)
			continue;
		if (ev->enable(true))
			continue;
		/* "[FTRACE]" in the list: still the entry. */
		if (kprobe_line(symbol, off).find("[FTRACE]") != std::string::npos)
			continue;
		ev->symbol = symbol;
		ev->offset = off;
		return ev;
	}
	return nullptr;
}

std::unique_ptr<kprobe_event> kprobe_optimised(const std::string &name, const std::string &symbol)
{
	for (unsigned int first = 1; first <= 40; ) {
		auto ev = kprobe_inside(name, symbol, first);

		if (!ev)
			break;
		if (wait_for(3000, [&] { return ev->optimised(); }))
			return ev;
		first = ev->offset + 1;
	}
	return nullptr;
}
