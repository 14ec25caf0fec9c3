#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# The kernel tree's own selftests (selftests/tree/list) on the stock and on the
# patched kernel, of the same configuration, compared test by test.
#
# Builds FLAVOUR=tree-stock and FLAVOUR=tree, each with a guest that has the
# tests of its own tree and, out of the host's Debian, the programs that they
# call. Each suite has a boot of its own, so that none suffers from what another
# leaves behind. Tests that differ run once more on both. x86-64 only.
#
# Environment: BASE; TESTS=a,b (suites); ACCEL=kvm; BUILT=1 to boot what the last
# run built; APPEND_PATCHED= parameters for the patched kernel alone, to see a
# difference; SLOW=N multiplies all limits of time.
#
# Leaves build/tree-selftests/: table, and the runs stock, patched, stock-again,
# patched-again, with a directory for each suite. A run that came to its end is
# taken as it is the next time, unless something that goes into it has changed.
# Exit status 1 for a difference that stays.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
ARCH=x86_64
export ARCH
unset EXTRA_CONFIG APPEND
scripts=$top/scripts
harness=$scripts/harness
lists=$top/selftests/tree
home=$build/tree-selftests
flags=(-std=c++20 -O2 -Wall -Wextra -Werror -I "$top/selftests/execmem/lib")
[[ $(uname -m) = x86_64 ]] || die 'the guest gets programs of the host: this needs an x86-64 host'

# What the scripts call, by the package that has it: Debian's essential ones,
# and those that host-setup.sh installs.
programs=(
	sh bash
	'[' basename cat chmod comm cp cut date dirname echo env expr false head id ln ls md5sum mkdir mktemp
	dd mv nproc od printf pwd readlink realpath rm rmdir seq sleep sort stat sync tail tee test timeout touch
	tr true uname uniq wc
	awk diff cmp egrep fgrep grep sed find xargs which
	chrt dmesg mount taskset umount
	pidof pgrep ps sysctl
	depmod insmod kmod lsmod modinfo modprobe rmmod
	capsh ping
)

# put STAGE PROGRAM...: at the same place in the guest, and their libraries
put() {
	local stage=$1 path paths=()
	shift
	for path; do
		paths+=("$(PATH=/usr/bin:/usr/sbin:/bin:/sbin type -P -- "$path")") ||
			die "'$path' is not installed, a test of the tree calls it"
	done
	put_libraries "$stage" "${paths[@]}"
	for path in "${paths[@]}"; do
		mkdir -p "$stage${path%/*}"
		cp -L "$path" "$stage$path"
	done
}

# put_libraries STAGE FILE...
put_libraries() {
	local stage=$1 path
	shift
	while read -r path; do
		mkdir -p "$stage${path%/*}"
		cp -L "$path" "$stage$path"
	done < <(ldd "$@" 2> /dev/null | grep -oE '/[^ :]+\.so[^ :]*' | LC_ALL=C sort -u)
}

