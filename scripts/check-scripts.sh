#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of the scripts themselves, on a kernel tree of four files: the way from
# patches to commits and back, and that each mistake of the user gets one clear
# line, a bad exit status, and nothing half-written. Also of the comparison of
# two kernels.
#
# Prints "ok NAME" or "not ok NAME" for each.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
unset BASE TESTS APPEND EXTRA_CONFIG
scripts=$top/scripts
mkdir -p "$build"
work=$(mktemp -d "$build/.check.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT
export EXECMEM_BUILD=$work/build EXECMEM_PATCHES=$work/patches EXECMEM_SELFTESTS=$work/none
bad=0

g() { git -C "$EXECMEM_BUILD/linux-6.1.y" -c user.name=test -c user.email=test@localhost "$@"; }

result() {
	local name=$1 why=$2
	if [[ $why ]]; then
		echo "not ok $name: $why"
		bad=1
	else
		echo "ok $name"
	fi
}

# expect_error NAME PATTERN COMMAND...
expect_error() {
	local name=$1 pattern=$2 why='' status=0
	shift 2
	"$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	sed -i '/^make\(\[[0-9]*\]\)\?: \*\*\* /d' "$work/err"
	if ((status == 0)); then
		why='exit status 0'
	elif [[ $(wc -l < "$work/err") != 1 ]]; then
		why="not one line on stderr but $(wc -l < "$work/err"): $(head -n 3 "$work/err" | tr '\n' '|')"
	elif ! grep -qE -- "$pattern" "$work/err"; then
		why="says: $(cat "$work/err")"
	elif compgen -G "$EXECMEM_BUILD/.series.*" > /dev/null; then
		why='leaves a temporary directory'
	fi
	result "$name" "$why"
}

# A kernel as small as the scripts accept.
fake_kernel() {
	mkdir -p "$1/kernel" "$1/mm"
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = 7\n' "$2" "$3" > "$1/Makefile"
	seq 40 > "$1/mm/a.c"
	seq 40 > "$1/kernel/b.c"
}

reset() { rm -rf "$EXECMEM_BUILD" "$EXECMEM_PATCHES"; mkdir -p "$EXECMEM_PATCHES"; }
series() { "$scripts/series.sh" "$@"; }

fake_kernel "$work/linux" 6 1
fake_kernel "$work/linux-6.6" 6 6
tar -C "$work" -cJf "$work/linux.tar.xz" linux
cp -r "$work/linux" "$work/linux.git"
git -C "$work/linux.git" init -q
git -C "$work/linux.git" add .
git -C "$work/linux.git" -c user.name=test -c user.email=test@localhost commit -qm one
git -C "$work/linux.git" tag v6.1.7
export BASE=$work/linux.tar.xz

# --- what make tells its children ------------------------------------------------
why=''
[[ $(MAKEFLAGS=' -- ARCH=other' bash -c ". '$scripts/common.sh'; printenv MAKEFLAGS") != *other* ]] ||
	why='ARCH=... of make run gets to the make of the kernel'
result 'variables of make stay with it' "$why"

# --- what a script is asked -------------------------------------------------------
# Help is the comment above the script; what is not known starts nothing, for some of
# them take an hour. Neither leaves a directory.
for script in "$scripts"/*.sh; do
	name=${script##*/}
	[[ $name != common.sh && $name != objects.sh ]] || continue
	why='' status=0
	second=$(sed -n 3p "$script")
	rm -rf "$EXECMEM_BUILD"
	timeout 20 "$script" --help > "$work/out" 2> "$work/err" < /dev/null || status=$?
	((status == 0)) || why="--help: exit status $status"
	[[ $(head -n 1 "$work/out") = "${second#\# }" ]] || why="--help says: $(head -n 1 "$work/out")"
	status=0
	timeout 20 "$script" sweet > "$work/out" 2> "$work/err" < /dev/null || status=$?
	((status == 2)) || why="'sweet': exit status $status"
	grep -q "sweet\|^$name: .*?$" <(head -n 1 "$work/err") || why="'sweet': says $(head -n 1 "$work/err")"
	grep -qxF -- "${second#\# }" "$work/err" || why="'sweet': does not say what it knows"
	[[ ! -e $EXECMEM_BUILD && ! -s $work/out ]] || why='has begun with something'
	result "$name knows --help, and no 'sweet'" "$why"
done

# --- why something failed --------------------------------------------------------
cat > "$work/log" <<'END'
  CC      lib/error-inject.o
  CC [M]  fs/failed.o
  CC      mm/a.o
