#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of the semantic patches in coccinelle/, and what they find in the kernel
# trees: all callers of before in the base, nothing in the series.
#
# Prints "ok NAME" or "not ok NAME: reason" for each.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
cocci=$top/coccinelle

if ! command -v spatch > /dev/null; then
	echo 'skip coccinelle: spatch is not installed'
	exit 0
fi
[[ -e $tree/scripts/coccicheck ]] || die "there is no tree in ${tree#"$top"/}: make series"

mkdir -p "$build"
work=$(mktemp -d "$build/.cocci.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT
cd "$work"
bad=0

# result NAME FILE: good when the file, which says what is wrong, is empty
result() {
	if [[ -s $2 ]]; then
		echo "not ok $1: $(head -n 6 "$2" | cut -c 1-200 | tr '\n' '|')"
		bad=1
	else
		echo "ok $1"
	fi
}

# coccicheck MODE RULE DIR: as "make coccicheck M=DIR" does it; it takes each
# file by itself. Without what it says itself, and with DIR/ taken off names.
coccicheck() {
	MODE=$1 COCCI=$cocci/$2/$2.cocci KBUILD_EXTMOD=$work/$3 \
		srctree=$tree LINUXINCLUDE='' J=1 SPFLAGS='' V='' C='' DEBUG_FILE='' \
		bash "$tree/scripts/coccicheck" > out 2>&1 || echo 'coccicheck failed'
	sed -e '1,/^[^ ]*spatch -D /d' -e "s|$work/$3/||g" out
}

# together MODE RULE OPTION... FILE...: all the files at once
together() {
	local mode=$1 rule=$2 options
	shift 2
	options=$(sed -n 's,^// Options:,,p' "$cocci/$rule/$rule.cocci")
	# shellcheck disable=SC2086
	spatch -D "$mode" --very-quiet --cocci-file "$cocci/$rule/$rule.cocci" $options "$@" 2>&1 ||
		echo 'spatch failed'
}

# compare NAME EXPECTED FOUND
compare() {
	diff -U 0 "$2" "$3" > why || true
	result "$1" why
}

# lines_of FILE: the lines that a report or a list of things to do is about
lines_of() { sed -n -e 's/^\([^:]*:[0-9]*\):.*/\1/p' \
	-e 's/^\* TODO \[\[view:\([^:]*\)::.*linb=\([0-9]*\):.*/\1:\2/p' "$1" | LC_ALL=C sort -u; }

# --- each rule, with the files beside it --------------------------------------
# NAME.c gives NAME.expected.report, and NAME.expected.c if the rule has a patch;
# none.c gives nothing.
rule_cases() {
	local rule=$1 file name
	mkdir "$rule"
	for file in "$cocci/$rule"/*.c; do
		[[ $file = *.expected.c ]] || cp "$file" "$rule/"
	done

	coccicheck report "$rule" "$rule" > found
	cat "$cocci/$rule"/*.expected.report > expected
	compare "$rule: what is reported" <(LC_ALL=C sort expected) <(LC_ALL=C sort found)
	grep '^none.c' found > why || true
	result "$rule: nothing is reported of none.c" why
	lines_of found > lines

	coccicheck org "$rule" "$rule" > found
	compare "$rule: org mode has the lines of report mode" lines <(lines_of found)
	# not all that is done by hand is an expression, which is what it can mark
	coccicheck context "$rule" "$rule" > marked
	LC_ALL=C comm -13 lines <(minus_lines marked) > why
	grep -v ': by hand: ' expected | lines_of /dev/stdin |
		LC_ALL=C comm -23 - <(minus_lines marked) >> why
	result "$rule: context mode has the lines of report mode" why

	grep -q '^virtual patch' "$cocci/$rule/$rule.cocci" || return 0
	coccicheck patch "$rule" "$rule" > /dev/null
	# spatch names the files by their whole path
	sed -n '/^diff /,$p' out | (cd / && patch -s -p1) || true
	for file in "$rule"/*.c; do
		name=$(basename "$file" .c)
		if [[ $name = none ]]; then
			compare "$rule: none.c is not changed" "$cocci/$rule/none.c" "$file"
		else
			compare "$rule: $name.c is converted" "$cocci/$rule/$name.expected.c" "$file"
		fi
	done
	coccicheck patch "$rule" "$rule" > why
	result "$rule: what is converted stays as it is" why
}

# minus_lines DIFF: file:line of each line that it takes away
minus_lines() {
	awk '/^--- /	{ file = $2; sub(".*/", "", file) }
	     /^@@ /	{ split($2, at, ","); line = -at[1]; next }
	     /^---|^\+\+\+|^diff/ { next }
	     /^-/	{ print file ":" line++ }
	     /^ /	{ line++ }' "$1" | LC_ALL=C sort -u
}

for rule in execmem_convert execmem_perms execmem_free; do
	rule_cases "$rule"
done

# --- the tests are C, before and after -------------------------------------------
compiles() {
	local name=$1 file
	shift
	for file in "${@:2}"; do
		gcc -std=gnu11 -fsyntax-only -ffreestanding -Wall -Werror -I "$cocci/stubs" "$1" \
			"$file" 2>&1
	done > why || true
	result "$name" why
}
compiles 'the tests of execmem_convert compile without execmem' -UEXECMEM \
	"$cocci"/execmem_convert/{in,hand,none}.c "$cocci"/execmem_convert/split/*.c
compiles 'what is converted compiles with execmem, and warns of nothing' -DEXECMEM \
	"$cocci"/execmem_convert/in.expected.c "$cocci"/execmem_convert/split/expected/*.c
compiles 'the tests of execmem_perms and execmem_free compile with execmem' -DEXECMEM \
	"$cocci"/execmem_{perms,free}/{in,none}.c

# --- a module of more than one file ----------------------------------------------
cp -r "$cocci/execmem_convert/split" split
rm -r split/expected
(cd split && together patch execmem_convert --in-place ./*.c ./*.h) > /dev/null
diff -U 0 -r "$cocci/execmem_convert/split/expected" split > why || true
result 'execmem_convert: files that are given at once' why

# --- what the conversion leaves is found by the others ------------------------------
mkdir left
cp "$cocci/execmem_convert/hand.expected.c" left/hand.c
coccicheck report execmem_perms left > found
awk '/FIXME: only execmem/ { print "hand.c:" NR + 1 }' left/hand.c | LC_ALL=C sort > expected
[[ -s expected ]] || die 'hand.expected.c leaves nothing to find'
LC_ALL=C comm -23 expected <(lines_of found) > why
result 'execmem_perms finds what execmem_convert left of set_memory_*()' why

# --- the kernel trees -------------------------------------------------------------------
gone='module_alloc|module_memfree|bpf_jit_alloc_exec|bpf_jit_free_exec|alloc_insn_page|free_insn_page'
new='execmem_text_alloc|jit_text_alloc|execmem_data_alloc'

# extract REVISION NAMES DIR: the files that have one of the names. To look through
# a revision takes git long, to look through the files it has written does not.
extract() {
	mkdir "$3"
	{
		git -C "$tree" grep -lwE "$2" -- '*.[ch]' || true
		git -C "$tree" diff --name-only --no-renames "$1" -- '*.[ch]'
	} | LC_ALL=C sort -u > files
	xargs -a files git -C "$tree" grep -lwE "$2" "$1" -- < /dev/null | sed "s/^$1://" > found
	[[ -s found ]] || die "no file of $1 in ${tree#"$top"/} has $2"
	xargs -a found git -C "$tree" archive "$1" | tar -x -C "$3"
}

# census DIR: file, function and name of what has to be converted
census() {
	(cd "$1" && together census execmem_convert --dir .) | sed 's,^\./,,' | LC_ALL=C sort
}

extract base "$gone" base
census base > found
compare 'the callers in the base are those of the list' \
	<(grep -v '^#' "$cocci/execmem_convert/census-6.1" | LC_ALL=C sort) found
extract HEAD "$gone" series
census series > why
result 'no caller is left in the series' why
extract HEAD "$new" users
for rule in execmem_perms execmem_free; do
	(cd users && together report "$rule" --no-show-diff --dir .) > why
	result "$rule: nothing in the series" why
done
exit "$bad"
