// SPDX-License-Identifier: GPL-2.0
#include "load.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "arch.hpp"

live_load::live_load(unsigned int percent)
{
	kallsyms ks;

	if (have_modules()) {
		modules = std::make_unique<module_clones>(nr_modules * percent / 100);
		if (modules->err)
			note("modules", modules->err);
	}
	if (need_jit().verdict == result::PASS)
		load_bpf(nr_bpf * percent / 100);
	if (have_kprobe_events())
		load_kprobes(ks, std::max(2u, nr_kprobes * percent / 100));
	if (have_function_tracer())
		load_ftrace(std::max(2u, nr_instances * percent / 100));
	diag("live: %zu modules, %zu BPF programs, %zu BPF trampolines, %zu kprobes, %zu ftrace instances",
	     modules ? modules->names.size() : 0, bpf_progs.size(), bpf_links.size(),
	     kprobes.size(), instances.size());
}

void live_load::note(const char *what, int err)
{
	if (error.empty())
		error = format("%s: %s", what, strerror(-err));
}

void live_load::load_bpf(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		int fd = bpf_prog_load(bpf_return(i, 4 + i * 8));

		if (fd < 0)
			return note("BPF program", fd);
		bpf_progs.emplace_back(fd);
	}
	if (need_bpf_trampolines().verdict != result::PASS)
		return;
	for (const char *func : { "bpf_fentry_test1", "bpf_fentry_test2", "bpf_fentry_test3" }) {
		int fd = bpf_tracing_load(func, BPF_TRACE_FENTRY, bpf_return(0));

		if (fd == -ENOENT)	/* CONFIG_NET has them */
			continue;
		if (fd < 0)
			return note("fentry program", fd);
		unique_fd prog(fd);
		int link = bpf_attach(fd);

		/* No trampolines on this architecture. */
		if (link == -enotsupp || link == -EOPNOTSUPP)
			return;
		if (link < 0)
			return note("fentry attach", link);
		bpf_links.emplace_back(link);
	}
}

void live_load::load_kprobes(const kallsyms &ks, unsigned int n)
{
	static const char * const functions[] = {
		"vfs_read", "vfs_write", "vfs_open", "vfs_statx", "ksys_read",
		"ksys_write", "do_sys_openat2", "do_truncate", "vfs_mkdir",
		"vfs_rmdir", "vfs_unlink", "vfs_link", "vfs_symlink", "vfs_rename",
		"vfs_fsync_range", "vfs_getattr", "dput", "mntput", "iput", "fput",
		"filp_close", "kernel_read", "kernel_write", "vfs_readlink",
	};

	for (const char *f : functions) {
		if (kprobes.size() >= n)
			break;
		if (!ks.has(f))
			continue;
		auto ev = kprobe_inside(format("load%zu", kprobes.size()), f);

		if (ev)
			kprobes.push_back(std::move(ev));
	}
	if (kprobes.empty())
		note("no kprobe could be placed", -EINVAL);
	if (modules && !modules->names.empty()) {
		auto ev = kprobe_inside("load_mod", modules->names[0] + ":execmem_clone_work");

		if (ev)
			kprobes.push_back(std::move(ev));
		else
			note("no kprobe in a module", -EINVAL);
	}
}

void live_load::load_ftrace(unsigned int n)
{
	std::string fn = traceable_getppid();

	for (unsigned int i = 0; i < n; i++) {
		auto t = std::make_unique<trace_instance>(format("execmem%u", i), fn);

		if (t->err)
			return note("trace instance", t->err);
		instances.push_back(std::move(t));
	}
}