mm/a.c: In function 'a':
mm/a.c:3:2: error: expected ';' before '}' token
    3 | }
make[2]: *** [scripts/Makefile.build:250: mm/a.o] Error 1
END
why=$(bash -c ". '$scripts/common.sh'; why_failed '$work/log'")
[[ $why != "mm/a.c:3:2: error: "* || $why = *inject* ]] || why=''
result 'the excerpt of a log begins with the first error' "$why"
printf '  CC      lib/error-inject.o\n  LD      vmlinux\nld: cannot find -lz\n' > "$work/log"
why=$(bash -c ". '$scripts/common.sh'; why_failed '$work/log'")
[[ $why != 'ld: cannot find -lz' ]] || why=''
result 'a step of kbuild is not an error' "$why"

# --- results of scripts ---------------------------------------------------------
# tested COMMAND: what check.sh counts for a script that does that
tested() {
	mkdir -p "$work/fake"
	printf '#!/bin/sh\n%s\n' "$1" > "$work/fake/some.sh"
	chmod +x "$work/fake/some.sh"
	bash -c "scripts=$work/fake"'
		pass() { echo "pass $1"; }; fail() { echo "fail $1"; }; skip() { echo "skip $1"; }
		eval "$(sed -n "/^results_of()/,/^}/p" "$0")"
		results_of some.sh some' "$scripts/check.sh" | paste -sd ,
}
why=''
[[ $(tested true) = 'fail some: some.sh has not tested anything' ]] || why="of nothing: $(tested true)"
[[ $(tested 'echo ok a') = 'pass some: a' ]] || why="of a pass: $(tested 'echo ok a')"
[[ $(tested 'echo ok a; exit 3') = 'pass some: a,fail some: some.sh ended with 3' ]] || why="of 3: $(tested 'echo ok a; exit 3')"
result 'a script that has tested nothing has failed' "$why"

# --- the notes for maintainers ----------------------------------------------------
# They name patches by subject. $patches is the series here, not what is tested below.
while read -r patch; do
	git mailinfo /dev/null /dev/null < "$patch" 2> /dev/null | sed -n 's/^Subject: //p'
done < <(series_files '') > "$work/subjects"

# wrong_notes DIRECTORY: what its sections "Patches" say of other patches than there
# are, and what they do not say
wrong_notes() {
	local file subject
	awk 'FNR == 1 { listed = 0 }
		/^## / { listed = $0 == "## Patches"; next }
		listed { n = split($0, part, "`"); for (i = 2; i <= n; i += 2) print FILENAME "\t" part[i] }' \
		"$1"/*.md > "$work/listed"
	while IFS=$'\t' read -r file subject; do
		grep -qxF -- "$subject" "$work/subjects" || echo "${file##*/} has '$subject', which is no patch of the series"
	done < "$work/listed"
	cut -f 2 "$work/listed" > "$work/listed.subjects"
	while read -r subject; do
		grep -qxF -- "$subject" "$work/listed.subjects" || echo "no file has '$subject'"
	done < "$work/subjects"
}
why=$(wrong_notes "$top/MAINTAINERS-notes" | paste -sd '|')
[[ -s $work/subjects ]] || why='there are no patches'
result 'each patch is in the notes for maintainers, and no other' "$why"
why=''
mkdir "$work/notes"
# shellcheck disable=SC2016
printf '# x\n\n## Patches\n\n- `%s`\n- `mm: sweet`: no patch\n\n## Rules\n\n`mm: sour`\n' \
	"$(sed -n 1p "$work/subjects")" > "$work/notes/x.md"
wrong_notes "$work/notes" > "$work/out"
[[ $(grep -v '^no file has' "$work/out") = "x.md has 'mm: sweet', which is no patch of the series" ]] ||
	why="of another subject: $(grep -v '^no file has' "$work/out" | paste -sd '|')"
[[ $(grep -c '^no file has' "$work/out") = $(($(wc -l < "$work/subjects") - 1)) ]] ||
	why="of a patch that is left out: $(grep -m 1 '^no file has' "$work/out")"
result 'notes on other patches are found' "$why"

# --- there and back -----------------------------------------------------------
reset
series apply > /dev/null
sed -i 's/^7$/seven/' "$EXECMEM_BUILD/linux-6.1.y/mm/a.c"
g commit -qam 'mm: call seven by its name

