#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Compiles what the series touches on architectures that nobody boots here: the
# files that it touches and all others in their directories, with modules and
# without. An error, or a warning that the base does not have, is a failure. The
# last line says "N passed, N failed".
#
# usage: cross.sh [quick] [TARGET...]   quick: only the touched files themselves
#
# build/cross/TARGET-y and TARGET-n (MODULES) hold .config, compile.log and
# complaints.new; a target that has passed is compiled again when the series,
# the base, the compiler or this script has changed.

. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/objects.sh"
unset BASE
scripts=$top/scripts

# name, ARCH, prefix of the compiler, configuration to begin with, and options
# on top; y: and n: only with modules, or only without.
targets='
i386     i386    i686-linux-gnu-            i386_defconfig
arm      arm     arm-linux-gnueabihf-       multi_v7_defconfig      ARM_MODULE_PLTS=y KASAN=y KASAN_VMALLOC=y
thumb2   arm     arm-linux-gnueabihf-       vexpress_defconfig      THUMB2_KERNEL=y
nommu    arm     arm-linux-gnueabihf-       mps2_defconfig
arm64    arm64   aarch64-linux-gnu-         defconfig
riscv64  riscv   riscv64-linux-gnu-         defconfig               KASAN=y
riscv32  riscv   riscv64-linux-gnu-         rv32_defconfig
ppc64le  powerpc powerpc64le-linux-gnu-     ppc64le_defconfig       KASAN=y
ppc64    powerpc powerpc64-linux-gnu-       ppc64_defconfig
ppc32    powerpc powerpc-linux-gnu-         pmac32_defconfig        HIBERNATION=n KASAN=y
ppc8xx   powerpc powerpc-linux-gnu-         mpc885_ads_defconfig
ppc44x   powerpc powerpc-linux-gnu-         44x/bamboo_defconfig
s390x    s390    s390x-linux-gnu-           defconfig               KASAN=y
mips     mips    mipsel-linux-gnu-          maltaaprp_defconfig
mips64   mips    mips64el-linux-gnuabi64-   loongson3_defconfig
parisc   parisc  hppa-linux-gnu-            generic-32bit_defconfig
parisc64 parisc  hppa64-linux-gnu-          generic-64bit_defconfig
sparc64  sparc64 sparc64-linux-gnu-         sparc64_defconfig
sparc32  sparc   sparc64-linux-gnu-         sparc32_defconfig
m68k     m68k    m68k-linux-gnu-            multi_defconfig
alpha    alpha   alpha-linux-gnu-           defconfig
arc      arc     arc-linux-gnu-             haps_hs_defconfig
sh       sh      sh4-linux-gnu-             rts7751r2d1_defconfig
um       um      x86_64-linux-gnu-          x86_64_defconfig
'
# The code that the series touches, as far as the architecture has it. Warnings
# are judged here, so they must not be errors. No debug information and no
# symbol versions, they only cost time.
common='
EXPERT=y WERROR=n PPC_DISABLE_WERROR=y GCC_PLUGINS=n MODVERSIONS=n DEBUG_KERNEL=y
DEBUG_INFO=n DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=n DEBUG_INFO_DWARF4=n DEBUG_INFO_DWARF5=n DEBUG_INFO_NONE=y
PERF_EVENTS=y KPROBES=y KPROBE_EVENTS=y FTRACE=y FUNCTION_TRACER=y DYNAMIC_FTRACE=y
NET=y INET=y BPF=y BPF_SYSCALL=y BPF_JIT=y BPF_EVENTS=y CGROUPS=y CGROUP_BPF=y
JUMP_LABEL=y KALLSYMS=y KALLSYMS_ALL=y PROC_FS=y PROC_KCORE=y
KGDB=y KGDB_KDB=y DEBUG_KMEMLEAK=y PTDUMP_DEBUGFS=y DEBUG_WX=y
STRICT_KERNEL_RWX=y KUNIT=y EXECMEM_KUNIT_TEST=y VMALLOC_KUNIT_TEST=y KPROBES_SANITY_TEST=y
y:MODULES=y y:MODULE_UNLOAD=y y:STRICT_MODULE_RWX=y y:LIVEPATCH=y
n:MODULES=n
'
# No compiler for them in the distribution: read, not compiled. Those follow with
# which the base does not compile.
read_only='ia64 loongarch nios2'

source_arch() {
	case $1 in
	i386) echo x86 ;;
	sparc64) echo sparc ;;
	*) echo "$1" ;;
	esac
}

names() { awk 'NF { print $1 }' <<< "$targets"; }

