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
virtual org

@perms exists@
expression p, e;
position at;
@@
  p = \(execmem_text_alloc\|jit_text_alloc\|execmem_data_alloc\)(...)
  ... when any
      when != p = e
(
  set_memory_ro@at((unsigned long)p, ...)
|
  set_memory_rw@at((unsigned long)p, ...)
|
  set_memory_x@at((unsigned long)p, ...)
|
  set_memory_nx@at((unsigned long)p, ...)
|
  set_memory_rox@at((unsigned long)p, ...)
|
  set_vm_flush_reset_perms@at(p)
|
  vfree@at(p)
|
  kvfree@at(p)
|
  module_memfree@at(p)
)

@script:python depends on report@
at << perms.at;
@@
coccilib.report.print_report(at[0], "WARNING: execmem owns the permissions and the freeing of this memory")

@script:python depends on org@
at << perms.at;
@@
coccilib.org.print_todo(at[0], "WARNING: execmem owns the permissions and the freeing of this memory")
