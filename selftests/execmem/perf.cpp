// SPDX-License-Identifier: GPL-2.0
/*
 * perf is told of text that comes and goes, and of each byte that is written to
 * text which runs: whoever traces the processor decodes what it did with that.
 * Memory that follows these records must be the memory that the kernel has.
 */
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "bpf_insn.hpp"
#include "btf.hpp"
#include "guest.hpp"
#include "kcore.hpp"
#include "ktap.hpp"
#include "load.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "types.hpp"

struct perf_record {
	u64 time;
	perf_event_header header;
	std::string body;	/* what is between header and time */

	template <typename T> T at(size_t offset) const
	{
		T value { };

		if (offset + sizeof(T) <= body.size())
			memcpy(&value, body.data() + offset, sizeof(T));
		return value;
	}
};

/* What one CPU has to tell. */
class perf_ring {
	static constexpr size_t data_size = 1 << 20;
	unique_fd fd;
	perf_event_mmap_page *page = nullptr;

public:
	int err = 0;

	explicit perf_ring(int cpu)
	{
		perf_event_attr attr { };

		attr.type = PERF_TYPE_SOFTWARE;
		attr.size = sizeof(attr);
		attr.config = PERF_COUNT_SW_DUMMY;
		attr.sample_type = PERF_SAMPLE_TIME;
		attr.sample_id_all = attr.ksymbol = attr.text_poke = 1;
		attr.use_clockid = 1;
		attr.clockid = CLOCK_MONOTONIC_RAW;
		fd = unique_fd(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
		if (fd.fd < 0) {
			err = errno;
			return;
		}
		void *p = mmap(nullptr, page_size() + data_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.fd, 0);
		if (p == MAP_FAILED)
			err = errno;
		else
			page = static_cast<perf_event_mmap_page *>(p);
	}

	~perf_ring()
	{
		if (page)
			munmap(page, page_size() + data_size);
	}

	perf_ring(const perf_ring &) = delete;
	perf_ring &operator=(const perf_ring &) = delete;

	/* All that is there; takes it out. */
	void drain(std::vector<perf_record> &records)
	{
		const u64 head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
		u64 tail = page->data_tail;

		while (tail < head) {
			perf_record r { };

			copy(&r.header, tail, sizeof(r.header));
			std::string rest(r.header.size - sizeof(r.header), '\0');
			copy(rest.data(), tail + sizeof(r.header), rest.size());
			r.body = rest.substr(0, rest.size() - sizeof(r.time));
			memcpy(&r.time, rest.data() + r.body.size(), sizeof(r.time));
			records.push_back(std::move(r));
			tail += records.back().header.size;
		}
		__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
	}

private:
	void copy(void *to, u64 from, size_t len) const
	{
		const char *data = reinterpret_cast<const char *>(page) + page_size();

		for (size_t i = 0; i < len; i++)
			static_cast<char *>(to)[i] = data[(from + i) % data_size];
	}
};

struct ksymbol {
	u64 addr;
	u32 len;
	uint16_t type;
	bool gone;
	std::string name;
};

/* What perf has told since this object was made. */
class listener {
	std::vector<std::unique_ptr<perf_ring>> rings;
	std::vector<perf_record> later;

public:
	std::vector<ksymbol> symbols;
	std::map<u64, u8> text;		/* what has been written and not been taken back */
	size_t pokes = 0;
	std::string error;

	listener()
	{
		for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
			rings.push_back(std::make_unique<perf_ring>(cpu));
			if (rings.back()->err && error.empty())
				error = format("perf_event_open() for CPU %d: %s", cpu, strerror(rings.back()->err));
		}
	}

