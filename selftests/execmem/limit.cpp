// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_jit_limit is what keeps users without privilege from filling the addresses
 * that BPF shares with modules. So it has to be charged with all that text of BPF
 * takes of them: guard pages too, where text has pages of its own, and whoever it
 * is made for.
 *
 * What is taken is read in /proc/vmallocinfo, which counts guard pages, for areas
 * that the page tables say are executable. What lies in a pool is read in the list
 * of its areas.
 */
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.hpp"
#include "bpf.hpp"
#include "btf.hpp"
#include "ktap.hpp"
#include "page_tables.hpp"
#include "pool.hpp"
#include "proc.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "struct_ops.hpp"
#include "types.hpp"
#include "vmallocinfo.hpp"

static constexpr const char *limit_file = "/proc/sys/net/core/bpf_jit_limit";

/* What nobody may take beyond what is taken before. */
static constexpr u64 room = 64 << 10;

/* Bytes of addresses that text of BPF takes. */
static u64 taken()
{
	const page_tables pt;
	u64 n = 0;

	for (const vmalloc_area &a : vmallocinfo()) {
		const mapping *m = a.caller.starts_with("bpf_") ? pt.find(a.addr) : nullptr;

		if (m && m->exec)
			n += a.size;
	}
	return n + pool_list().live("bpf");
}

/* While it lives bpf_jit_limit is that much above what is taken. */
struct low_limit {
	const std::string was = read_or_fail(limit_file);
	const u64 limit = taken() + room;
	const int err = set_for_now(limit_file, std::to_string(limit));

	~low_limit() { spit(limit_file, was); }
};

/*
 * Somebody without privilege, who attaches filters of four instructions until that
 * is refused, and holds them. Without BPF_JIT_ALWAYS_ON it is never refused; what
 * is beyond the limit is interpreted then.
 */
class nobody {
	int to_child = -1, from_child = -1;
	pid_t child = -1;

	static constexpr unsigned int most = 2 * room / granule;

	[[noreturn]] static void run(int in, int out)
	{
		struct {
			int got = 0, err = 0;
		} answer;
		rlimit many { most + 64, most + 64 };
		char c;

		if (setrlimit(RLIMIT_NOFILE, &many) || setgid(65534) || setuid(65534))
			_exit(10);
		while (answer.got < static_cast<int>(most) && !answer.err) {
			int s = socket(AF_UNIX, SOCK_DGRAM, 0);

			answer.err = s < 0 ? -errno : attach_classic(s, 4);
			answer.got += !answer.err;
		}
		if (write(out, &answer, sizeof(answer)) != sizeof(answer))
			_exit(11);
		/* Until the other end is closed. */
		_exit(read(in, &c, 1) == 0 ? 0 : 12);
	}

public:
	int got = 0, err = -EIO;
	const u64 before = taken();

	nobody()
	{
		int in[2], out[2];

		if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
			return;
		child = fork();
		if (!child) {
			close(in[1]);
			close(out[0]);
			run(in[0], out[1]);
		}
		close(in[0]);
		close(out[1]);
		to_child = in[1];
		from_child = out[0];
		int answer[2];
		if (read(from_child, answer, sizeof(answer)) == sizeof(answer)) {
			got = answer[0];
			err = answer[1];
		}
	}

	~nobody()
	{
		close(to_child);
		close(from_child);
		waitpid(child, nullptr, 0);
	}

	nobody(const nobody &) = delete;
	nobody &operator=(const nobody &) = delete;

	/* The limit was what ended it, and it was not passed. */
	result judge(const low_limit &low) const
	{
		const u64 now = taken();

		diag("%d filters, then %s; %llu bytes are taken, the limit is %llu", got,
		     err ? format("error %d", -err).c_str() : "no more tries",
		     (unsigned long long)now, (unsigned long long)low.limit);
		CHECK(got > 0 && (!err || err == -enotsupp || err == -ENOTSUP || err == -EPERM || err == -ENOMEM),
		      "%d filters, then %s", got, strerror(-err));
		CHECK(now <= low.limit, "%llu bytes are taken beyond the limit",
		      (unsigned long long)(now - low.limit));
		/* All filters are alike. */
		const u64 each = (now - before) / got;
		CHECK(!err || now + each > low.limit, "refused with %llu bytes left, of which a filter takes %llu",
		      (unsigned long long)(low.limit - now), (unsigned long long)each);
		CHECK(now + 4 * page_size() > low.limit, "%llu bytes left", (unsigned long long)(low.limit - now));
		return pass();
	}
};

/* What was freed is so some time later: wait until it is. */
static bool back_to(u64 bytes)
{
	return wait_for(20000, [&] { return taken() <= bytes; });
}

static result need_limit()
{
	TRY(need_jit());
	if (!exists(limit_file))
		return skip("CONFIG_BPF_JIT is not set (no bpf_jit_limit)");
	TRY(need_dump());

	/* Is it seen at all? */
	const u64 before = taken();
	{
		unique_fd prog(bpf_prog_load(bpf_return(1, 500)));
		CHECK(prog && !bpf_images(prog.fd).empty(), "no program");
		CHECK(taken() >= before + bpf_images(prog.fd)[0].len, "a program takes nothing");
	}
	CHECK(back_to(before), "a program is not given back");
	return pass();
}

/* The image of the dispatcher comes with the first program for XDP that runs, and stays. */
static void make_dispatcher()
{
	bpf_load how;
	how.type = BPF_PROG_TYPE_XDP;
	unique_fd xdp(bpf_prog_load(bpf_return(2), how));
	u32 ret;

	if (xdp)
		bpf_run(xdp.fd, &ret, 2);
}

