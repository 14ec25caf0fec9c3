// SPDX-License-Identifier: GPL-2.0-only
///
/// Memory from execmem_text_alloc() and execmem_data_alloc() goes back with
/// execmem_free(), that from jit_text_alloc() with jit_free(). vfree() takes it
/// away while execmem still counts it as allocated.
///
// Confidence: Moderate
// Options: --no-includes --include-headers
// Keywords: execmem_text_alloc, jit_text_alloc, execmem_data_alloc
// Comments: Follows a pointer to the end of the function that allocates, and through
//	members of structures and global variables to other functions in the
//	files that spatch is given at once.
//

virtual context
virtual org
virtual report

@initialize:python@
@@
def reset():
    global found, members, variables
    found = {}                  # (file, line, column): position
    members = set()             # (structure, member) that holds memory of execmem
    variables = set()           # the same for global variables


def note(p):
    found[p.file, int(p.line), int(p.column)] = p


def noted(p):
    return (p.file, int(p.line), int(p.column)) in found


def explain(show):
    for spot in sorted(found):
        show(found[spot], 'WARNING: execmem_free() or jit_free() frees this memory')

@here@
@@
\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)

@script:python depends on here@
@@
reset()

// In the function that allocates

@flow depends on here exists@
expression p, e;
type T, T2;
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at;
@@
  p = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
  ... when any
      when != p = e
  f@at((T2)p)

@script:python@
at << flow.at;
@@
note(at[0])

@flow_on depends on here exists@
expression p, e;
local idexpression x;
type T, T2, T3;
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at;
@@
  p = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
  ... when any
      when != p = e
  x = (T2)p
  ... when any
      when != x = e
  f@at((T3)x)

@script:python@
at << flow_on.at;
@@
note(at[0])

// Where the pointer is stored

@stored depends on here@
type S, T;
S *s;
S v;
identifier m;
idexpression x;
@@
(
  s->m = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
|
  v.m = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
|
  s->m = x = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
)

@stored_later depends on here exists@
type S, T, T2;
S *s;
S v;
identifier m;
idexpression x;
expression e;
@@
  x = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
  ... when any
      when != x = e
(
  s->m = (T2)x
|
  v.m = (T2)x
)

@stored_global depends on here@
type T;
global idexpression g;
@@
  g = (T)\(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)

@script:python@
S << stored.S;
m << stored.m;
@@
members.add((S, m))

@script:python@
S << stored_later.S;
m << stored_later.m;
@@
members.add((S, m))

@script:python@
g << stored_global.g;
@@
variables.add(g)

// Where it is used from there

@member_used depends on here@
type S, T;
S *s;
S v;
identifier m;
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at;
@@
(
  f@at((T)s->m)
|
  f@at((T)v.m)
)

@script:python@
S << member_used.S;
m << member_used.m;
at << member_used.at;
@@
if (S, m) in members:
    note(at[0])

@member_loaded depends on here exists@
type S, T, T2;
S *s;
S v;
identifier m;
local idexpression x;
expression e;
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at;
@@
(
  x = (T)s->m
|
  x = (T)v.m
)
  ... when any
      when != x = e
  f@at((T2)x)

@script:python@
S << member_loaded.S;
m << member_loaded.m;
at << member_loaded.at;
@@
if (S, m) in members:
    note(at[0])

@global_used depends on here@
type T;
global idexpression g;
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at;
@@
  f@at((T)g)

@script:python@
g << global_used.g;
at << global_used.at;
@@
if g in variables:
    note(at[0])

@script:python depends on here && report@
@@
explain(coccilib.report.print_report)

@script:python depends on here && org@
@@
explain(coccilib.org.print_todo)

@depends on here && context@
identifier f = {vfree, vfree_atomic, kvfree, kfree, module_memfree, bpf_jit_free_exec,
		free_insn_page};
position at : script:python() { noted(at[0]) };
@@
* f@at