# options MODULES OPTION...: those of that variant, as lines of a .config
options() {
	local modules=$1 option
	shift
	for option; do
		case $option in
		[yn]:*) [[ ${option%%:*} = "$modules" ]] || continue ;;
		esac
		option=${option#[yn]:}
		case $option in
		*=n) echo "# CONFIG_${option%=n} is not set" ;;
		*) echo "CONFIG_$option" ;;
		esac
	done
}

# configure FILE, or configure '' DEFCONFIG MODULES OPTION...
configure() {
	local from=$1 defconfig=${2:-}
	shift "$(($# < 2 ? $# : 2))"
	mkdir -p "$out"
	{
		if [[ $from ]]; then
			cp "$from" "$out/.config"
		else
			"${kbuild[@]}" "$defconfig"
			options "$@" > "$out/options.config"
			(cd "$source" && scripts/kconfig/merge_config.sh -m -O "$out" \
				"$out/.config" "$out/options.config")
		fi
		"${kbuild[@]}" olddefconfig
	} > "$out/config.log" 2>&1 < /dev/null
}

# The same file has another path in the base.
# What make runs for the tree as a whole says nothing about an object.
without_tree() {
	sed -E "s/\t(${tree##*/}|linux-base)\//\t/; /^scripts\/checksyscalls\.sh\t/d" | LC_ALL=C sort
}

# How many jobs make may run: to arch/um/kernel kbuild goes twice, and what is
# compiled there by two at the same time is deleted by one of them.
nproc() { if [[ $arch = um ]]; then echo 1; else command nproc; fi; }

prepare() {
	"${kbuild[@]}" -j "$(nproc)" prepare modules_prepare > "$out/prepare.log" 2>&1 < /dev/null 9>&-
}

# wanted_objects ARCH: what the configuration has in the directories of the
# touched files, and in those where every architecture keeps what meets the
# series. What is made of a generated file is left out.
wanted_objects() {
	local arch file directories
	arch=$(source_arch "$1")
	directories=("arch/$arch/kernel" "arch/$arch/mm")
	[[ $arch != um ]] || directories+=(arch/x86/um)
	while read -r file; do
		case $file in
		"arch/$arch/"*.[cS]) directories+=("$(dirname "$file")") ;;
		arch/*) ;;
		*.[cS]) directories+=("$(dirname "$file")") ;;
		esac
	done <<< "$touched"
	objects_of "${directories[@]}" | while read -r file; do
		file=${file%.o}
		[[ -e $source/$file.c || -e $source/$file.S ]] || continue
		[[ ! $quick ]] || is_touched "$file" || continue
		echo "$file.o"
	done
}

# is_touched NAME, without its suffix; UML compiles files of x86 as um/../mm/a.c
is_touched() {
	local name
	name=$(sed 's/[^/]*\/\.\.\///' <<< "$1")
	[[ $'\n'$touched$'\n' = *$'\n'"$name".[cS]$'\n'* ]]
}

# one_target NAME ARCH PREFIX DEFCONFIG MODULES OPTION...: 0 passed, 1 failed,
# 2 no fault of the series. Leaves what it has compiled in $out/compiled.
one_target() {
	local name=$1 arch=$2 prefix=$3 defconfig=$4 modules=$5 key objects complained variables=() words
	local title=$1-$5
	shift 5
	source=$tree out=$build/cross/$title
	[[ $arch != um ]] || variables=(SUBARCH=x86_64)
	read -r -d '' -a words <<< "$common" || true
	key=$({ echo "$tree_id $base_id $title $arch $defconfig $* $quick"; "${prefix}gcc" --version
		cat "$scripts/cross.sh" "$scripts/objects.sh"; } | sha256sum)
	if [[ $clean && -e $out/passed && $(cat "$out/passed") = "$key" ]]; then
		say "$title: $(wc -l < "$out/compiled") objects, as they were"
		return 0
	fi
	rm -f "$out/passed" "$out/compiled" "$out/complaints.new"
	set_kbuild "$arch" "$prefix" "${variables[@]}"

	configure '' "$defconfig" "$modules" "${words[@]}" "$@" ||
		{ broken "$title" 'cannot be configured' "$out/config.log"; return 1; }
	[[ $(grep -c '^CONFIG_MODULES=y' "$out/.config") = "$([[ $modules = y ]] && echo 1 || echo 0)" ]] ||
		{ broken "$title" "MODULES=$modules did not survive" "$out/config.log"; return 1; }
	if ! prepare; then
		if base_cannot "$title" "$arch" "$prefix" "${variables[@]}"; then
			return 2
		fi
		broken "$title" 'make prepare failed' "$out/prepare.log"
		return 1
	fi
	wanted_objects "$arch" > "$out/objects" 2> "$out/objects.log" ||
		{ broken "$title" 'the objects could not be listed' "$out/objects.log"; return 1; }
	mapfile -t objects < "$out/objects"
	compile "$out/compile.log" "$title" "${objects[@]}"
	complaints "$out/compile.log" "${objects[@]}" | without_tree > "$out/complaints"
	while read -r object; do
		[[ ! -e $out/$object ]] || echo "$object"
	done < "$out/objects" > "$out/compiled"

	mapfile -t complained < <(cut -f 1 "$out/complaints" | grep '\.o$' | LC_ALL=C sort -u)
	if [[ -s $out/complaints ]]; then
		say "$title: errors or warnings in ${#complained[@]} of ${#objects[@]} objects, comparing with the base"
		against_base "$title" "$arch" "$prefix" "${variables[@]}" || return 1
	fi
	if grep -q . "$out/complaints.new" 2> /dev/null; then
		say "FAIL $title: new on ${tree##*/}"
		sed 's/^/    /; s/\t/: /' "$out/complaints.new" >&2
		return 1
	fi
	if [[ ! -s $out/compiled ]]; then
		broken "$title" 'not a single object was compiled' "$out/compile.log"
		return 1
	fi
	[[ ! $clean ]] || echo "$key" > "$out/passed"
}

