#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Do the tests notice a broken kernel? Each selftests/mutants/NAME.patch puts
# one fault into the series and names the cases that must turn red. For each:
# build, boot, and see that these cases, at least, say "not ok".
#
# usage: check-mutants.sh [NAME...]   (default: all)
#
# The last line says "N killed, N survived". What a boot leaves is in
# build/mutants/results/NAME. A mutant that was killed is not tried again until
# it, the series, the tests, the configuration or the harness has changed.

. "$(dirname "$0")/common.sh"
unset BASE TESTS APPEND EXTRA_CONFIG BUILT RESULTS
scripts=$top/scripts
mutants=$top/selftests/mutants
list=$top/selftests/execmem/list
# Scripts that are given this as EXECMEM_BUILD find the faulty tree there, and
# leave kernels there, under the usual names.
own=$build/mutants
work=$own/linux-6.1.y
remembered=$own/killed
killed=0 survived=0 broken=0 bad=()

# What decides over all mutants; after series.sh.
conditions() {
	git -C "$tree" rev-parse 'HEAD^{tree}'
	(cd "$top" && find selftests/execmem/lib selftests/execmem/mod kernel-config scripts/harness \
		scripts/build-*.sh scripts/run.sh -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
	cat "$scripts/check-mutants.sh"
}
# What decides over this one: its patch, and the tests that it names.
key() {
	local test
	{
		echo "$conditions_id"
		cat "$1"
		for test in $(field Tests "$1" | tr ',' ' '); do
			grep "^$test " "$list"
			cat "$top/selftests/execmem/$test.cpp"
		done
	} | sha256sum | cut -d ' ' -f 1
}
# known PATCH, remember PATCH
known() { grep -qxF "$(key "$1")" "$remembered" 2> /dev/null; }
remember() { key "$1" >> "$remembered"; }

pass() { killed=$((killed + 1)); say "PASS $1: $2"; }
fail() { survived=$((survived + 1)); bad+=("$1"); say "FAIL $1: $2"; }
cannot() { broken=$((broken + 1)); bad+=("$1"); say "FAIL $1: $2"; }

# field NAME FILE: what the lines "NAME: ..." above the diff say
field() { sed -n "/^diff /q; s/^$1: *//p" "$2"; }

# One line for each case that must turn red: "test: case", "test" alone for one
# without cases, "host: words" for what the judge has to say.
wanted() {
	field Red "$1" | awk '
		/^host: / || !/: / { print; next }
		{
			test = $0; sub(/: .*/, "", test)
			n = split(substr($0, length(test) + 3), cases, / *, */)
			for (i = 1; i <= n; i++)
				print test ": " cases[i]
		}'
}

# reds DIRECTORY: what turned red there, in the same form. The cases of KUnit
# are on the console only; of a suite the guest knows no more than its name.
reds() {
	local dir
	for dir in "$1" "$1"/boot-*; do
		[[ -e $dir/result.ktap ]] || continue
		awk '
			/^  # Subtest: selftests: execmem: / { test = $NF }
			/^  not ok / { sub(/^  not ok [0-9]+ (- )?/, ""); sub(/ *#.*/, ""); print test ": " $0 }
			/^not ok / { sub(/^not ok [0-9]+ selftests: execmem: /, ""); sub(/ *#.*/, ""); print }' \
			"$dir/result.ktap"
		sed -n 's/\r$//; s/^\[[ 0-9.]*\] \{5,\}not ok [0-9]* \(- \)\?\([^ ]*\).*/kunit: \2/p' "$dir/console.log"
	done
	sed -n 's/^PROBLEM: /host: /p' "$1/log" | grep -v '^host: \(failed: \|kunit\.py \)' || true
}

# missing WANTED RED: the lines of the one file that the other has not; those
# of the host need be part of a line only.
missing() {
	local line
	while read -r line; do
		case $line in
		host:*) grep -qF -- "${line#host: }" <(grep '^host: ' "$2") ;;
		*) grep -qxF -- "$line" "$2" ;;
		esac || echo "$line"
	done < "$1"
}

one_line() { sed -z 's/\n$//; s/\n/; /g' | tr -d '\n'; }

# A header that says nothing would be a mutant that nothing can kill.
check_header() {
	local patch=$1 name key test why
	name=selftests/mutants/${patch##*/}
	for key in Fault Arch Flavour Tests Red; do
		[[ $(field "$key" "$patch") ]] || die "$name: no line '$key: ...' above the diff"
	done
	while read -r key; do
		case $key in
		Fault:*|Arch:*|Flavour:*|Tests:*|Red:*|Append:*|'') ;;
		*) die "$name: unknown line '$key' above the diff" ;;
		esac
	done < <(sed '/^diff /,$d' "$patch")
	ARCH=$(field Arch "$patch") FLAVOUR=$(field Flavour "$patch")
	why=$( (check_arch; check_flavour) 2>&1) || die "$name: ${why#*: }"
	[[ $FLAVOUR != stock ]] || die "$name: Flavour: stock has no series to break"
	while read -r test; do
		grep -q "^$test " "$list" || die "$name: Tests: '$test' is not in selftests/execmem/list"
	done < <(field Tests "$patch" | tr ',' '\n')
	while read -r test; do
		[[ $test != host && $test != cpus && $test != as_expected && $test != kmemleak && $test != taint ]] || continue
		grep -qw -- "$test" <(field Tests "$patch") || die "$name: Red: '$test' is not among its Tests"
	done < <(wanted "$patch" | sed 's/:.*//')
}

# The series in a tree of its own, without any fault.
clean_tree() {
	local head
	head=$(git -C "$tree" rev-parse HEAD)
	if ! git -C "$work" rev-parse -q --verify HEAD > /dev/null 2>&1; then
		rm -rf "$work"
		git -C "$tree" worktree prune
		git -C "$tree" worktree add -q --detach "$work" "$head" || die "no tree in $work"
	fi
	git -C "$work" checkout -q -f --detach "$head"
}

# boot RESULTS TESTS APPEND: of the tree that the kernel was built from the fault
# is gone again
boot() {
	rm -rf "$1"
	mkdir -p "$1"
	EXECMEM_BUILD=$own BUILT=old RESULTS=$1 TESTS=$2 APPEND=$3 "$scripts/run.sh" > "$1/log" 2>&1
}

# All tests that the mutants of this ARCH and FLAVOUR are to be found by must be
# content with the kernel as it is, booted as they are: else their red proves
# nothing.
#
# The modules are packed once, here, without their BTF: types are numbered anew
# in each kernel image, and one whose BTF does not fit is not loaded. Nothing
# else of a module depends on the image that it was built with.
unmutated() {
	local patch append tests results
	"$scripts/host-setup.sh"
	EXECMEM_BUILD=$own "$scripts/build-kernel.sh" || return 1
	EXECMEM_BUILD=$own MODULE_BTF=no "$scripts/build-guest.sh" || return 1
	while read -r append <&8; do
		tests=$(for patch in "$@"; do
			[[ $(field Append "$patch") != "$append" ]] || field Tests "$patch"
		done | tr ',' '\n' | LC_ALL=C sort -u | paste -s -d ,)
		results=$own/results/$ARCH-$FLAVOUR${append:+-${append//[^[:alnum:]]/-}}
		say "$ARCH-$FLAVOUR${append:+ $append} without a fault: $tests"
		if ! boot "$results" "$tests" "$append"; then
			say "it is red without a fault: $(reds "$results" | one_line)"
			return 1
		fi
	done 8< <(for patch in "$@"; do field Append "$patch" | grep . || echo; done | LC_ALL=C sort -u)
}

mutant() {
	local patch=$1 name results lost others begin=$SECONDS built
	name=$(basename "$patch" .patch)
	results=$own/results/$name
	if ! git -C "$work" apply "$patch" 2> "$own/why"; then
		cannot "$name" "does not apply to the series: $(head -n 1 "$own/why")"
		return
	fi
	# an image is all that differs
	if ! EXECMEM_BUILD=$own IMAGE_ONLY=1 "$scripts/build-kernel.sh" > "$own/why" 2>&1; then
		cannot "$name" "does not build: $(tail -n 1 "$own/why")"
		git -C "$work" checkout -q -f -- .
		return
	fi
	built=$((SECONDS - begin))
	git -C "$work" checkout -q -f -- .
	boot "$results" "$(field Tests "$patch")" "$(field Append "$patch")" || true
	if ! grep -q '^run: ' "$results/log"; then
		cannot "$name" "the harness was stopped, no verdict (${results#"$top"/}/log)"
		return
	fi
	wanted "$patch" > "$results/wanted"
	reds "$results" > "$results/red"
	if grep -qsE 'failed to validate module|disagrees about version|version magic' \
		"$results"/console.log "$results"/boot-*/console.log; then
		cannot "$name" "the modules do not fit its kernel, no verdict (${results#"$top"/})"
		return
	fi
	lost=$(missing "$results/wanted" "$results/red" | one_line)
	others=$(grep -vxF -f "$results/wanted" "$results/red" | one_line || true)
	[[ ! $others ]] || others=" (also red: $others)"
	if [[ ! $lost ]]; then
		remember "$patch"
		pass "$name" "killed by $(one_line < "$results/wanted")$others, $built s to build, $((SECONDS - begin - built)) s to run"
	else
		fail "$name" "survived; not red: $lost$others (${results#"$top"/})"
	fi
}

names=("$@")
((${#names[@]})) || mapfile -t names < <(find "$mutants" -name '*.patch' -printf '%f\n' | LC_ALL=C sort)
((${#names[@]})) || die 'there are no mutants in selftests/mutants'
groups=()
declare -A members
for name in "${names[@]}"; do
	patch=$mutants/${name%.patch}.patch
	[[ -f $patch ]] || misused "no such mutant '${name%.patch}' in selftests/mutants"
	check_header "$patch"
	[[ ${members[$ARCH $FLAVOUR]:-} ]] || groups+=("$ARCH $FLAVOUR")
	members[$ARCH $FLAVOUR]+="$patch"$'\n'
done

export ARCH FLAVOUR
lock mutants
ARCH=x86_64 "$scripts/host-setup.sh"
"$scripts/series.sh" apply
mkdir -p "$own"
conditions_id=$(conditions | sha256sum)
trap 'git -C "$work" checkout -q -f -- . 2> /dev/null || true' EXIT
for group in "${groups[@]}"; do
	read -r ARCH FLAVOUR <<< "$group"
	patches_of_group=()
	while read -r patch; do
		if known "$patch"; then
			pass "$(basename "$patch" .patch)" 'killed before'
		else
			patches_of_group+=("$patch")
		fi
	done < <(printf '%s' "${members[$group]}")
	((${#patches_of_group[@]})) || continue
	clean_tree
	if ! unmutated "${patches_of_group[@]}"; then
		for patch in "${patches_of_group[@]}"; do
			cannot "$(basename "$patch" .patch)" 'not tried'
		done
		continue
	fi
	for patch in "${patches_of_group[@]}"; do
		mutant "$patch"
	done
done

echo
for name in "${bad[@]}"; do
	echo "failed: $name"
done
printf '%d killed, %d survived' "$killed" "$survived"
((broken == 0)) || printf ', %d not tried' "$broken"
echo
((killed > 0 && survived == 0 && broken == 0))
