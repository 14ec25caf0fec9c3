// SPDX-License-Identifier: GPL-2.0
/*
 * Where run-time text lies and with which permissions, for people: page-table
 * dump joined with kallsyms, while a load is live.  The same lines go to the
 * host for its summary.
 */
#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "arch.hpp"
#include "host.hpp"
#include "kallsyms.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "page_tables.hpp"
#include "run.hpp"
#include "types.hpp"

struct user {
	u64 lo = ~0ULL, hi = 0;
	size_t pieces = 0, pages = 0, writable = 0, large = 0;

	void add(u64 addr) { lo = std::min(lo, addr); hi = std::max(hi, addr); pieces++; }
};

static const char *user_of(const symbol &s)
{
	if (s.module.empty())
		return nullptr;
	if (s.name.starts_with("bpf_trampoline_") || s.name.starts_with("bpf_dispatcher_"))
		return "BPF trampoline";
	if (s.module == "bpf")
		return "BPF program";
	if (s.module == "__builtin__kprobes")
		return s.name == "kprobe_optinsn_page" ? "optprobe slots" : "kprobe slots";
	if (s.module == "__builtin__ftrace")
		return s.name == "ftrace_trampoline" ? "ftrace trampoline" : nullptr;
	if (s.module.starts_with("__builtin__"))
		return nullptr;
	return strchr("tTwW", s.type) ? "module text" : nullptr;
}

static result table()
{
	TRY(need_dump());
	live_load load(50);
	page_tables pt;
	kallsyms ks;
	host_channel host;
	std::map<std::string, user> users;
	std::map<u64, std::string> page_user;
	size_t total = 0, unnamed = 0;
	u64 text = ks.addr("_text"), end = ks.addr("_end");

	CHECK(load.error.empty(), "%s", load.error.c_str());
	for (const symbol &s : ks.syms) {
		if (const char *u = user_of(s)) {
			users[u].add(s.addr);
			page_user.emplace(s.addr & -page_size(), u);
		}
	}
	for (const mapping &m : pt.maps) {
		if (!m.exec || (m.start < end && m.end > text))
			continue;
		bool large = m.level != "pte" && m.level != "PTE";

		for (u64 a = m.start; a < m.end; a += page_size()) {
			auto it = page_user.find(a);

			total++;
			if (it == page_user.end()) {
				unnamed++;
				continue;
			}
			user &u = users[it->second];
			u.pages++;
			u.writable += m.write;
			u.large += large;
		}
	}
	auto tell = [&](const std::string &line) {
		diag("%s", line.c_str());
		host.send("summary " + line);
	};
	tell(format("%-18s %18s-%-18s %6s %6s %s", "run-time text", "lowest", "highest", "pieces", "pages", "mapped"));
	for (const auto &[name, u] : users)
		tell(format("%-18s 0x%016llx-0x%016llx %6zu %6zu %s%s", name.c_str(), (unsigned long long)u.lo,
			    (unsigned long long)u.hi, u.pieces, u.pages, u.writable ? "W+X!" : "ROX",
			    u.large == u.pages ? " large" : u.large ? " partly large" : ""));
	tell(format("executable outside the image: %zu pages, %zu of them without a symbol of their own",
		    total, unnamed));
	tell(format("W+X in the whole kernel address space: %zu ranges", pt.wx().size()));
	/* A symbol that is not in an executable page was given away or never protected. */
	for (const symbol &s : ks.syms) {
		const char *u = user_of(s);

		if (!u)
			continue;
		const mapping *m = pt.find(s.addr);
		CHECK(m && m->exec && !m->write, "%s %s at %#llx: %s", u, s.name.c_str(),
		      (unsigned long long)s.addr, m ? m->line.c_str() : "not mapped");
	}
	CHECK(!users.empty(), "no run-time text was found");
	return pass();
}

int main()
{
	return run_cases({ { "every_symbol_is_rox", table } });
}
