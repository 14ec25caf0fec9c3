// SPDX-License-Identifier: GPL-2.0
/*
 * "bpftool prog dump xlated id ID" for the guest: what names the callees is the
 * code of tools/bpf/bpftool and kernel/bpf/disasm.c of the tree. All of bpftool
 * would need libelf for each architecture.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "main.h"
#include "xlated_dumper.h"

/* What the dumper calls for type and line information, which these programs have not. */
json_writer_t *json_wtr;

void btf_dump_linfo_plain(const struct btf *btf, const struct bpf_line_info *linfo,
			  const char *prefix, bool linum)
{
}

void btf_dumper_type_only(const struct btf *btf, __u32 type_id, char *func_only, int size)
{
	func_only[0] = 0;
}

const struct bpf_line_info *bpf_prog_linfo__lfind(const struct bpf_prog_linfo *prog_linfo,
						  __u32 insn_off, __u32 nr_skip)
{
	return NULL;
}

void fprint_hex(FILE *f, void *arg, unsigned int n, const char *sep)
{
}

static int die(const char *what)
{
	fprintf(stderr, "bpftool_dump: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	static struct bpf_insn insns[4096];
	static __u64 ksyms[64];
	struct bpf_prog_info info = { };
	struct dump_data dd = { };
	union bpf_attr attr;
	long fd;

	if (argc != 2) {
		fputs("usage: bpftool_dump PROGRAM-ID\n", stderr);
		return 2;
	}
	memset(&attr, 0, sizeof(attr));
	attr.prog_id = strtoul(argv[1], NULL, 10);
	fd = syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
	if (fd < 0)
		return die("no such program");

	info.xlated_prog_insns = ptr_to_u64(insns);
	info.xlated_prog_len = sizeof(insns);
	info.jited_ksyms = ptr_to_u64(ksyms);
	info.nr_jited_ksyms = ARRAY_SIZE(ksyms);
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = ptr_to_u64(&info);
	if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
		return die("no information");
	if (!info.jited_prog_len)
		info.nr_jited_ksyms = 0;

	kernel_syms_load(&dd);
	dd.nr_jited_ksyms = info.nr_jited_ksyms;
	dd.jited_ksyms = ksyms;
	dump_xlated_plain(&dd, insns, info.xlated_prog_len, false, false);
	kernel_syms_destroy(&dd);
	return 0;
}
