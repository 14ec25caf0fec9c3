// SPDX-License-Identifier: GPL-2.0-only
///
/// Memory from execmem has its permissions set by execmem_finish() and goes
/// back with execmem_free() or jit_free(). Changing its permissions, or freeing
/// it with vfree(), works behind the back of the allocator.
///
// Confidence: Moderate
// Comments: follows a pointer inside of one function only
// Options: --no-includes --include-headers
// Keywords: execmem_text_alloc, jit_text_alloc, execmem_data_alloc

virtual report
virtual context
virtual org

@alloc@
expression p;
position p1;
@@
  p = (\(execmem_text_alloc@p1\|jit_text_alloc@p1\|execmem_data_alloc@p1\)(...))

@perms@
expression alloc.p;
position p2;
@@
(
  set_memory_ro@p2((unsigned long)p, ...)
|
  set_memory_rw@p2((unsigned long)p, ...)
|
  set_memory_x@p2((unsigned long)p, ...)
|
  set_memory_nx@p2((unsigned long)p, ...)
|
  set_memory_rox@p2((unsigned long)p, ...)
|
  set_vm_flush_reset_perms@p2(p)
|
  vfree@p2(p)
|
  kvfree@p2(p)
|
  module_memfree@p2(p)
)

@script:python depends on report@
p2 << perms.p2;
@@
coccilib.report.print_report(p2[0], "WARNING: execmem owns the permissions and the freeing of this memory")

@script:python depends on org@
p2 << perms.p2;
@@
coccilib.org.print_todo(p2[0], "WARNING: execmem owns the permissions and the freeing of this memory")

@depends on context@
expression alloc.p;
position perms.p2;
identifier f;
@@
* f@p2(...)
