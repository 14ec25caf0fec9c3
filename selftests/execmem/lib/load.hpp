/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Put run-time kernel text of every kind to use at once: modules, BPF
 * programs and trampolines, kprobes (also jump-optimised ones), ftrace
 * trampolines.  What the kernel lacks is left out and said so.
 */
#ifndef EXECMEM_LOAD_HPP
#define EXECMEM_LOAD_HPP

#include <memory>
#include <string>
#include <vector>

#include "bpf.hpp"
#include "btf.hpp"
#include "kprobes.hpp"
#include "modules.hpp"
#include "tracer.hpp"

struct live_load {
	static constexpr unsigned int nr_modules = 100, nr_bpf = 100, nr_kprobes = 20, nr_instances = 3;

	std::unique_ptr<module_clones> modules;
	std::vector<unique_fd> bpf_progs;
	std::vector<unique_fd> bpf_links;
	std::vector<std::unique_ptr<kprobe_event>> kprobes;
	std::vector<std::unique_ptr<trace_instance>> instances;
	std::string error;	/* what should have worked and did not */

	explicit live_load(unsigned int percent = 100);

private:
	void note(const char *what, int err);

	void load_bpf(unsigned int n);

	void load_kprobes(const kallsyms &ks, unsigned int n);

	void load_ftrace(unsigned int n);
};

#endif /* EXECMEM_LOAD_HPP */