A body with a line that looks like a header:
Subject: none' --date '2026-01-02 03:04:05 +0200'
sed -i 's/^9$/nine/' "$EXECMEM_BUILD/linux-6.1.y/kernel/b.c"
g commit -qam 'kernel: the same for nine' --date '2026-01-02 03:04:06 +0200'
expect_error 'unexported commits are not thrown away' 'not in patches/.*make export' \
	env BASE="$work/linux.git" "$scripts/series.sh" apply
series export > /dev/null
cp -r "$EXECMEM_PATCHES" "$work/patches.1"
head_1=$(g rev-parse 'HEAD^{tree}')
rm -rf "$EXECMEM_BUILD"
series apply > /dev/null
head_2=$(g rev-parse HEAD)
series export > /dev/null
why=''
diff -r "$work/patches.1" "$EXECMEM_PATCHES" > /dev/null || why='patches differ'
[[ $(g rev-parse 'HEAD^{tree}') = "$head_1" ]] || why='trees differ'
result 'export after apply gives no diff' "$why"

why=''
rm -rf "$EXECMEM_BUILD"
series apply > /dev/null
[[ $(g rev-parse HEAD) = "$head_2" ]] || why='the commits have other names'
result 'the same patches give the same commits' "$why"

why=''
sed -i 's/^Subject: .*/Subject: [PATCH 00\/9] Words of ours/; s/^Patches and files/Words\n&/' \
	"$EXECMEM_PATCHES/0000-cover-letter.patch"
series export > /dev/null
grep -q '^Subject: \[PATCH 00/2\] Words of ours$' "$EXECMEM_PATCHES/0000-cover-letter.patch" ||
	why='the subject is lost'
grep -q '^Words$' "$EXECMEM_PATCHES/0000-cover-letter.patch" || why='the text is lost'
result 'the cover letter keeps its words' "$why"

why=''
for BASE in "$work/linux" "$work/linux.git" "$work/linux.git@v6.1.7"; do
	rm -rf "$EXECMEM_BUILD"
	series apply > /dev/null || why="$BASE failed"
	[[ $(g rev-parse HEAD) = "$head_2" ]] || why="$BASE gives other commits"
done
BASE=$work/linux.tar.xz
result 'a directory, a git tree and a tarball give the same commits' "$why"

why=''
rm -rf "$EXECMEM_BUILD"
series apply > /dev/null
touch -d '2020-01-01' "$EXECMEM_BUILD/linux-6.1.y/mm/a.c"
rm "$EXECMEM_PATCHES"/0002-*
series apply > /dev/null
[[ $(g rev-list --count base..HEAD) = 1 ]] || why='the patch is still there'
[[ $(stat -c %Y "$EXECMEM_BUILD/linux-6.1.y/mm/a.c") = $(date -d 2020-01-01 +%s) ]] ||
	why='a file that did not change was written'
result 'a patch less changes only its files' "$why"

# --- git am takes the patches with no flag --------------------------------------
why=''
reset
cp "$work/patches.1"/* "$EXECMEM_PATCHES"
series apply > /dev/null
tree_id=$(g rev-parse 'HEAD^{tree}')
g checkout -q base
g am -q "$EXECMEM_PATCHES"/000[1-9]-*.patch > /dev/null 2>&1 || why='git am refuses them'
[[ $(g rev-parse 'HEAD^{tree}') = "$tree_id" ]] || why='git am gives another tree'
result 'git am takes the patches' "$why"

# --- the last patch is selftests/execmem ------------------------------------------
reset
cp -r "$work/linux" "$work/linux.tests"
mkdir -p "$work/linux.tests/tools/testing/selftests" "$work/selftests/execmem/lib"
printf 'TARGETS += %s\n' exec filesystems > "$work/linux.tests/tools/testing/selftests/Makefile"
printf 'EXECUTABLE MEMORY ALLOCATOR\nL:\tlinux-mm@kvack.org\nF:\tmm/a.c\n\nEXFAT\nF:\tfs/\n' > "$work/linux.tests/MAINTAINERS"
git -C "$work/selftests" init -q
printf 'selftests: execmem: add tests\n\nSome words.\n' > "$work/selftests/message"
echo 'int main() { }' > "$work/selftests/execmem/wx.cpp"
echo '/* shared */' > "$work/selftests/execmem/lib/ktap.hpp"
echo '*.o' > "$work/selftests/execmem/.gitignore"
touch "$work/selftests/execmem/wx.o"
with_tests() { env BASE="$work/linux.tests" EXECMEM_SELFTESTS="$work/selftests" "$@"; }
with_tests "$scripts/series.sh" apply > /dev/null
sed -i 's/^7$/seven/' "$EXECMEM_BUILD/linux-6.1.y/mm/a.c"
g commit -qam 'mm: call seven by its name' --date '2026-01-02 03:04:05 +0200'
expect_error 'no patch adds the selftests' 'no patch adds .*make export' with_tests "$scripts/series.sh" selftests
with_tests "$scripts/series.sh" export > /dev/null
why=''
with_tests "$scripts/series.sh" selftests > "$work/out" 2>&1 || why="$(cat "$work/out")"
g checkout -q base
g am -q "$EXECMEM_PATCHES"/000[1-9]-*.patch > /dev/null 2>&1 || why='git am refuses the patches'
diff -r -x '*.o' "$work/selftests/execmem" "$EXECMEM_BUILD/linux-6.1.y/tools/testing/selftests/execmem" > /dev/null ||
	why='the tree has other files'
