#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Programs that look at the kernel, on the x86-64 default kernel:
#
#   tools.sh perf   perf of the patched tree (made here, static) names the module
#                   and the program of each sample: selftests/execmem/perf_names.cpp
#   tools.sh dump   crash and drgn of this machine read a dump of a guest
#                   with modules: selftests/execmem/dump.cpp. A tool that is not
#                   there, or of a version that cannot, is skipped, and said so;
#                   one has to be there
#
# Says "ok NAME", "not ok NAME: REASON" or "skip NAME: REASON" of each; exit status 1
# for a "not ok". Environment: BUILT=1 to boot what was built last; PERF=, CRASH=,
# DRGN= programs to take instead.

. "$(dirname "$0")/common.sh"
arguments perf dump -- "$@"
(($#)) || misused 'which? perf or dump'
export ARCH=x86_64 FLAVOUR=default
check_arch
scripts=$top/scripts
out=$build/$ARCH-$FLAVOUR
kernel=$out/kernel
home=$build/tools-$1
bad=0 looked=0
mkdir -p "$home"

ok() { echo "ok $1"; looked=1; }
not_ok() { echo "not ok $1: $2"; bad=1 looked=1; }

# The first versions that read a struct module with mem[].
first_crash=8.0.4
first_drgn=0.0.23

if [[ ! ${BUILT:-} ]]; then
	"$scripts/host-setup.sh"
	"$scripts/series.sh" apply
	"$scripts/build-kernel.sh"
	"$scripts/build-guest.sh"
fi

# boot TEST [PARAMETERS]: the guest of all tests, with what is in $home/add and that test alone
boot() {
	local test=$1 stage=$home/add
	mkdir -p "$stage/tests"
	cp "$out/tests/$test" "$stage/tests/"
	echo "$test 600 guest" > "$stage/tests/list"
	(cd "$stage" && find . -type f -printf "file /%P $stage/%P 0755 0 0\n") > "$home/list"
	"$kernel/usr/gen_init_cpio" "$home/list" > "$home/add.cpio" || die 'the initramfs could not be written'
	# of several archives the last has its way
	cat "$out/initrd" "$home/add.cpio" > "$home/initrd"
	"$build/host/run-guest" --arch "$ARCH" --dir "$home" --tree "$tree" --kernel "$out/vmlinuz" \
		--initrd "$home/initrd" --list "$stage/tests/list" --tests "$test" \
		--config "$kernel/.config" --flavour "$FLAVOUR" \
		--append "kunit.enable=0 ${2:-}"
}

# --- perf -----------------------------------------------------------------------

# Without all that it does not need here: no library is missing then, and it is static.
make_perf() {
	local without=(LIBPYTHON LIBPERL SLANG GTK2 LIBELF DWARF LIBUNWIND LIBBPF LIBCRYPTO LIBAUDIT LIBNUMA LIBZSTD
		LZMA AUXTRACE JVMTI LIBCAP LIBPFM4 LIBDEBUGINFOD LIBTRACEEVENT DEMANGLE SDT)
	local cc=gcc
	! command -v ccache > /dev/null || cc='ccache gcc'
	mkdir -p "$home/perf"
	run_logged "$home/perf.log" 'perf' make -C "$tree/tools/perf" O="$home/perf" CC="$cc" EXTRA_CFLAGS=-O2 \
		LDFLAGS=-static WERROR=0 BUILD_BPF_SKEL= "${without[@]/%/=1}" JOBS="$(nproc)" "$home/perf/perf"
}

check_perf() {
	local perf=${PERF:-}
	if [[ ! $perf ]]; then
		make_perf
		perf=$home/perf/perf
	fi
	rm -rf "$home/add"
	mkdir -p "$home/add/tests"
	cp "$perf" "$home/add/tests/perf-tool"
	strip "$home/add/tests/perf-tool"
	if boot perf_names; then ok 'perf: modules'; else not_ok 'perf: modules' 'see above'; fi
	# programs are in between modules only where there is no pool
	if boot perf_names execmem=off; then ok 'perf: modules and programs'; else
		not_ok 'perf: modules and programs' 'see above'
	fi
}

# --- crash and drgn ----------------------------------------------------

# usable TOOL VERSION FIRST
usable() {
	[[ $2 ]] || { echo "skip $1: not installed"; return 1; }
	at_most "$3" "$2" || { echo "skip $1: $2 does not know this struct module, $3 and later do"; return 1; }
}

# VMCOREINFO, without which drgn reads no dump, is told to QEMU by a driver that the
# guest's configuration leaves out.
make_fw_cfg() {
	mkdir -p "$home/fw_cfg"
	cp "$tree/drivers/firmware/qemu_fw_cfg.c" "$home/fw_cfg/"
	printf '%s\n' 'obj-m := qemu_fw_cfg.o' 'ccflags-y := -DCONFIG_FW_CFG_SYSFS_CMDLINE' > "$home/fw_cfg/Kbuild"
	run_logged "$home/fw_cfg.log" 'qemu_fw_cfg' make -C "$kernel" M="$home/fw_cfg" ARCH="$karch" modules
	mkdir -p "$home/add/modules"
	strip --strip-debug -o "$home/add/modules/qemu_fw_cfg.ko" "$home/fw_cfg/qemu_fw_cfg.ko"
}

# judge TOOL RESULT [names]: what it said is in $home/TOOL.out
judge() {
	local said
	if said=$("$home/symbols" judge "$2" "$home/$1.out" "${@:3}"); then
		ok "$1: $said"
	else
		echo "$said"
		not_ok "$1" "$(tail -n 1 <<< "$said") (build/tools-dump/$1.out)"
	fi
}

check_crash() {
	local crash=${CRASH:-crash} version
	version=$("$crash" --version 2> /dev/null | sed -n 's/^crash \([0-9.]*\).*/\1/p') || true
	usable crash "$version" "$first_crash" || return 0
	"$home/symbols" crash "$home/result.ktap" > "$home/crash.in"
	"$crash" -s -i "$home/crash.in" "$kernel/vmlinux" "$home/memory.dump" > "$home/crash.out" 2>&1 < /dev/null ||
		{ tail -n 5 "$home/crash.out"; not_ok crash "ends with an error (build/tools-dump/crash.out)"; return; }
	judge crash "$home/result.ktap"
}

# It takes the symbols of a module from its file: so none of modules with other names.
check_drgn() {
	local drgn=${DRGN:-drgn} version ko module files=(-s "$kernel/vmlinux") known=()
	version=$("$drgn" --version 2> /dev/null | sed -n 's/^drgn \([0-9.]*\).*/\1/p') || true
	usable drgn "$version" "$first_drgn" || return 0
	while read -r module; do
		ko=$(find "$kernel" "$out/tests/obj/mod" "$home/fw_cfg" -name "${module//_/[_-]}.ko" -print -quit)
		[[ $ko ]] || continue
		files+=(-s "$ko")
		known+=("$module")
	done < <(sed -n 's/^ *# symbol \([^ ]*\) t .*/\1/p' "$home/result.ktap")
	((${#known[@]})) || { not_ok drgn 'no file of any module'; return; }
	printf '%s\n' "${known[@]}" | sed 's/.*/^ *# symbol & /' | grep -f - "$home/result.ktap" > "$home/drgn.symbols"
	"$home/symbols" drgn "$home/drgn.symbols" > "$home/drgn.in"
	"$drgn" -q --no-default-symbols -c "$home/memory.dump" "${files[@]}" "$scripts/harness/dump.py" \
		< "$home/drgn.in" > "$home/drgn.out" 2>&1 ||
		{ tail -n 5 "$home/drgn.out"; not_ok drgn "ends with an error (build/tools-dump/drgn.out)"; return; }
	# 0.0.31 finds no data of a module by its address, on mainline as here (its issue 501)
	judge drgn "$home/drgn.symbols" names
}

check_dump() {
	rm -rf "$home/add"
	g++ -std=c++20 -O2 -Wall -Wextra -Werror -o "$home/symbols" "$scripts/harness/symbols.cpp" ||
		die 'symbols.cpp does not compile'
	make_fw_cfg
	boot dump || { not_ok dump 'see above'; return; }
	check_crash
	check_drgn
	rm -f "$home/memory.dump"
	((looked)) || not_ok dump "nothing has read it: CRASH= and DRGN= name programs of other versions"
}

case $1 in
perf) check_perf ;;
dump) check_dump ;;
esac
exit "$bad"