/* What one case has taken must be gone when the next one counts. */
static result given_back(result (*run)())
{
	make_dispatcher();
	const u64 before = taken();

	TRY(run());
	CHECK(back_to(before), "%llu bytes became %llu", (unsigned long long)before, (unsigned long long)taken());
	return pass();
}

/* Filters of somebody without privilege take what the limit allows, and no more. */
static result filters()
{
	TRY(need_limit());
	low_limit low;
	CHECK(!low.err, "cannot set bpf_jit_limit: %s", strerror(-low.err));
	nobody n;
	return n.judge(low);
}

/* What is given back is what was charged: each time the limit is where it was. */
static result again()
{
	TRY(need_limit());
	const u64 before = taken();
	low_limit low;
	CHECK(!low.err, "cannot set bpf_jit_limit: %s", strerror(-low.err));
	for (int i = 0; i < 3; i++) {
		{
			nobody n;
			TRY(n.judge(low));
		}
		CHECK(back_to(before), "%llu bytes became %llu", (unsigned long long)before,
		      (unsigned long long)taken());
	}
	return pass();
}

/* A trampoline counts as well: less is left for others. */
static result images()
{
	TRY(need_limit());
	TRY(need_bpf_trampolines());
	low_limit low;
	CHECK(!low.err, "cannot set bpf_jit_limit: %s", strerror(-low.err));
	const u64 before = taken();

	unique_fd prog(bpf_tracing_load("bpf_fentry_test1", BPF_TRACE_FENTRY, bpf_return(0)));
	CHECK(prog, "fentry: %s", strerror(-prog.fd));
	unique_fd link(bpf_attach(prog.fd));
	if (link.fd == -enotsupp || link.fd == -EOPNOTSUPP)
		return skip("no CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS on this architecture");
	CHECK(link, "attach: %s", strerror(-link.fd));
	const u64 with_trampoline = taken();
	CHECK(with_trampoline > before, "the trampoline is not seen");
	diag("%llu bytes for a trampoline", (unsigned long long)(with_trampoline - before));
	nobody n;
	return n.judge(low);
}

/* A congestion control made of BPF programs, which is there as long as the object. */
class congestion_control {
	const vmlinux_btf &btf = vmlinux_btf::get();
	const u32 ops = btf.id("tcp_congestion_ops", BTF_KIND_STRUCT);
	const u32 type = btf.id("bpf_struct_ops_tcp_congestion_ops", BTF_KIND_STRUCT);
	std::vector<unique_fd> progs;
	unique_fd map;
	u32 key = 0;

public:
	int err = 0;
	u64 image = 0;		/* what its trampolines take */

	congestion_control()
	{
		const u32 data = btf.find_member(type, "data").offset;
		unique_fd some = some_btf();
		union bpf_attr attr = bpf_zero();
		std::string value(btf.size(type), '\0');

		attr.map_type = BPF_MAP_TYPE_STRUCT_OPS;
		attr.key_size = sizeof(key);
		attr.value_size = value.size();
		attr.max_entries = 1;
		attr.btf_fd = some.fd;
		attr.btf_vmlinux_value_type_id = type;
		map = unique_fd(sys_bpf(BPF_MAP_CREATE, attr));
		err = map ? 0 : map.fd;
		for (const char *member : { "ssthresh", "undo_cwnd", "cong_avoid" }) {
			progs.push_back(struct_ops_prog("tcp_congestion_ops", member, bpf_return(10)));
			const u64 fd = progs.back().fd;

			if (!err && !progs.back())
				err = progs.back().fd;
			memcpy(&value[data + btf.find_member(ops, member).offset], &fd, sizeof(long));
		}
		strcpy(&value[data + btf.find_member(ops, "name").offset], "execmem_limit");
		const u64 before = taken();
		if (!err)
			err = bpf_map_update(map.fd, &key, value.data());
		image = taken() - before;
	}

	~congestion_control()
	{
		union bpf_attr attr = bpf_zero();

		attr.map_fd = map.fd;
		attr.key = ptr(&key);
		if (!err)
			sys_bpf(BPF_MAP_DELETE_ELEM, attr);
	}

	congestion_control(const congestion_control &) = delete;
	congestion_control &operator=(const congestion_control &) = delete;
};

/* The trampolines of a struct_ops map are as long as they are, in a pool; else they have a page. */
static result struct_ops()
{
	TRY(need_limit());
	TRY(need_struct_ops("bpf_struct_ops_tcp_congestion_ops", "CONFIG_INET"));
	low_limit low;
	CHECK(!low.err, "cannot set bpf_jit_limit: %s", strerror(-low.err));
	congestion_control cc;
	if (cc.err == -enotsupp)
		return skip("no BPF trampolines on this architecture");
	CHECK(!cc.err, "struct_ops: %s", strerror(-cc.err));
	diag("%llu bytes for three trampolines", (unsigned long long)cc.image);
	/* On no architecture is one of them longer than 250 bytes. */
	CHECK(cc.image && (have_pool() ? cc.image <= 768 : cc.image >= page_size()), "the image takes %llu bytes",
	      (unsigned long long)cc.image);
	nobody n;
	return n.judge(low);
}

int main()
{
	return run_cases({
		{ "filters", [] { return given_back(filters); } },
		{ "again", [] { return given_back(again); } },
		{ "images", [] { return given_back(images); } },
		{ "struct_ops", [] { return given_back(struct_ops); } },
	});
}