[[ ! -e $EXECMEM_BUILD/linux-6.1.y/tools/testing/selftests/execmem/wx.o ]] || why='a product is in the patch'
[[ $(sed -n 2p "$EXECMEM_BUILD/linux-6.1.y/tools/testing/selftests/Makefile") = 'TARGETS += execmem' ]] ||
	why='it is not in the list of targets'
[[ $(sed -n 4p "$EXECMEM_BUILD/linux-6.1.y/MAINTAINERS") = F:$'\t'tools/testing/selftests/execmem/ ]] ||
	why='it is not in MAINTAINERS'
result 'the last patch brings the selftests' "$why"
why=''
rm -rf "$EXECMEM_BUILD"
cp -r "$EXECMEM_PATCHES" "$work/patches.tests"
with_tests "$scripts/series.sh" apply > /dev/null
last=$(g rev-parse HEAD)
with_tests "$scripts/series.sh" export > /dev/null
[[ $(g rev-parse HEAD) = "$last" ]] || why='exported, it has another name'
diff -r "$work/patches.tests" "$EXECMEM_PATCHES" > /dev/null || why='the patches differ'
result 'it is made the same each time' "$why"
echo 'int other;' >> "$work/selftests/execmem/wx.cpp"
expect_error 'selftests changed and not exported' \
	'last patch is not what selftests/execmem is, first in .*execmem/wx\.cpp \(make export\)' \
	with_tests "$scripts/series.sh" selftests
why=''
with_tests "$scripts/series.sh" export > /dev/null
with_tests "$scripts/series.sh" selftests > "$work/out" 2>&1 || why="$(cat "$work/out")"
grep -q '^+int other;$' "$EXECMEM_PATCHES"/0002-*.patch || why='the patch has not changed'
[[ $(find "$EXECMEM_PATCHES" -name '000[1-9]-*' | wc -l) = 2 ]] || why='there are not two patches'
result 'an export takes what has changed' "$why"
echo 'Other words.' >> "$work/selftests/message"
expect_error 'the message changed and not exported' 'another message than selftests/message' \
	with_tests "$scripts/series.sh" selftests
with_tests "$scripts/series.sh" export > /dev/null
echo 'int third;' >> "$EXECMEM_BUILD/linux-6.1.y/tools/testing/selftests/execmem/wx.cpp"
g commit -qa --amend --no-edit
expect_error 'the copy changed, and not the selftests' 'was changed: change selftests/execmem' \
	with_tests "$scripts/series.sh" export
g reset -q --hard "$(cat "$EXECMEM_BUILD/linux-6.1.y/.git/execmem-state.head")"
sed -i 's/^9$/nine/' "$EXECMEM_BUILD/linux-6.1.y/kernel/b.c"
g commit -qam 'kernel: the same for nine'
expect_error 'a commit behind the selftests' "'selftests: execmem: add tests' is not the last commit" \
	with_tests "$scripts/series.sh" export