	void listen()
	{
		timespec now;

		/* What comes while the rings are read, one after the other, is for the next time. */
		clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		std::vector<perf_record> records = std::move(later);
		later.clear();
		for (const auto &ring : rings)
			ring->drain(records);
		auto end = std::stable_partition(records.begin(), records.end(), [&](const perf_record &r) {
			return r.time < now.tv_sec * 1000000000ull + now.tv_nsec;
		});
		later.assign(end, records.end());
		records.erase(end, records.end());
		std::stable_sort(records.begin(), records.end(),
				 [](const perf_record &a, const perf_record &b) { return a.time < b.time; });
		for (const perf_record &r : records) {
			if (r.header.type == PERF_RECORD_KSYMBOL)
				symbols.push_back({ r.at<u64>(0), r.at<u32>(8), r.at<uint16_t>(12),
						    (r.at<uint16_t>(14) & PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER) != 0,
						    r.body.c_str() + 16 });
			else if (r.header.type == PERF_RECORD_TEXT_POKE)
				poke(r);
			else if (error.empty())
				error = r.header.type == PERF_RECORD_LOST ? "records were lost" :
					format("a record of type %u", r.header.type);
		}
	}

	/* Was it told that something of @type and that length came to @addr, or went? */
	bool told(u64 addr, u32 len, uint16_t type, bool gone) const
	{
		return std::any_of(symbols.begin(), symbols.end(), [&](const ksymbol &s) {
			return s.addr == addr && s.len == len && s.type == type && s.gone == gone;
		});
	}

	/* The length of what came last to @addr, or 0. */
	u32 length(u64 addr, uint16_t type) const
	{
		for (auto s = symbols.rbegin(); s != symbols.rend(); ++s)
			if (s->addr == addr && s->type == type)
				return s->gone ? 0 : s->len;
		return 0;
	}

private:
	/* ADDRESS OLD-LENGTH NEW-LENGTH OLD NEW */
	void poke(const perf_record &r)
	{
		const u64 addr = r.at<u64>(0);
		const uint16_t before = r.at<uint16_t>(8), after = r.at<uint16_t>(10);

		pokes++;
		for (uint16_t i = 0; i < before; i++) {
			auto known = text.find(addr + i);

			if (known == text.end())
				continue;
			if (known->second != r.at<u8>(12 + i) && error.empty())
				error = format("%#llx was %02x, and is said to have been %02x",
					       (unsigned long long)addr + i, known->second, r.at<u8>(12 + i));
			if (!after)
				text.erase(known);
		}
		for (uint16_t i = 0; i < after; i++)
			text[addr + i] = r.at<u8>(12 + before + i);
	}
};

static result need_perf(std::unique_ptr<listener> &perf)
{
	if (!exists("/proc/sys/kernel/perf_event_paranoid"))
		return skip("CONFIG_PERF_EVENTS is not set");
	perf = std::make_unique<listener>();
	CHECK(perf->error.empty(), "%s", perf->error.c_str());
	return pass();
}

/* BPF programs, with their names, places and lengths. */
static result programs()
{
	static constexpr int n = 20;
	std::unique_ptr<listener> perf;
	std::vector<bpf_image> images;

	TRY(need_jit());
	TRY(need_perf(perf));
	{
		std::vector<unique_fd> progs;

		for (int i = 0; i < n; i++) {
			progs.emplace_back(bpf_prog_load(bpf_return(i, 4 + i)));
			CHECK(progs.back(), "program: %s", strerror(-progs.back().fd));
			images.push_back(bpf_images(progs.back().fd).at(0));
		}
		/* The last may look as if they were from the future: clocks of CPUs differ a little. */
		u64 missing = 0;
		bool all = wait_for(2000, [&] {
			perf->listen();
			missing = 0;
			for (const bpf_image &p : images)
				if (!perf->told(p.addr, p.len, PERF_RECORD_KSYMBOL_TYPE_BPF, false))
					missing = p.addr;
			return !missing;
		});
		CHECK(all, "perf was not told of the program at %#llx", (unsigned long long)missing);
	}
	bool gone = wait_for(10000, [&] {
		perf->listen();
		return std::all_of(images.begin(), images.end(), [&](const bpf_image &p) {
			return perf->told(p.addr, p.len, PERF_RECORD_KSYMBOL_TYPE_BPF, true);
		});
	});
	CHECK(gone, "perf was not told that the programs are gone");
	CHECK(perf->error.empty(), "%s", perf->error.c_str());
	return pass();
}

