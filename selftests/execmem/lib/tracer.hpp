/* SPDX-License-Identifier: GPL-2.0 */
/* The function tracer. */
#ifndef EXECMEM_TRACER_HPP
#define EXECMEM_TRACER_HPP

#include <string>

#include "proc.hpp"

bool have_function_tracer();

/* The name under which the function tracer knows the getppid system call. */
std::string traceable_getppid();

/* A trace instance that traces one function: an ftrace_ops of its own. */
struct trace_instance {
	std::string dir;
	int err = 0;

	trace_instance(const std::string &name, const std::string &function);

	~trace_instance() { remove(); }
	trace_instance(const trace_instance &) = delete;
	trace_instance &operator=(const trace_instance &) = delete;

	int remove();

	std::string trace() const { return read_or_fail(dir + "/trace"); }

	size_t count(const std::string &function) const;
};

#endif /* EXECMEM_TRACER_HPP */