# --- patches that do not fit ----------------------------------------------------
reset
cp "$work/patches.1"/* "$EXECMEM_PATCHES"
series apply > /dev/null
before=$(g rev-parse HEAD)
cp "$EXECMEM_PATCHES"/0001-* "$EXECMEM_PATCHES/0003-again.patch"
expect_error 'a patch that the base has already' \
	'0003-again.patch \(3 of 3\) is already applied in the base Linux 6\.1\.7' series apply
sed 's/^ 5$/ five/' "$work/patches.1"/0001-* > "$EXECMEM_PATCHES/0003-again.patch"
expect_error 'a patch that conflicts' \
	'0003-again.patch \(3 of 3\) conflicts with the base Linux 6\.1\.7 \(.*\): .*mm/a\.c' series apply
echo nonsense > "$EXECMEM_PATCHES/0003-again.patch"
expect_error 'a file that is no patch' '0003-again.patch' series apply
why=''
[[ $(g rev-parse HEAD) = "$before" && -z $(g status --porcelain) ]] || why='the tree has changed'
result 'after a bad patch the tree is as before' "$why"

# --- variants for older bases -----------------------------------------------------
# The fake kernel is 6.1.7; the patch of nine has variants that say what they are.
reset
cp "$work/patches.1"/* "$EXECMEM_PATCHES"
nine=$(basename "$EXECMEM_PATCHES"/0002-*)
for until in 6.1.6 6.1.7 6.1.10; do
	mkdir "$EXECMEM_PATCHES/until-$until"
	sed "s/^+nine$/+nine-$until/" "$work/patches.1/$nine" > "$EXECMEM_PATCHES/until-$until/$nine"
done
# variant_is WORD: what series apply puts into the tree
variant_is() {
	rm -rf "$EXECMEM_BUILD"
	series apply > /dev/null
	[[ $(sed -n 9p "$EXECMEM_BUILD/linux-6.1.y/kernel/b.c") = "$1" &&
	   $(g rev-list --count base..HEAD) = 2 ]] || why="$why no $1"
}
why=''
variant_is nine-6.1.7
rm -r "$EXECMEM_PATCHES/until-6.1.7"
variant_is nine-6.1.10
rm -r "$EXECMEM_PATCHES/until-6.1.10"
variant_is nine
result 'the lowest variant that is not below the base stands in' "$why"

mkdir "$EXECMEM_PATCHES/until-6.1.9"
sed 's/^ 8$/ eight/' "$work/patches.1/$nine" > "$EXECMEM_PATCHES/until-6.1.9/$nine"
expect_error 'a variant that conflicts' \
	"until-6.1.9/$nine \(2 of 2\) conflicts with the base Linux 6\.1\.7 \(.*\): .*kernel/b\.c" series apply
sed 's/^+nine$/+IX/' "$work/patches.1/$nine" > "$EXECMEM_PATCHES/until-6.1.9/$nine"
series apply > /dev/null
printf 'made-on\t6.1.12\ngood\t6.1.7\t6.1.12\n' > "$EXECMEM_PATCHES/bases"
expect_error 'an older base is not exported' 'is Linux 6\.1\.7, .* made on 6\.1\.12: not exported' series export
why=''
diff "$work/patches.1/$nine" "$EXECMEM_PATCHES/$nine" > /dev/null || why='it was written'
result 'the patches stay as they were' "$why"
mv "$EXECMEM_PATCHES/until-6.1.9/$nine" "$EXECMEM_PATCHES/until-6.1.9/0007-nine.patch"
expect_error 'a variant of no patch' 'until-6.1.9/0007-nine.patch stands in for no patch' series apply

# --- wrong bases -----------------------------------------------------------------
reset
head -c 3000 /dev/urandom > "$work/noise.tar.xz"
mkdir "$work/empty"
expect_error 'BASE does not exist' 'BASE=/nowhere/linux: no such file' env BASE=/nowhere/linux "$scripts/series.sh" apply
expect_error 'BASE is no tarball' 'noise.tar.xz: cannot be unpacked' env BASE="$work/noise.tar.xz" "$scripts/series.sh" apply
expect_error 'BASE is another version' 'this is Linux 6\.6\.7, not a 6\.1\.y' env BASE="$work/linux-6.6" "$scripts/series.sh" apply
expect_error 'BASE is no kernel' 'neither a tarball' env BASE="$work/empty" "$scripts/series.sh" apply
expect_error 'BASE has no such revision' "no commit 'v6.1.999'" env BASE="$work/linux.git@v6.1.999" "$scripts/series.sh" apply
touch "$work/linux/.config"
expect_error 'BASE has been built in' 'mrproper' env BASE="$work/linux" "$scripts/series.sh" apply
rm "$work/linux/.config"
why=''
[[ ! -e $EXECMEM_BUILD/linux-6.1.y ]] || why='a tree is there'
result 'a wrong base leaves no tree' "$why"

# --- the rest --------------------------------------------------------------------
expect_error 'unknown ARCH' "unknown ARCH 'vax': x86_64, arm64, riscv64, s390x or ppc64le" make -s -C "$top" run ARCH=vax
expect_error 'unknown FLAVOUR' "unknown FLAVOUR 'sweet'" make -s -C "$top" run FLAVOUR=sweet
expect_error 'unknown test' "no 'sweet' in selftests/execmem/list" make -s -C "$top" run TESTS=wx,sweet
echo '#!/bin/sh
echo first; echo second' > "$work/some-test"
chmod +x "$work/some-test"
mkdir -p "$work/tests"
mv "$work/some-test" "$work/tests/wx"
# shellcheck disable=SC2016
expect_error 'unknown case' "TESTS=: no case 'sweet' in wx: it has first, second" \
	env TESTS=kunit,wx:first:sweet bash -c '. "$0/common.sh"; check_tests "$top/selftests/execmem/list" "$1"' \
	"$scripts" "$work/tests"
expect_error 'unknown suite of the tree' "no 'sweet' in selftests/tree/list" \
	make -s -C "$top" run-tree-selftests TESTS=sweet
expect_error 'export without a tree' 'nothing to export' series export

# --- two kernels compared ----------------------------------------------------------
# results FILE TEST...: what run-guest leaves, of one suite "one" with these lines
results() {
	local file=$1 line n=0
	shift
	{
		printf 'KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: selftests: execmem: one\n  1..%d\n' $#
		for line; do
			n=$((n + 1))
			echo "  ${line/ok /ok $n }"
		done
		echo 'ok 1 selftests: execmem: one'
	} > "$file"
}

# compared NAME STATUS PATTERN FILE...
compared() {
	local name=$1 status=$2 pattern=$3 got=0 why=''
	shift 3
	"$compare" --list "$work/list" --again "$work/again" "$@" > "$work/out" 2>&1 || got=$?
	((got == status)) || why="exit status $got, not $status"
	grep -qE -- "$pattern" "$work/out" || why="says: $(tail -n 3 "$work/out" | tr '\n' '|')"
	result "compare: $name" "$why"
}

compare=$build/host/compare
[[ -x $compare ]] || EXECMEM_BUILD=$build "$scripts/build-guest.sh" host
echo 'one 60' > "$work/list"
results "$work/a" 'ok x' 'not ok y' 'ok z # SKIP UNSUPPORTED'
results "$work/b" 'ok x' 'ok y' 'ok z # SKIP UNSUPPORTED'
results "$work/c" 'ok x' 'not ok y' 'ok z # SKIP UNRESOLVED'
results "$work/d" 'ok x' 'not ok y'
results "$work/none" 'not ok x' 'not ok y' 'ok z # SKIP UNSUPPORTED'
results "$work/endless" 'ok x' 'not ok y # TIMEOUT 9 s'
results "$work/y-fails" 'not ok y'
results "$work/y-passes" 'ok y'
compared 'the same' 0 '^one +3 +3 +0 +0 +1, 1, 1$' "$work/a" "$work/a"
compared 'a test that passes on one' 1 '^one/y +FAIL +ok +DIFFERS$' "$work/a" "$work/b"
compared 'another reason' 1 '^one/z +SKIP UNSUPPORTED +SKIP UNRESOLVED +DIFFERS$' "$work/a" "$work/c"
compared 'a test that one does not have' 1 '^one/z +SKIP UNSUPPORTED +no result +DIFFERS$' "$work/a" "$work/d"
compared 'nothing passes' 1 '^PROBLEM: one: nothing passed on the stock kernel$' "$work/none" "$work/none"
compared 'the same when run again' 0 '^one/y .* UNSTABLE, the second time both: FAIL$' \
	"$work/a" "$work/b" "$work/y-fails" "$work/y-fails"
compared 'one that only the stock kernel passed' 1 '^one/y .* DIFFERS, the second time FAIL and FAIL$' \
	"$work/b" "$work/a" "$work/y-fails" "$work/y-fails"
compared 'a test without an end on both' 1 '^PROBLEM: one/y: FAIL TIMEOUT 9 s on both kernels$' \
	"$work/endless" "$work/endless"
compared 'different when run again' 1 '^one/y .* DIFFERS, the second time FAIL and ok$' \
	"$work/a" "$work/b" "$work/y-fails" "$work/y-passes"
why=''
[[ $(cat "$work/again") = one/y ]] || why="it is '$(cat "$work/again")'"
result 'compare: what to run again' "$why"
: > "$work/empty.ktap"
compared 'no results' 2 'empty.ktap: no such results, or none in them$' "$work/a" "$work/empty.ktap"

# --- what make run boots ----------------------------------------------------------
# A run-guest that only says how it was called.
reset
series apply > /dev/null
guest=$EXECMEM_BUILD/x86_64-default
mkdir -p "$EXECMEM_BUILD/host" "$guest"
expect_error 'BUILT=1, and nothing is built' 'BUILT=1: nothing is built for x86_64-default' \
	env BUILT=1 "$scripts/run.sh"
# shellcheck disable=SC2016
printf '#!/bin/sh\necho "called: $*"\n' > "$EXECMEM_BUILD/host/run-guest"
chmod +x "$EXECMEM_BUILD/host/run-guest"
touch "$guest/vmlinuz" "$guest/initrd"
# boots WORD...: run.sh calls run-guest with all of these
boots() {
	local word
	"$scripts/run.sh" > "$work/out" 2> "$work/err" || why="refused: $(head -n 1 "$work/err")"
	for word; do
		grep -q -- "^called: .*$word" "$work/out" || why="without $word: $(tail -n 1 "$work/out")"
	done
}
stamp() { bash -c ". '$scripts/common.sh'; source_id '$EXECMEM_BUILD/linux-6.1.y' > $guest/vmlinuz.from
	guest_id > $guest/initrd.from"; }
# shellcheck disable=SC2317
run_error() { env BUILT=1 "$scripts/run.sh" > "$work/out" 2>&1 || { tail -n 1 "$work/out" >&2; return 1; }; }
expect_error 'BUILT=1 of nobody knows what' 'the kernel is not that of .*linux-6.1.y' run_error
stamp
why=''
BUILT=1 boots '--flavour default' '--config .*x86_64-default/kernel/.config'
grep -q 'was built from Linux 6\.1\.7, 0 patches, tree [0-9a-f]*$' "$work/out" || why="says $(head -n 1 "$work/out")"
result 'BUILT=1 says what it boots' "$why"
why=''
BUILT=1 SLOW=3 boots '--slow 3' '--boot-timeout 360'
BUILT=1 EXPECT=any boots '--expect any'
result 'SLOW= and EXPECT= reach the guest' "$why"
expect_error 'SLOW= is a number' "SLOW=much: not a number" env BUILT=1 SLOW=much "$scripts/run.sh"
echo one >> "$EXECMEM_BUILD/linux-6.1.y/mm/a.c"
expect_error 'BUILT=1 of a kernel before the last change' 'the kernel is not that of .*BUILT=old boots it' run_error
why=''
BUILT=old boots '--flavour default'
result 'BUILT=old boots it nevertheless' "$why"
stamp
echo other > "$guest/initrd.from"
expect_error 'BUILT=1 of tests before the last change' 'the tests or the harness have changed' run_error

# --- where text has to come from ----------------------------------------------------
# A QEMU that only leaves its arguments in qemu.log.
host=$build/host/run-guest
[[ -x $host ]] || EXECMEM_BUILD=$build "$scripts/build-guest.sh" host
mkdir -p "$work/qemu" "$work/run"
for tool in x86_64 aarch64; do
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' > "$work/qemu/qemu-system-$tool"
	chmod +x "$work/qemu/qemu-system-$tool"
done
touch "$work/some.config"
# expects SOURCE ARCH FLAVOUR [PARAMETERS]
expects() {
	local got
	PATH=$work/qemu:$PATH "$host" --arch "$2" --flavour "$3" --append "${4:-quiet}" --dir "$work/run" \
		--tree "$work" --kernel x --initrd x --config "$work/some.config" > /dev/null 2>&1 || true
	got=$(grep -o 'execmem\.expect=.*' "$work/run/qemu.log")
	[[ $got = "execmem.expect=$1" ]] || why="$2 $3 ${4:-}: $got, not $1"
}
why=''
expects pool x86_64 default
expects pool x86_64 debug execmem=pools
expects pool x86_64 nomodules
expects pages x86_64 default execmem=pages
expects pages x86_64 default 'nohugevmalloc quiet'
expects off x86_64 default 'execmem=pages execmem=off'
expects off x86_64 default 'nohugevmalloc execmem=off'
expects off arm64 default
expects off arm64 default execmem=pages
expects stock x86_64 stock
expects stock x86_64 tree-stock execmem=off
result 'the guest is told where text has to come from' "$why"

# --- complaints that a test provokes --------------------------------------------------
# complains EXPECTED NUMBER LINE...: so many of the lines are not expected
complains() {
	local expected=$1 number=$2 got
	shift 2
	got=$(printf '%s\n' "$@" | "$host" --splats "$expected")
	[[ $(grep -c . <<< "$got") = "$number" ]] || why="of '$*' not $number but: $got"
}
why=''
complains '' 1 'WARNING: CPU: 0 PID: 1 at mm/a.c:3'
complains 'at mm/a' 0 'WARNING: CPU: 0 PID: 1 at mm/a.c:3' 'Call Trace:'
complains 'at mm/a' 1 'WARNING: CPU: 0 PID: 1 at mm/b.c:3'
complains 'at mm/a' 1 'WARNING: CPU: 0 PID: 1 at mm/a.c:3' 'Call Trace:' 'Call Trace:'
complains 'at mm/a' 1 'Call Trace:' 'WARNING: CPU: 0 PID: 1 at mm/a.c:3'
complains 'allocation failure' 4 'x: page allocation failure: order:0' 'Call Trace:' 'UBSAN: shift' \
	'rcu: INFO: rcu_sched' 'INFO: task x blocked for more than 120 s' 'ODEBUG: free active'
complains '' 0 'Kernel command line: WARNING: this' 'nothing'
result 'only the complaints that a test names are expected' "$why"

# --- the rest of what is checked ------------------------------------------------------
mkdir -p "$work/copy"
cp -r "$scripts" "$work/copy/"
expect_error 'a guest without tests' 'there are no tests in selftests/execmem' \
	"$work/copy/scripts/build-guest.sh" host

mkdir -p "$EXECMEM_BUILD"/{linux-6.1.y,linux-base,bases,cross,execmem=pages,x86_64-default,host}
touch "$EXECMEM_BUILD/.lock-x"
make -s -C "$top" clean
why=''
left=$(find "$EXECMEM_BUILD" -mindepth 1 -maxdepth 1 -printf '%f\n' | LC_ALL=C sort | paste -sd ' ')
[[ $left = 'bases linux-6.1.y linux-base' ]] || why="leaves $left"
result 'make clean leaves the trees alone, and only them' "$why"

tools=$work/tools
mkdir "$tools"
for tool in bash env dirname basename date uname id sed grep cat mkdir; do
	ln -s "$(command -v "$tool")" "$tools/"
done
expect_error 'a tool is missing and there is no apt' 'missing.*bison' \
	env PATH="$tools" "$scripts/host-setup.sh"
expect_error 'what checks the scripts and the series is installed, too' 'missing.* shellcheck sparse ' \
	env PATH="$tools" "$scripts/host-setup.sh" all
expect_error 'so is a package that was asked for' 'missing.*gcc-none' \
	env PATH="$tools" "$scripts/host-setup.sh" gcc-none=none-gcc

reset
mkdir -p "$EXECMEM_BUILD/linux-6.1.y/include/config"
expect_error 'a kernel tree that has been built in' 'mrproper' "$scripts/build-kernel.sh"

# All commands of this machine but one compiler, and no way to install that.
every=$work/every
mkdir "$every"
find /usr/bin /usr/sbin /bin -maxdepth 1 ! -type d ! -name 'arc-linux-gnu-*' ! -name 'apt-get' ! -name sudo -print0 |
	xargs -0 ln -sft "$every"
reset
why='' status=0
PATH=$every "$scripts/cross.sh" arc > "$work/out" 2>&1 || status=$?
((status)) || why='exit status 0'
[[ $(tail -n 1 "$work/out") = '0 passed, 1 failed' ]] || why="says $(tail -n 1 "$work/out")"
grep -q '^FAIL arc: no arc-linux-gnu-gcc' "$work/out" || why="no reason: $(tail -n 4 "$work/out" | paste -sd '|')"
result 'cross.sh without a compiler has failed' "$why"

if unshare -rm true 2> /dev/null; then
	reset
	mkdir -p "$EXECMEM_BUILD"
	head -c 3000000 /dev/urandom > "$work/linux/mm/large"
	# shellcheck disable=SC2016
	expect_error 'the disk is full' 'No space left on device' \
		env BASE="$work/linux" unshare -rm bash -c \
		'mount -t tmpfs -o size=1M none "$EXECMEM_BUILD" && "$0" apply' "$scripts/series.sh"
	rm "$work/linux/mm/large"
else
	echo 'skip the disk is full: unshare is not permitted here'
fi
exit "$bad"