# archive STAGE INITRD: and INITRD.id, what is in it. pack() has set kernel.
archive() {
	local stage=$1 initrd=$2
	{
		echo 'nod /dev/console 0600 0 0 c 5 1'
		# a directory comes before what is in it
		find "$stage" -mindepth 1 \( -type d -printf 'dir /%P %m 0 0\n' \) -o \
			\( -type l -printf 'slink /%P %l 0777 0 0\n' \) -o \
			\( -type f -printf 'file /%P %p %m 0 0\n' \)
	} | LC_ALL=C sort -k 2,2 > "$initrd.list"
	"$kernel/usr/gen_init_cpio" "$initrd.list" > "$initrd.new" || die 'the initramfs could not be written'
	mv "$initrd.new" "$initrd"
	# the archive has times in it
	(cd "$stage" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
		sha256sum > "$initrd.id"
}

# pack_bpf STAGE: test_verifier and test_progs, built as their Makefile does;
# pack() has set source, out, kernel and make_args.
pack_bpf() {
	local stage=$1/selftests work=$out/bpf module=$out/bpf_testmod tools tests cc=gcc clang=clang id parts file
	tools=$work/tools
	tests=$tools/testing/selftests/bpf
	! command -v ccache > /dev/null || { cc='ccache gcc' clang='ccache clang'; }
	# That Makefile writes beside its sources: they are copied. A build that was
	# cut off begins again: half a header would do for make.
	parts=(include/uapi kernel/bpf scripts tools/{arch,bpf,build,include,lib,scripts}
		tools/testing/selftests/{bpf,lib.mk,kselftest.h,kselftest_harness.h})
	id=$({
		(cd "$source" && find "${parts[@]}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
		gcc --version
		clang --version
	} | sha256sum)
	if [[ $(cat "$work/id" 2> /dev/null || true) != "$id" ]]; then
		rm -rf "$work"
		mkdir -p "$work/bpftool"
		(cd "$source" && cp -r --parents "${parts[@]}" "$work/")
	fi
	rm -f "$work/id"
	# All objects hang on vmlinux.h: it is a new one only where a type has changed,
	# not for each new kernel.
	run_logged "$out/bpftool.log" "$FLAVOUR: bpftool" make -C "$tools/bpf/bpftool" -j "$(nproc)" \
		OUTPUT="$work/bpftool/" bootstrap
	"$work/bpftool/bootstrap/bpftool" btf dump file "$kernel/vmlinux" format c > "$work/vmlinux.h.new" ||
		die "no types in the kernel: see ${out#"$top"/}/build.log"
	cmp -s "$work/vmlinux.h.new" "$work/vmlinux.h" || mv "$work/vmlinux.h.new" "$work/vmlinux.h"
	# The module fits this very image: it is made outside like test_kmod, and for
	# that Makefile it is there (-o), however old.
	rm -rf "$module"
	cp -r "$source/tools/testing/selftests/bpf/bpf_testmod" "$module"
	run_logged "$out/bpf_testmod.log" "$FLAVOUR: bpf_testmod" "${make_args[@]}" M="$module" modules
	cp "$module/bpf_testmod.ko" "$tests/"
	# the linker is binutils', not LLVM's: one package less
	run_logged "$out/bpf.log" "$FLAVOUR: test_verifier and test_progs" env CCACHE_BASEDIR="$build" \
		CCACHE_NOHASHDIR=1 make -C "$tests" -j "$(nproc)" CC="$cc" CLANG="$clang" LLD=bfd \
		VMLINUX_BTF="$work/vmlinux.h" VMLINUX_H="$work/vmlinux.h" -o "$tests/bpf_testmod.ko" \
		"$tests"/test_{verifier,progs}
	gcc -o "$work/verifier-names" -I"$tests" -I"$tests/tools/include" -I"$tools/lib" -I"$tools/include" \
		-I"$tools/include/uapi" "$harness/verifier-names.c" "$tests"/{cap,testing}_helpers.o \
		"$tests/tools/build/libbpf/libbpf.a" -lelf -lz || die 'verifier-names.c does not compile'
	echo "$id" > "$work/id"

	mkdir "$stage/test_verifier"
	strip -o "$stage/test_verifier/test_verifier" "$tests/test_verifier"
	"$work/verifier-names" > "$stage/test_verifier/tests"

	# without what debuggers want, but with symbols: there are probes on them
	mkdir -p "$stage/test_progs/progs"
	for file in test_progs urandom_read liburandom_read.so bpf_testmod.ko bpftool; do
		strip --strip-debug -o "$stage/test_progs/$file" "$tests/$file"
	done
	for file in "$tests"/*.bpf.o; do
		llvm-strip --strip-debug -o "$stage/test_progs/${file##*/}" "$file"
	done
	cp "$tests"/progs/btf_dump_test_case_*.c "$stage/test_progs/progs/"
	put_libraries "$1" "$tests"/{test_verifier,test_progs,urandom_read,bpftool}
	put "$1" ip tc
	# where control groups and names of network namespaces are mounted
	mkdir -p "$1"/{mnt,run,var/run}
}

# pack FLAVOUR SOURCE
pack() {
	local FLAVOUR=$1 source=$2 out kernel stage path suite make_args
	out=$build/$ARCH-$FLAVOUR
	kernel=$out/kernel
	stage=$out/initrd.stage
	make_args=(env PATH="$PATH:/usr/sbin:/sbin" make -C "$source" O="$kernel" ARCH="$ARCH"
		INSTALL_MOD_PATH="$stage" INSTALL_MOD_STRIP=1)
	rm -rf "$stage"
	mkdir -p "$stage"/{dev,proc,sys,tmp,etc,tests,selftests,usr/{bin,sbin,lib,lib64}}
	for path in bin sbin lib lib64; do
		ln -s "usr/$path" "$stage/$path"
	done

	put "$stage" "${programs[@]}"

	for suite in ftrace livepatch kmod static_keys; do
		cp -r "$source/tools/testing/selftests/$suite" "$stage/selftests/"
	done
	# its scripts are made, one for each test
	mkdir "$stage/selftests/lkdtm"
	run_logged "$out/lkdtm.log" 'lkdtm' make -C "$source/tools/testing/selftests/lkdtm" \
		OUTPUT="$stage/selftests/lkdtm" all
	cp "$source/tools/testing/selftests/lkdtm/tests.txt" "$stage/selftests/lkdtm/"

	# test_kmod.ko: see kernel-config/tree.config
	rm -rf "$out/test_kmod"
	mkdir "$out/test_kmod"
	cp "$source/lib/test_kmod.c" "$out/test_kmod/"
	echo 'obj-m := test_kmod.o' > "$out/test_kmod/Makefile"
	run_logged "$out/test_kmod.log" 'test_kmod' "${make_args[@]}" M="$out/test_kmod" modules
	run_logged "$out/modules_install.log" 'modules' "${make_args[@]}" modules_install
	run_logged "$out/modules_install.log" 'test_kmod' "${make_args[@]}" M="$out/test_kmod" modules_install
	rm -f "$stage"/lib/modules/*/{build,source}

	g++ "${flags[@]}" -static -s -o "$stage/init" "$harness/init.cpp" || die 'init.cpp does not compile'
	g++ "${flags[@]}" -static -s -o "$stage/tests/tree" "$harness/tree.cpp" || die 'tree.cpp does not compile'
	cp "$lists/list" "$lists/left-out" "$stage/tests/"
	while read -r suite _; do
		ln -s tree "$stage/tests/$suite"
	done < <(grep -v '^#' "$lists/list")

	archive "$stage" "$out/initrd"
	# test_verifier alone is 50 MB: not for those that can do without
	if [[ " ${suites[*]} " = *' test_'* ]]; then
		pack_bpf "$stage"
		archive "$stage" "$out/initrd-bpf"
	fi
	rm -rf "$stage"
}

# boot FLAVOUR SOURCE RUN SUITE [PARAMETERS]
boot() {
	local FLAVOUR=$1 source=$2 run=$home/$3/$4 suite=$4 parameters=${5:-} out=$build/$ARCH-$1 initrd args key
	initrd=$out/initrd
	[[ $suite != test_* ]] || initrd+=-bpf
	key=$(sha256sum < "$out/vmlinuz")$(cat "$initrd.id")$(sha256sum < "$lists/list")
	key+="${SLOW:-1} ${ACCEL:-} $parameters"
	if [[ -e $run/complete && $(cat "$run/complete") = "$key" ]]; then
		say "$3 $suite: as it was"
		return 0
	fi
	rm -rf "$run"
	mkdir -p "$run"
	args=(--complete-is-good --flavour "$FLAVOUR" --config "$out/kernel/.config" --arch "$ARCH" --dir "$run" --tree "$source" --memory 2048
		--boot-timeout 300 --slow "${SLOW:-1}" --kernel "$out/vmlinuz"
		--initrd "$initrd" --list "$lists/list" --tests "$suite")
	[[ ! $parameters ]] || args+=(--append "$parameters")
	[[ ! ${ACCEL:-} ]] || args+=(--accel "$ACCEL")
	say "booting $FLAVOUR for $3 $suite"
	if "$build/host/run-guest" "${args[@]}" 9>&-; then
		echo "$key" > "$run/complete"
	else
		incomplete+=("$3/$suite")
	fi
}

# both SUITE [NAME [PARAMETERS]]: on both kernels
both() {
	boot tree-stock "$build/linux-base" "stock${2:-}" "$1" "${3:-}"
	boot tree "$tree" "patched${2:-}" "$1" "${3:-}${3:+${APPEND_PATCHED:+ }}${APPEND_PATCHED:-}"
}

# collect RUN SUITE...: the results of all its suites in one file
collect() {
	local run=$1 suite
	shift
	for suite; do
		cat "$home/$run/$suite/result.ktap" 2> /dev/null || true
	done > "$home/$run/result.ktap"
}

check_tests "$lists/list"
if [[ ! ${BUILT:-} ]]; then
	"$scripts/host-setup.sh" tree
	"$scripts/series.sh" apply
	"$scripts/series.sh" stock
	FLAVOUR=tree-stock "$scripts/build-kernel.sh"
	FLAVOUR=tree "$scripts/build-kernel.sh"
fi
lock tree-selftests
mkdir -p "$home"
if [[ ${TESTS:-} ]]; then
	grep -E "^(${TESTS//,/|}) " "$lists/list"
else
	cat "$lists/list"
fi > "$home/list"
mapfile -t suites < <(grep -v '^#' "$home/list" | cut -d ' ' -f 1)
"$scripts/build-guest.sh" host
pack tree-stock "$build/linux-base"
pack tree "$tree"

rm -f "$home/table"
incomplete=()
for suite in "${suites[@]}"; do
	both "$suite"
done
collect stock "${suites[@]}"
collect patched "${suites[@]}"
results=("$home/stock/result.ktap" "$home/patched/result.ktap")
status=0
"$build/host/compare" --list "$home/list" --again "$home/again" "${results[@]}" > "$home/table" || status=$?
((status < 2)) || exit 1
# in a run that was cut off it is not one test that differs
if [[ -s $home/again && ${#incomplete[@]} = 0 ]]; then
	mapfile -t again < <(tr ',' '\n' < "$home/again")
	mapfile -t suites < <(printf '%s\n' "${again[@]%%/*}" | LC_ALL=C sort -u)
	say "${#again[@]} tests differ: they run once more"
	for suite in "${suites[@]}"; do
		only=$(printf '%s\n' "${again[@]}" | grep "^$suite/" | paste -sd ,)
		both "$suite" -again "execmem.only=$only"
	done
	collect stock-again "${suites[@]}"
	collect patched-again "${suites[@]}"
	status=0
	"$build/host/compare" --list "$home/list" "${results[@]}" \
		"$home"/{stock,patched}-again/result.ktap > "$home/table" || status=$?
fi
# what passes on both is in the table only
awk -v rest='' '/^$/ { rest = 1 } rest || !($2 == "ok" && $3 == "ok" && NF == 3)' "$home/table"
for run in "${incomplete[@]}"; do
	echo "PROBLEM: the run $run did not come to its end: see ${home#"$top"/}/$run/console.log"
done
say "all of it: ${home#"$top"/}/table"
((status == 0 && ${#incomplete[@]} == 0))