/*
 * The size of a trampoline in its symbol is the one that perf is told. The symbol is
 * seen in a backtrace of the program that the trampoline calls. A program that prints
 * turns its event on for the whole machine.
 */
static result trampoline_size()
{
	std::unique_ptr<listener> perf;
	const std::string dir = tracefs("instances/execmem_backtrace");
	const std::string event = "events/bpf_trace/bpf_trace_printk";

	TRY(need_disruptive());
	TRY(need_bpf_trampolines());
	TRY(need_perf(perf));
	if (!exists(tracefs(event)))
		return skip("CONFIG_BPF_EVENTS is not set");
	const std::string on_for_all = tracefs(event + "/enable");
	CHECK(!set_for_now(on_for_all, trim(read_or_fail(on_for_all))), "%s is not a switch", event.c_str());
	CHECK(!mkdir(dir.c_str(), 0755), "%s: %s", dir.c_str(), strerror(errno));
	defer remove([&] {
		spit(dir + "/events/enable", "0");
		rmdir(dir.c_str());
	});
	for (const std::string &on : { std::string("options/stacktrace"), std::string("options/sym-offset"), event + "/enable" })
		CHECK(!spit(dir + "/" + on, "1"), "cannot turn on %s", on.c_str());
	/* trace_printk("hi") */
	unique_fd prog(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, {
		store_dw_imm(BPF_REG_10, -8, 'h' | 'i' << 8),
		mov_reg(BPF_REG_1, BPF_REG_10),
		add_imm(BPF_REG_1, -8),
		mov_imm(BPF_REG_2, 3),
		call_helper(BPF_FUNC_trace_printk),
		mov_imm(BPF_REG_0, 0),
		exit_insn(),
	}));
	CHECK(prog, "fentry: %s", strerror(-prog.fd));
	unique_fd link(bpf_attach(prog.fd));
	if (link.fd == -enotsupp || link.fd == -EOPNOTSUPP)
		return skip("no CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS on this architecture");
	CHECK(link, "attach: %s", strerror(-link.fd));
	u32 ret;
	CHECK(!bpf_run(prog.fd, &ret), "test run");

	/* => NAME+OFFSET/SIZE */
	const std::string trace = read_or_fail(dir + "/trace");
	const size_t at = trace.find("bpf_trampoline_");
	CHECK(at != trace.npos, "no trampoline in the backtrace: %s", trace.c_str());
	const std::string symbol = trace.substr(at, trace.find_first_of(" \n", at) - at);
	const std::string name = symbol.substr(0, symbol.find('+'));
	const size_t slash = symbol.find('/');
	CHECK(slash != symbol.npos, "no size: %s", symbol.c_str());
	const u32 size = strtoul(symbol.c_str() + slash + 1, nullptr, 16);
	u32 told = 0;
	wait_for(2000, [&] {
		perf->listen();
		for (const ksymbol &s : perf->symbols)
			if (s.name == name && !s.gone)
				told = s.len;
		return told != 0;
	});
	CHECK(perf->error.empty(), "%s", perf->error.c_str());
	CHECK(told && told == size, "%s; perf was told of %#x bytes", symbol.c_str(), told);
	return pass();
}

/* Does @list have that area, too, in use? */
static bool has(const pool_list &list, const area &a)
{
	const area *b = list.find(a.addr);

	return b && b->live() && b->addr == a.addr;
}

