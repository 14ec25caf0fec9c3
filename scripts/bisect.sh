#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Does every single patch build and boot? Walks from the base to the end of the
# series. The last line says "N passed, N failed".
#
# usage: bisect.sh [quick] [NUMBER...]   quick: x86-64 only, no boots;
#                                        NUMBER: only these patches
#
# Built, with W=1, for x86-64 and arm64: the objects of the files that the patch
# touches; when it touches a header also all others in their directories and,
# for a header of the architecture, in its kernel/ and mm/. A warning that the
# parent does not have for the same object is a failure.
#
# Booted, on x86-64, with a few tests: after each third patch, after the last
# one, and after each that changes behaviour. Taken for such is every patch
# that touches C, assembler, Kconfig or a Makefile that x86-64 can see, except
# tests: whether a refactoring is one is what is to be shown. Two patches that
# leave the same files for x86-64 share one boot.
#
# What has passed is remembered in build/bisect/passed, by what goes in.

. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/objects.sh"
unset BASE EXTRA_CONFIG APPEND
scripts=$top/scripts
boot_tests=wx,placement,modules,bpf,kprobes,ftrace
home=$build/bisect
remembered=$home/passed

quick=''
if [[ ${1:-} = quick ]]; then
	quick=yes
	shift
fi
for wish; do
	[[ $wish =~ ^[0-9]+$ ]] || misused "'$wish': neither quick nor the number of a patch"
done

