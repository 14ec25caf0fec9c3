// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own lib/test_bpf.ko.  It runs when it is loaded and says in the
 * log how it went; the figures go to the host too, to be compared between
 * kernels.
 *
 * From number 800 of its first suite on it goes through all combinations of
 * registers and all magnitudes of operands: that is about what the JIT puts into
 * memory, not about the memory, and takes ten times as long as all others. With
 * "execmem_test_bpf=whole" on the command line these run too.
 */
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bpf.hpp"
#include "host.hpp"
#include "klog.hpp"
#include "ktap.hpp"
#include "modules.hpp"
#include "proc.hpp"
#include "run.hpp"

static std::vector<std::string> summaries;
static int load_error = -ENODEV;

static std::vector<std::string> parts()
{
	if (kernel_parameter("execmem_test_bpf") == "whole")
		return { "" };
	return { "test_suite=test_bpf test_range=0,799", "test_suite=test_tail_calls", "test_suite=test_skb_segment" };
}

static result runs()
{
	TRY(need_module("test_bpf", "CONFIG_TEST_BPF"));
	TRY(need_jit());
	log_mark mark;
	for (const std::string &part : parts()) {
		loaded_module m("test_bpf", part);
		load_error = m.err;
		if (load_error)
			break;
	}
	std::string log = mark.since();
	size_t shown = 0;

	for (const std::string &line : split(log)) {
		if (line.find("test_bpf: ") == line.npos)
			continue;
		if (line.find("Summary: ") != line.npos)
			summaries.push_back(line.substr(line.find("test_bpf: ")));
		else if (line.find(" FAIL") != line.npos && shown++ < 20)
			diag("%s", line.c_str());
	}
	host_channel host;
	for (const std::string &s : summaries) {
		diag("%s", s.c_str());
		host.send("summary " + s);
	}
	CHECK(!load_error, "loading test_bpf.ko: %s", strerror(-load_error));
	CHECK(summaries.size() == 3, "%zu summaries in the log, expected those of 3 suites", summaries.size());
	return pass();
}

static result none_failed()
{
	TRY(need_module("test_bpf", "CONFIG_TEST_BPF"));
	CHECK(!summaries.empty(), "no summary in the log");
	for (const std::string &s : summaries)
		CHECK(s.find(" 0 FAILED") != s.npos, "%s", s.c_str());
	return pass();
}

/* The JIT did work: an interpreter would pass as well. */
static result jited()
{
	size_t figures = 0;

	TRY(need_module("test_bpf", "CONFIG_TEST_BPF"));
	for (const std::string &s : summaries) {
		unsigned int done, all;
		size_t at = s.find('[');

		if (at == s.npos || sscanf(s.c_str() + at, "[%u/%u JIT'ed]", &done, &all) != 2)
			continue;
		CHECK(done > 0 && done * 100 >= all * 95, "only %u of %u JITed", done, all);
		figures++;
	}
	CHECK(figures, "no figure of JITed programs in the log");
	return pass();
}

int main()
{
	return run_cases({
		{ "runs", runs },
		{ "none_failed", none_failed, "runs" },
		{ "jited", jited, "runs" },
	});
}