/* Of slots and trampolines each byte. */
static result text_pokes()
{
	std::unique_ptr<listener> perf;
	std::map<std::string, size_t> told;
	std::vector<area> slots;

	if (arch != arch_id::x86_64)
		return skip("this architecture does not tell perf what it writes to text");
	if (!exists(debugfs("execmem")))
		return skip("CONFIG_EXECMEM is not set (no <debugfs>/execmem)");
	/* Of what was there before perf was told before: trampolines of ftrace that stay. */
	const pool_list before;
	TRY(need_perf(perf));
	auto in_slots = [&](u64 addr) -> const area * {
		for (const area &a : slots)
			if (addr >= a.addr && addr - a.addr < a.size)
				return &a;
		return nullptr;
	};
	{
		live_load load(20);
		CHECK(load.error.empty(), "%s", load.error.c_str());
		/* Probes are optimised a while later, all that wait for it at once, which writes as well. */
		auto last = kprobe_optimised("last", getppid_symbol(kallsyms()));
		CHECK(last, "no kprobe becomes a jump");
		perf->listen();
		CHECK(perf->error.empty(), "%s", perf->error.c_str());

		const pool_list list;
		for (const area &a : list.areas)
			if (a.live() && (a.type == "kprobes" || a.type == "ftrace"))
				slots.push_back(a);
		kcore memory;
		for (const auto &[addr, byte] : perf->text) {
			const area *a = in_slots(addr);

			if (!a)
				continue;
			std::string is = memory.read(addr, 1);
			CHECK(is.size() == 1, "%#llx cannot be read", (unsigned long long)addr);
			CHECK(static_cast<u8>(is[0]) == byte, "%#llx (%s) is %02x, perf was told %02x",
			      (unsigned long long)addr, a->type.c_str(), static_cast<u8>(is[0]), byte);
			told[a->type]++;
		}
		diag("%zu records; bytes of kprobes that were told: %zu, of ftrace: %zu", perf->pokes,
		     told["kprobes"], told["ftrace"]);
		CHECK(told["kprobes"] && told["ftrace"], "perf was not told what was written");
		for (const area &a : slots) {
			if (a.type != "ftrace" || has(before, a))
				continue;
			const u32 length = perf->length(a.addr, PERF_RECORD_KSYMBOL_TYPE_OOL);
			CHECK(length && length <= a.size, "perf was told of %u bytes of a trampoline in %llu", length,
			      (unsigned long long)a.size);
			for (u64 at = a.addr; at < a.addr + length; at++)
				CHECK(perf->text.count(at), "perf was not told what is at %#llx", (unsigned long long)at);
			/* RET, then traps up to a pointer; or a jump that fills the room of both. */
			const std::string end = memory.read(a.addr + length - 13, 5);
			const size_t ret = end.rfind('\xc3');
			CHECK(end.size() == 5 && (end[0] == '\xe9' ||
			      (ret != end.npos && end.find_first_not_of('\xcc', ret + 1) == end.npos)),
			      "the trampoline at %#llx ends with %02x %02x %02x %02x %02x", (unsigned long long)a.addr,
			      end[0] & 0xff, end[1] & 0xff, end[2] & 0xff, end[3] & 0xff, end[4] & 0xff);
		}
	}
	/* The trampoline of ftrace_ops that are never freed stays with them, as in 6.1. */
	size_t freed = 0;
	std::string stale;
	bool gone = wait_for(20000, [&] {
		const pool_list list;
		freed = 0;
		stale.clear();
		for (const area &a : slots) {
			const bool live = has(list, a);

			freed += !live;
			if (live && a.type == "ftrace")
				continue;
			auto byte = perf->text.lower_bound(a.addr);
			if (byte != perf->text.end() && byte->first < a.addr + a.size)
				stale = format("%#llx (%s) is gone", (unsigned long long)byte->first, a.type.c_str());
		}
		perf->listen();
		return freed && stale.empty();
	});
	CHECK(gone && freed, "%zu areas are gone; perf was not told: %s", freed, stale.c_str());
	diag("%zu of %zu areas are gone, and perf was told", freed, slots.size());
	CHECK(perf->error.empty(), "%s", perf->error.c_str());
	return pass();
}

int main()
{
	return run_cases({
		{ "programs", programs },
		{ "trampoline_size", trampoline_size },
		{ "text_pokes", text_pokes },
	});
}