lock bisect
mkdir -p "$home"
touch "$remembered"
ARCH=x86_64 "$scripts/host-setup.sh"
[[ $quick ]] || ARCH=arm64 "$scripts/host-setup.sh"
"$scripts/series.sh" apply
mapfile -t commits < <(git -C "$tree" rev-list --reverse base..HEAD)
((${#commits[@]})) || die 'the series is empty'
for wish; do
	((10#$wish >= 1 && 10#$wish <= ${#commits[@]})) || die "no patch $wish: they are 1 to ${#commits[@]}"
done

# A worktree of its own: a checkout touches only the files that differ, so that
# little is built again. FLAVOUR=stock, which is the default one without what
# only the last patches bring, looks for linux-base.
source=$home/linux-6.1.y
w() { git -C "$source" "$@"; }
# a worktree whose repository has gone is of no use, and without the file .git
# git would take the repository around it
if [[ ! -f $source/.git ]] || ! w rev-parse -q --verify HEAD > /dev/null 2>&1; then
	rm -rf "$source"
	git -C "$tree" worktree prune
	git -C "$tree" worktree add -q --detach "$source" base
fi
ln -sfn linux-6.1.y "$home/linux-base"
[[ -z $(w status --porcelain --untracked-files=no | head -n 1) ]] ||
	die "${source#"$top"/} has changes: it is this script's alone, remove it"

# What decides over a verdict beside the tree.
conditions=$(cat "$top"/kernel-config/{common,x86_64,arm64,modules*,default*,series}.config "$scripts/bisect.sh" "$scripts/objects.sh" |
	sha256sum | cut -c 1-16)
known() { grep -qxF -- "$* $conditions" "$remembered"; }
remember() { echo "$* $conditions" >> "$remembered"; }

passed=0 failed=0 problems=()
problem() { problems+=("bisect: $1: $2"); say "FAIL $1: $2"; }

# --- compile ------------------------------------------------------------------
# The same fragments as build-kernel.sh; lines that the tree does not know yet
# are dropped. Again only when a Kconfig file has changed.
configure() {
	local id fragment file files=()
	id=$conditions-$(w ls-tree -r HEAD | grep Kconfig | sha256sum)
	[[ ! -e $out/configured || $(cat "$out/configured") != "$id" ]] || return 0
	for fragment in common "$ARCH" modules "modules-$ARCH" "default-$ARCH" series; do
		file=$top/kernel-config/$fragment.config
		[[ ! -e $file ]] || files+=("$file")
	done
	mkdir -p "$out/new"
	(cd "$source" && ARCH=$ARCH CROSS_COMPILE=$prefix \
		scripts/kconfig/merge_config.sh -n -O "$out/new" "${files[@]}")
	cmp -s "$out/new/.config" "$out/.config" || cp "$out/new/.config" "$out/.config"
	rm -rf "$out/new"
	echo "$id" > "$out/configured"
}

# prepare COMMIT TITLE: the tree is there, and what objects need that are built
# one by one
prepare() {
	w checkout -q --detach "$1"
	if ! { configure && "${kbuild[@]}" -j "$(nproc)" prepare; } > "$out/prepare.log" 2>&1 < /dev/null 9>&-; then
		problem "$2" "$ARCH: cannot be prepared: $(grep -m 1 -E 'rror|\*\*\*' "$out/prepare.log")"
		return 1
	fi
}

# wanted_objects FILE...: what is built for these files, with $ARCH
wanted_objects() {
	local own=arch/$ARCH file header='' directories=() objects=()
	[[ $ARCH != x86_64 ]] || own=arch/x86
	for file; do
		case $file in
		"$own"/include/*.h)
			header=yes
			directories+=("$own/kernel" "$own/mm")
			continue ;;
		"$own"/*) ;;
		arch/*) continue ;;
		esac
		case $file in
		*.h) header=yes ;;
		*.[cS])
			objects+=("${file%.*}.o")
			directories+=("$(dirname "$file")") ;;
		esac
	done
	if [[ $header ]]; then
		((${#directories[@]})) || directories=(kernel mm)
		objects_of "${directories[@]}"
	elif ((${#directories[@]})); then
		objects_of "${directories[@]}" | grep -xF -f <(printf '%s\n' "${objects[@]}") || true
	fi
}

# compiles COMMIT TITLE: with $ARCH; leaves in $compiled how many objects
compiles() {
	local commit=$1 title=$2 key files objects=() object before=() new
	out=$home/$ARCH
	check_arch
	prefix=$(cross_prefix)
	key="compile $ARCH $("${prefix}gcc" -dumpfullversion) $(w rev-parse "$commit^{tree}" "$commit^^{tree}" |
		paste -sd ' ')"
	compiled='as before'
	! known "$key" || return 0
	mkdir -p "$out"
	set_kbuild "$ARCH" "$prefix" W=1
	prepare "$commit" "$title" || return 1
	mapfile -t files < <(w diff --name-only --no-renames --diff-filter=d "$commit^" "$commit")
	mapfile -t objects < <(wanted_objects "${files[@]}" 2> "$out/objects.log")
	[[ ! -s $out/objects.log ]] ||
		{ problem "$title" "$ARCH: objects: $(head -n 1 "$out/objects.log")"; return 1; }
	compiled="${#objects[@]} objects"
	if ((${#objects[@]})); then
		compile "$out/compile.log" "$title, $ARCH" "${objects[@]}"
		complaints "$out/compile.log" "${objects[@]}" > "$out/complaints"
		: > "$out/complaints.parent"
		while read -r object; do
			! w cat-file -e "$commit^:${object%.o}.c" 2> /dev/null &&
				! w cat-file -e "$commit^:${object%.o}.S" 2> /dev/null || before+=("$object")
		done < <(cut -f 1 "$out/complaints" | LC_ALL=C sort -u)
		if ((${#before[@]})); then
			prepare "$commit^" "$title: its parent" || return 1
			compile "$out/parent.log" "$title, $ARCH, its parent" "${before[@]}"
			complaints "$out/parent.log" "${before[@]}" > "$out/complaints.parent"
		fi
		new=$(LC_ALL=C comm -23 "$out/complaints" "$out/complaints.parent")
		if [[ $new ]]; then
			cp "$out/compile.log" "$out/$title.log"
			while IFS=$'\t' read -r object text; do
				problem "$title" "$ARCH: $object: $text"
			done <<< "$new"
			return 1
		fi
	fi
	remember "$key"
}

# --- boot ---------------------------------------------------------------------
# Of a list of files those that a kernel for x86-64 is made of.
seen_by_x86() {
	awk -F '\t' '
		$NF ~ /^arch\/[^\/]*\// && $NF !~ /^arch\/x86\// { next }
		$NF ~ /^(arch\/x86\/um|Documentation|LICENSES|scripts\/gdb|tools\/testing)\// { next }
		$NF ~ /^MAINTAINERS$/ { next }
		{ print }'
}

changes_behaviour() {
	w diff --name-only --no-renames "$1^" "$1" | seen_by_x86 | grep -v '_kunit\.c$' > /dev/null
}

# boots COMMIT TITLE
boots() {
	local key
	key="boot $(gcc -dumpfullversion) $(w ls-tree -r "$1" | seen_by_x86 | sha256sum | cut -c 1-40) $boot_tests"
	booted=', booted before'
	! known "$key" || return 0
	booted=', booted'
	w checkout -q --detach "$1"
	if ! (
		export EXECMEM_BUILD=$home ARCH=x86_64 FLAVOUR=stock BUILT=1 EXPECT=any TESTS=$boot_tests
		"$scripts/build-kernel.sh" && "$scripts/build-guest.sh" && "$scripts/run.sh"
	); then
		problem "$2" "x86-64: does not build, boot or pass $boot_tests (see ${home#"$top"/}/x86_64-stock)"
		return 1
	fi
	remember "$key"
}

# --- the walk -----------------------------------------------------------------
# chosen NUMBER WISH...
chosen() {
	local number=$1 wish
	shift
	(($#)) || return 0
	for wish; do
		((10#$wish != number)) || return 0
	done
	return 1
}

number=0
for commit in "${commits[@]}"; do
	number=$((number + 1))
	chosen "$number" "$@" || continue
	title=$(printf '%04d-%s' "$number" "$(w log -1 --format=%f "$commit")")
	good=yes did='' booted=''
	for ARCH in x86_64 $([[ $quick ]] || echo arm64); do
		compiles "$commit" "$title" || good=''
		did+="${did:+, }$ARCH: $compiled"
	done
	if [[ ! $quick && $good ]] &&
	   { ((number % 3 == 0 || number == ${#commits[@]})) || changes_behaviour "$commit"; }; then
		boots "$commit" "$title" || good=''
	fi
	if [[ $good ]]; then
		passed=$((passed + 1))
		say "PASS $title ($did$booted)"
	else
		failed=$((failed + 1))
	fi
done

echo
((${#problems[@]} == 0)) || printf '%s\n' "${problems[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0 && passed > 0))
