#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Builds what runs beside the kernel: run-guest (host), init and the tests
# (guest), and packs build/ARCH-FLAVOUR/initrd: /init, /tests, /modules.
#
# usage: build-guest.sh [host|programs]   host: run-guest and its like only;
#                                         programs: what needs no kernel, while that is built
#
# MODULE_BTF=no leaves out the type information of modules, which fits only the
# very image that they were built with.

. "$(dirname "$0")/common.sh"
check_arch
check_flavour

source=$tree
[[ $FLAVOUR = stock ]] && source=$build/linux-base
out=$build/$ARCH-$FLAVOUR
kernel=$out/kernel
prefix=$(cross_prefix)
harness=$top/scripts/harness
selftests=$top/selftests/execmem
# splats.hpp is there: the tests are complete without the harness
flags=(-std=c++20 -O2 -Wall -Wextra -Werror -I "$selftests/lib")

# compile OUTPUT COMPILER FLAG... SOURCE...: only when a source is newer
compile() {
	local output=$1
	shift
	if [[ -e $output && -z $(find "$harness" "$selftests/lib" -maxdepth 1 -newer "$output" -name '*.[ch]*') ]]; then
		return 0
	fi
	"$@" -o "$output.new" || die "${output#"$top"/} does not compile"
	mv "$output.new" "$output"
}

host_tools() {
	mkdir -p "$build/host"
	compile "$build/host/run-guest" g++ "${flags[@]}" \
		"$harness"/{run-guest,judge,pagetables,qemu,gdb}.cpp
	compile "$build/host/compare" g++ "${flags[@]}" "$harness"/{compare,judge}.cpp
	compile "$build/host/mail" g++ "${flags[@]}" "$harness/mail.cpp"
}

# "name.ko: needed.ko ...", from what modpost left beside each module
dependencies() {
	local ko needed
	for ko in "$@"; do
		needed=$(sed -n 's/^MODULE_INFO(depends, "\(.*\)");$/\1/p' "${ko%.ko}.mod.c" | tr ',' '\n' |
			 sed '/^$/d; s/$/.ko/' | tr '\n' ' ')
		echo "$(basename "$ko" | tr - _): $needed" | sed 's/ *$//'
	done
}

# make_tests LOG TARGET
make_tests() {
	mkdir -p "$out/tests"
	compile "$out/init" "${prefix}g++" "${flags[@]}" -static -s "$harness/init.cpp"
	run_logged "$1" 'selftests' make -C "$selftests" -j "$(nproc)" \
		KSFT="$source/tools/testing/selftests" KDIR="$kernel" OUTPUT="$out/tests" \
		ARCH="$karch" CROSS_COMPILE="$prefix" "$2"
}

pack() {
	local stage=$out/initrd.stage list=$out/initrd.list modules=() strip=("${prefix}strip" --strip-debug) ko name
	[[ ${MODULE_BTF:-} != no ]] || strip+=(--remove-section=.BTF)
	rm -rf "$stage"
	mkdir -p "$stage/tests" "$stage/modules"
	make_tests "$out/tests.log" all
	cp "$selftests/list" "$stage/tests/list"
	find "$out/tests" -maxdepth 1 -type f -perm -u+x ! -name '*.ko' -exec cp -t "$stage/tests" {} +

	if [[ -e $kernel/modules.order ]]; then
		while read -r ko; do
			modules+=("$kernel/$ko")
		done < "$kernel/modules.order"
		while read -r ko; do
			modules+=("$ko")
		done < <(find "$out/tests/obj/mod" -name 'execmem_*.ko' | LC_ALL=C sort)
		[[ ${modules[-1]:-} = "$out/tests/obj/mod/"* ]] || die "no modules of the tests in ${out#"$top"/}/tests/obj/mod"
		for ko in "${modules[@]}"; do
			# the kernel knows a module by its name with underscores
			name=$(basename "$ko" | tr - _)
			"${strip[@]}" -o "$stage/modules/$name" "$ko"
		done
		dependencies "${modules[@]}" > "$stage/modules/modules.dep"
	fi

	{
		printf 'dir /%s 0755 0 0\n' dev proc sys tmp tests modules
		echo 'nod /dev/console 0600 0 0 c 5 1'
		echo "file /init $out/init 0755 0 0"
		find "$stage" -type f -printf 'file /%P %p %m 0 0\n' | LC_ALL=C sort
	} > "$list"
	"$kernel/usr/gen_init_cpio" "$list" > "$out/initrd.new" || die 'the initramfs could not be written'
	mv "$out/initrd.new" "$out/initrd"
	guest_id > "$out/initrd.from"
	rm -rf "$stage"
}

arguments host programs -- "$@"
# a guest without tests has nothing to say against any kernel
[[ -e $selftests/Makefile && -s $selftests/list ]] || die "there are no tests in ${selftests#"$top"/}"
host_tools
case ${1:-} in
host) ;;
programs) make_tests "$out/programs.log" programs ;;
*) pack ;;
esac