# Is it the base that cannot be prepared, for the same reason?
base_cannot() {
	local title=$1 arch=$2 prefix=$3 series=$out reason
	shift 3
	local source=$build/linux-base out=$series/base
	set_kbuild "$arch" "$prefix" "$@"
	configure "$series/.config" || return 1
	! prepare || return 1
	reason=$(grep -m 1 'error: ' "$out/prepare.log" | sed -E 's/^.*linux-base\///')
	[[ $reason ]] && grep -qF -- "${reason#*error: }" "$series/prepare.log" || return 1
	say "$title: the base does not compile either: $reason"
}

# Compares with the base: only objects that complain are compiled there.
against_base() {
	local title=$1 arch=$2 prefix=$3 series=$out
	shift 3
	local source=$build/linux-base out=$series/base
	set_kbuild "$arch" "$prefix" "$@"
	if ! configure "$series/.config" || ! prepare; then
		broken "$title" 'the base cannot be prepared' "$out/prepare.log"
		return 1
	fi
	: > "$out/compile.log"
	((${#complained[@]} == 0)) || compile "$out/compile.log" "$title on the base" "${complained[@]}"
	complaints "$out/compile.log" "${complained[@]}" | without_tree > "$out/complaints"
	LC_ALL=C comm -23 "$series/complaints" "$out/complaints" > "$series/complaints.new"
	# what neither compiles is no fault of the series, but it is not hidden
	sed -n 's/\tdoes not compile$//p' "$series/complaints" | while read -r object; do
		! grep -q "^$object	does not compile" "$out/complaints" ||
			say "$title: $object does not compile on the base either: $(grep -m 1 "^$object	.*[Ee]rror" \
				"$out/complaints" | cut -f 2)"
	done
}

# refers_to PREFIX: what the objects compiled in $out refer to and do not define
refers_to() {
	(
		cd "$out"
		LC_ALL=C comm -23 \
			<(xargs -d '\n' "${1}nm" -u < compiled | awk '$1 == "U" { print $2 }' | LC_ALL=C sort -u) \
			<(xargs -d '\n' "${1}nm" --defined-only < compiled | awk 'NF == 3 { print $3 }' | LC_ALL=C sort -u)
	)
}

# defined_elsewhere SYMBOL: is it in an object that was not compiled, as its
# directory is none of those that the series touches?
defined_elsewhere() {
	local symbol=$1 files objects
	mapfile -t files < <(git -C "$source" grep -lw -e "$symbol" -- '*.[cS]' | grep -vE '^(tools|scripts)/')
	((${#files[@]})) || return 1
	mapfile -t objects < <(objects_of "${files[@]%/*}" 2> /dev/null |
		grep -xF -f <(printf '%s.o\n' "${files[@]%.*}") | grep -vxF -f "$out/compiled")
	((${#objects[@]})) || return 1
	compile "$out/elsewhere.log" "$symbol" "${objects[@]}"
	(cd "$out" && "${prefix}nm" --defined-only "${objects[@]}" 2> /dev/null) |
		awk -v symbol="$symbol" '$3 == symbol { found = 1 } END { exit !found }'
}

# links_without_modules NAME ARCH PREFIX: nothing is linked here, but a function
# that is there only with CONFIG_MODULES shows: without it something refers to it
# that with it nothing had to ask others for.
links_without_modules() {
	local name=$1 arch=$2 prefix=$3 source=$tree out=$build/cross/$1-y lost symbol undefined='' variables=()
	[[ -s $out/compiled && -s $build/cross/$name-n/compiled ]] || return 0
	lost=$(LC_ALL=C comm -13 <(refers_to "$prefix") <(out=$build/cross/$name-n && refers_to "$prefix"))
	[[ $lost ]] || return 0
	out=$build/cross/$name-n
	[[ $arch != um ]] || variables=(SUBARCH=x86_64)
	set_kbuild "$arch" "$prefix" "${variables[@]}"
	for symbol in $lost; do
		defined_elsewhere "$symbol" || undefined+=" $symbol"
	done
	[[ $undefined ]] || return 0
	say "FAIL $name-n: undefined, and defined or not used with modules: ${undefined# }"
	return 1
}

broken() {
	say "FAIL $1: $2 (log: ${3#"$top"/})"
	grep -m 4 -E 'rror|\*\*\*' "$3" | sed 's/^/    /' >&2 || true
}

# --- all targets --------------------------------------------------------------
quick=''
if [[ ${1:-} = quick ]]; then
	quick=yes
	shift
fi
wanted=("$@")
for name in "${wanted[@]}"; do
	names | grep -qxF -- "$name" || misused "unknown target '$name': $(names | paste -sd ' ')"
done
((${#wanted[@]})) || mapfile -t wanted < <(names)

finish() {
	echo
	printf '%s\n' "${results[@]}"
	printf 'read, not compiled: %s\n' "$read_only"
	printf '%d passed, %d failed\n' "$passed" "$failed"
	((failed == 0 && passed > 0))
}

# A target without its compiler has failed: nobody reads what was left out.
passed=0 failed=0 results=()
while read -r name arch prefix _; do
	[[ $name && " ${wanted[*]} " = *" $name "* ]] || continue
	package=gcc-${prefix%-}
	[[ $prefix != x86_64-linux-gnu- || $(uname -m) != x86_64 ]] || package=gcc
	command -v "${prefix}gcc" > /dev/null || ARCH=x86_64 "$scripts/host-setup.sh" "$package=${prefix}gcc" || true
	command -v "${prefix}gcc" > /dev/null || {
		failed=$((failed + 1))
		results+=("FAIL $name: no ${prefix}gcc, and package $package cannot be installed")
	}
done <<< "$targets"
((failed < ${#wanted[@]})) || { finish; exit 1; }

lock cross
mkdir -p "$build/cross"
ARCH=x86_64 "$scripts/host-setup.sh"
"$scripts/series.sh" apply
"$scripts/series.sh" stock
tree_id=$(git -C "$tree" rev-parse 'HEAD^{tree}')
base_id=$(git -C "$tree" rev-parse 'base^{tree}')
clean=yes
[[ -z $(git -C "$tree" status --porcelain | head -n 1) ]] || clean=''
touched=$(git -C "$tree" diff --name-only --diff-filter=d base)

compiled=()
while read -r name arch prefix defconfig options; do
	[[ $name && " ${wanted[*]} " = *" $name "* ]] || continue
	command -v "${prefix}gcc" > /dev/null || continue
	verdict=PASS counts=()
	for modules in y n; do
		# shellcheck disable=SC2086
		one_target "$name" "$arch" "$prefix" "$defconfig" "$modules" $options && status=0 || status=$?
		case $status in
		0) ;;
		2) [[ $verdict = FAIL ]] || verdict=BASE ;;
		*) verdict=FAIL ;;
		esac
		out=$build/cross/$name-$modules
		[[ ! -e $out/compiled ]] || compiled+=("$out/compiled")
		counts+=("$([[ ! -e $out/compiled ]] || wc -l < "$out/compiled")")
	done
	if [[ $verdict = BASE ]]; then
		results+=("SKIP $name: the base does not compile")
		read_only+=" $(source_arch "$arch")"
		continue
	fi
	links_without_modules "$name" "$arch" "$prefix" || verdict=FAIL
	results+=("$verdict $name: ${counts[0]} objects with modules, ${counts[1]} without")
	if [[ $verdict = PASS ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done <<< "$targets"

# Is there a touched file that no target has compiled? Asked when all targets were
# tried: what a target that failed would have compiled is not known.
if ((failed == 0 && passed > 0)) && [[ $# = 0 ]]; then
	everything=$(cat "${compiled[@]}" | sed 's/[^/]*\/\.\.\///' | LC_ALL=C sort -u)
	while read -r file; do
		# what 64-bit x86 has for itself is compiled by make run
		[[ $file = *.[cS] && $file != tools/* && $file != arch/x86/* ]] || continue
		[[ " $read_only " != *" $(cut -d / -f 2 <<< "$file") "* ]] || continue
		if [[ $'\n'$everything$'\n' != *$'\n'"${file%.*}.o"$'\n'* ]]; then
			results+=("FAIL $file: no target compiles it")
			failed=$((failed + 1))
		fi
	done <<< "$touched"
fi

finish
