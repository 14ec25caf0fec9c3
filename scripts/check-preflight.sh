#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of preflight.sh and send.sh, on a kernel of a dozen files that has the
# real checkpatch.pl, kernel-doc, get_maintainer.pl, coccicheck, gcc and sparse:
# that a good series passes, that each thing to object to is refused with its
# reason, and that the mails are what they should be.
#
# Prints "ok NAME" or "not ok NAME: reason" for each.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
unset TESTS APPEND EXTRA_CONFIG TO V
scripts=$top/scripts
[[ -e $tree/scripts/checkpatch.pl ]] || die 'there is no build/linux-6.1.y to take the tools from: make series'
kernel_tools=$tree/scripts
host=$build/host
mkdir -p "$build"
[[ -x $host/mail ]] || "$scripts/build-guest.sh" host
work=$(mktemp -d "$build/.check-preflight.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT
export EXECMEM_BUILD=$work/build EXECMEM_PATCHES=$work/patches EXECMEM_EXCUSES=$work/excuses
export EXECMEM_RECIPIENTS=$work/recipients
linux=$EXECMEM_BUILD/linux-6.1.y
bad=0

g() { git -C "$linux" -c user.name="$GIT_COMMITTER_NAME" -c user.email="$GIT_COMMITTER_EMAIL" "$@"; }

result() {
	local name=$1 why=$2
	if [[ $why ]]; then
		echo "not ok $name: $why"
		bad=1
	else
		echo "ok $name"
	fi
}

# --- the kernel ------------------------------------------------------------------
small_kernel() {
	local dir
	for dir in Documentation arch/{x86,arm64}/kernel arch/vax include/linux drivers fs init ipc kernel lib mm scripts/kconfig; do
		mkdir -p "$1/$dir"
		: > "$1/$dir/.keep"
	done
	cp "$kernel_tools"/{checkpatch.pl,spdxcheck.py,get_maintainer.pl,kernel-doc,coccicheck} "$1/scripts"
	cp "$kernel_tools"/{spelling.txt,const_structs.checkpatch} "$1/scripts"
	cp -r "$kernel_tools/../LICENSES" "$1"
	cp "$kernel_tools/kconfig/merge_config.sh" "$1/scripts/kconfig"
	mkdir -p "$1/scripts/coccinelle/misc"
	cp "$kernel_tools/coccinelle/misc/semicolon.cocci" "$1/scripts/coccinelle/misc"
	touch "$1"/{COPYING,CREDITS,Kbuild,README}
	cat > "$1/Makefile" <<-'END'
	MAKEFLAGS += -r
	.RECIPEPREFIX = >
	VERSION = 6
	PATCHLEVEL = 1
	SUBLEVEL = 7
	srctree := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
	own := arch/$(if $(filter x86_64,$(ARCH)),x86,$(ARCH))/kernel
	build := -f $(srctree)/Makefile obj
	ifeq ($(obj),.)
	subdir-ym := mm $(own)
	else ifneq ($(obj),)
	real-obj-y := $(patsubst $(srctree)/%.c,%.o,$(wildcard $(srctree)/$(obj)/*.c))
	endif
	allnoconfig: ; @cp $(KCONFIG_ALLCONFIG) $(O)/.config
	prepare: ;
	%.o: FORCE
	>@mkdir -p $(@D)
	>@echo '  CC      $@'
	>@$(CC) -Wall $(if $(W),-Wextra) -I$(srctree)/include -MMD -MF $(@D)/.$(@F).cmd -c -o $@ $(srctree)/$*.c
	>$(if $(C),@echo '  CHECK   $(srctree)/$*.c'; sparse -I$(srctree)/include $(srctree)/$*.c)
	FORCE: ;
	END
	cat > "$1/MAINTAINERS" <<-'END'
	List of maintainers

	Maintainers List
	----------------

	ARM64 PORT
	M:	Maintainer of arm64 <arm64@example.org>
	L:	linux-arm@lists.example.org (moderated for non-subscribers)
	S:	Maintained
	F:	arch/arm64/

	MEMORY MANAGEMENT
	M:	Prüferin, mm <mm@example.org>
	R:	Someone who reads <reader@example.org>
	L:	linux-mm@lists.example.org
	S:	Maintained
	F:	include/linux/mm.h
	F:	mm/

	X86 ARCHITECTURE
	M:	Maintainer of x86 <x86@example.org>
	S:	Supported
	F:	arch/x86/

	THE REST
	L:	linux-kernel@lists.example.org
	S:	Buried alive in reporters
	F:	*
	F:	*/
	END
	cat > "$1/include/linux/mm.h" <<-'END'
	/* SPDX-License-Identifier: GPL-2.0 */
	int mm_one(int x);
	int mm_two(void);
	int mm_three(int x);
	int mm_not_static(int x, int y);
	END
	cat > "$1/mm/a.c" <<-'END'
	// SPDX-License-Identifier: GPL-2.0
	#include <linux/mm.h>

	/**
	 * mm_old - what was never described
	 */
	int mm_one(int x)
	{
		if (x) {
			x++;
		};
		return x;
	}

	int mm_not_static(int x, int y)
	{
		return x;
	}
	END
	printf '// SPDX-License-Identifier: GPL-2.0\nint cpu;\n' > "$1/arch/x86/kernel/cpu.c"
	cp "$1/arch/x86/kernel/cpu.c" "$1/arch/arm64/kernel/cpu.c"
	echo '# no maintainer' > "$1/arch/vax/Kconfig"
}

# commit SUBJECT [BODY]
commit() {
	g add -A
	g commit -q -m "$1" -m "${2:-Callers that want more have to count so far.}" \
		--date "2026-01-02 03:04:0$(g rev-list --count base..HEAD) +0000"
}
# append FILE SUBJECT [BODY]: stdin to the end of the file
append() {
	cat >> "$linux/$1"
	commit "${@:2}"
}

words='This series gives the tiny kernel a second function, so that callers which
need the number two do not have to add one to one by themselves any longer.'

finish_series() {
	rm -f "$EXECMEM_PATCHES"/0*
	cat > "$EXECMEM_PATCHES/0000-cover-letter.patch" <<-END
	From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
	From: $GIT_COMMITTER_NAME <$GIT_COMMITTER_EMAIL>
	Date: Fri, 2 Jan 2026 00:00:00 +0000
	Subject: [PATCH 00/9] mm: two (für zwei)

	$words
	END
	"$scripts/series.sh" export > /dev/null
}

small_kernel "$work/linux"
git -C "$work/linux" init -q
git -C "$work/linux" add -A -f
git -C "$work/linux" -c user.name=test -c user.email=test@localhost commit -qm 'Linux 6.1.7'
git -C "$work/linux" tag v6.1.7
export BASE=$work/linux@v6.1.7
bases=$'made-on\t6.1.7\ngood\t6.1.7\t6.1.7'
mkdir -p "$EXECMEM_BUILD" "$EXECMEM_PATCHES"
ln -s "$host" "$EXECMEM_BUILD/host"
echo "$bases" > "$EXECMEM_PATCHES/bases"
"$scripts/series.sh" apply > /dev/null
append mm/two.c 'mm: give back two' <<'END'
// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

/**
 * mm_two - give back two
 *
 * Return: 2
 */
int mm_two(void)
{
	return mm_one(2);
}
END
good=$(g rev-parse HEAD)

# The good series, with what checkpatch says of its new file excused.
again() {
	g checkout -q -f -B series "$good"
	echo "$bases" > "$EXECMEM_PATCHES/bases"
	: > "$EXECMEM_RECIPIENTS"
	printf 'FILE_PATH_CHANGES\tmm: give back two\tmm/ has its maintainers\n' > "$EXECMEM_EXCUSES"
}

preflight() { "$scripts/preflight.sh" > "$work/out" 2> "$work/err" < /dev/null; }

# passes NAME
passes() {
	local why=''
	preflight || why="says: $(head -n 3 "$work/err" | tr '\n' '|')"
	result "preflight passes $1" "$why"
}

# refuses NAME PATTERN: for that reason and no other; its last line counts them
refuses() {
	local why=''
	if preflight; then
		why='exit status 0'
	elif [[ $(wc -l < "$work/err") != 2 || $(tail -n 1 "$work/err") != 'preflight: 1 objections to '* ]]; then
		why="not one reason: $(head -n 5 "$work/err" | tr '\n' '|')"
	elif ! grep -qE -- "^preflight: $2" "$work/err"; then
		why="says: $(head -n 1 "$work/err")"
	fi
	result "preflight refuses $1" "$why"
	again
}

# --- preflight -------------------------------------------------------------------
again
finish_series
passes 'a good series'
touch "$work/stamp"
preflight || true
why=''
[[ ! $(find "$EXECMEM_BUILD/preflight" -name '*.log' -newer "$work/stamp") ]] || why='something was compiled again'
grep -q 'x86_64: 1 objects compiled' "$work/out" || why="says: $(cat "$work/out")"
result 'preflight remembers what it has looked at' "$why"

again
{ printf '// SPDX-License-Identifier: GPL-2.0\n/* A comment that moves what follows. */\n'
  tail -n +2 "$linux/mm/a.c"; } > "$work/a.c"
cp "$work/a.c" "$linux/mm/a.c"
commit 'mm: say what follows'
finish_series
passes 'what the base has, at another line'

again
sed -i '1s/GPL-2.0/GPL-9.0/' "$linux/mm/two.c"
commit 'mm: another licence'
finish_series
refuses 'a licence that there is not' "0002-.*: SPDX_LICENSE_TAG: .*'SPDX-License-Identifier: GPL-9.0' is not supported"

echo 'static inline int cpu_f(void) { return 1; }' | append arch/x86/kernel/cpu.c 'fixup! mm: give back two'
finish_series
refuses 'a fixup! subject' '0002-fixup-.*: message: a fixup! that was not folded in'

echo 'static inline int cpu_f(void) { return 1; }' | append arch/x86/kernel/cpu.c 'x86: WIP, more'
finish_series
refuses 'an unfinished subject' '0002-.*: message: the subject says WIP'

echo 'static inline int cpu_f(void) { return 1; }' | append arch/x86/kernel/cpu.c 'more functions'
finish_series
refuses 'a subject without a subsystem' '0002-.*: message: the subject does not name a subsystem'

echo 'static inline int cpu_f(void) { return 1; }' |
	append arch/x86/kernel/cpu.c 'x86: more' 'As in mainline commit 0123456789ab.'
finish_series
refuses 'a commit without its title' '0002-.*: message: it refers without a title to commit 0123456789ab'

echo 'static inline int cpu_f(void) { return 1; }' |
	append arch/x86/kernel/cpu.c 'x86: more' $'More.\n\nSigned-off-by: nobody <nobody@example.org>'
finish_series
refuses 'a stored sign-off' '0002-.*: message: it is signed off already'

echo 'static inline int cpu_f(void) { return 1; }  ' | append arch/x86/kernel/cpu.c 'x86: more'
finish_series
refuses 'a checkpatch error' '0002-.*: TRAILING_WHITESPACE: line [0-9]+: trailing whitespace'

echo 'int cpu_more;' | append arch/x86/kernel/cpu.c 'x86: more'
finish_series
refuses 'a sparse warning' "0002-.*: sparse: x86_64: arch/x86/kernel/cpu.c: .*'cpu_more' was not declared"

echo 'static inline int cpu_f(int x) { return 1; }' | append arch/x86/kernel/cpu.c 'x86: more'
finish_series
refuses 'a W=1 warning' '0002-.*: W=1: x86_64: arch/x86/kernel/cpu.c: .*-Wunused-parameter'

append mm/two.c 'mm: give back three' <<'END'

/**
 * mm_three - give back three
 *
 * Return: 3
 */
int mm_three(int x)
{
	return mm_one(x);
}
END
finish_series
refuses 'a missing line of kernel-doc' "0002-.*: kernel-doc: mm/two.c: .*'x' not described in 'mm_three'"

append arch/x86/kernel/cpu.c 'x86: more' <<'END'

static inline int cpu_f(int x)
{
	if (x) {
		x++;
	};
	return x;
}
END
finish_series
refuses 'a coccicheck finding' '0002-.*: coccicheck: arch/x86/kernel/cpu.c: Unneeded semicolon'

echo 'static inline int cpu_f(void) { return four; }' | append arch/x86/kernel/cpu.c 'x86: more'
sed -i 's/return four/return 4/' "$linux/arch/x86/kernel/cpu.c"
commit 'x86: less'
finish_series
refuses 'a patch that does not build, though the next one repairs it' \
	'0002-x86-more: build: x86_64: arch/x86/kernel/cpu.c: error: .*four.* undeclared'

finish_series
rm "$EXECMEM_PATCHES/0000-cover-letter.patch"
refuses 'a missing cover letter' 'the series: cover: there is no cover letter'

finish_series
sed -i 's/number two/number TODO/' "$EXECMEM_PATCHES/0000-cover-letter.patch"
refuses 'a cover letter that is not finished' 'the series: cover: .*placeholder: TODO'
finish_series
sed -i 's/number two/number two (?)/' "$EXECMEM_PATCHES/0000-cover-letter.patch"
refuses 'a figure that nobody has measured' 'the series: cover: .*placeholder: \(\?\)'

finish_series
sed -i '/^made-on/d' "$EXECMEM_PATCHES/bases"
refuses 'patches without a base' 'the series: base: .*/bases does not say'

finish_series
sed -i '/^made-on/s/7$/8/' "$EXECMEM_PATCHES/bases"
refuses 'another base than the patches have' 'the series: base: the patches are made on 6\.1\.8'

g tag -d base > /dev/null
refuses 'a tree without a base' "the series: base: .*no tag 'base'"
g tag base "$good^"

finish_series
echo '/* more */' | append arch/x86/kernel/cpu.c 'x86: more'
refuses 'commits that are not exported' 'the series: export: .*make export'

finish_series
echo '/* more */' >> "$linux/mm/two.c"
refuses 'changes that are not committed' 'the series: base: .*not committed'

g checkout -q -b other base
echo '/* more */' | append arch/x86/kernel/cpu.c 'x86: more'
g checkout -q series
g merge -q -m 'Merge more' other
refuses 'a merge' 'the series: base: there are merge commits'
g branch -q -D other

sed -i '/arm64@example.org/d' "$linux/MAINTAINERS"
echo '/* more */' | append arch/arm64/kernel/cpu.c 'arm64: more'
finish_series
refuses 'recipients without a maintainer of the architecture' \
	'0002-arm64-more: recipients: arm64@example.org, of arch/arm64/, does not get it'

echo '# more' | append arch/vax/Kconfig 'vax: more'
finish_series
refuses 'an architecture without a maintainer' '0002-vax-more: recipients: MAINTAINERS names nobody for arch/vax/'

finish_series
printf 'x86: more\tAn Other <other@example.org> (reviewer)\n' > "$EXECMEM_RECIPIENTS"
refuses 'a recipient of a patch that is none' "the series: recipients: .* has 'x86: more', which is no patch"
printf 'mm: give back two\tother@example.org\n' > "$EXECMEM_RECIPIENTS"
refuses 'a recipient without a role' "the series: recipients: .*not 'NAME <ADDRESS> \(ROLE\)': other@example.org"
: > "$EXECMEM_RECIPIENTS"

printf 'LONG_LINE\tmm: give back two\tit is short\n' >> "$EXECMEM_EXCUSES"
refuses 'an excuse that excuses nothing' 'preflight.excuses: excuses nothing: LONG_LINE, mm: give back two'

printf 'build\tmm: give back two\tit is hard\n' >> "$EXECMEM_EXCUSES"
refuses 'an excuse for a patch that does not build' 'preflight.excuses: .*: build'

: > "$EXECMEM_EXCUSES"
refuses 'a finding that nobody excuses' '0001-mm-give-back-two: FILE_PATH_CHANGES: '

# --- the mails -----------------------------------------------------------------------
mkdir "$work/home"
identity() { printf '[user]\n\tname = %s\n\temail = %s\n' "$1" "$2" > "$work/home/.gitconfig"; }
identity 'Absenderin ä' 'sender@example.org'
send() {
	(cd "$work" && env -u GIT_CONFIG_GLOBAL -u GIT_CONFIG_NOSYSTEM HOME="$work/home" \
		GIT_CEILING_DIRECTORIES="$build" TO=dry-run "$@" "$scripts/send.sh" > "$work/out" 2> "$work/err" < /dev/null)
}

# send_refuses NAME PATTERN VARIABLE=VALUE...: one line, and no mails
send_refuses() {
	local name=$1 pattern=$2 why=''
	shift 2
	rm -rf "$EXECMEM_BUILD/outbox"
	if send "$@"; then
		why='exit status 0'
	elif [[ $(wc -l < "$work/err") != 1 ]]; then
		why="not one line on stderr: $(head -n 3 "$work/err" | tr '\n' '|')"
	elif ! grep -qE -- "$pattern" "$work/err"; then
		why="says: $(cat "$work/err")"
	elif [[ -e $EXECMEM_BUILD/outbox ]]; then
		why='there are mails'
	elif compgen -G "$EXECMEM_BUILD/.send.*" > /dev/null; then
		why='it leaves a temporary directory'
	fi
	result "send refuses $name" "$why"
}

echo '/* more */' >> "$linux/arch/x86/kernel/cpu.c"
g add -A
g commit -q --author 'Other <other@example.org>' --date '2026-01-02 03:05:00 +0000' \
	-m 'x86: more' -m 'More of the same.'
finish_series
printf '%s\t%s\n' '# who' 'else' 'x86: more' 'Another Reader <another@example.org> (reviewer)' \
	'x86: more' 'linux-other@lists.example.org (open list)' > "$EXECMEM_RECIPIENTS"
why=''
send || why="says: $(head -n 2 "$work/err")"
result 'send writes the mails' "$why"

# What Python's parser of mails makes of them.
cat > "$work/mails.py" <<'END'
import email, email.policy, pathlib, sys

mails = []
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    raw = path.read_bytes()
    if any(byte > 126 for byte in raw.split(b"\n\n")[0]):
        sys.exit(f"{path.name}: the header is not ASCII")
    if b"localhost" in raw:
        sys.exit(f"{path.name}: localhost")
    mails.append(email.message_from_bytes(raw[raw.index(b"\n") + 1:], policy=email.policy.default))

def people(mail, header):
    return {(a.display_name, a.addr_spec) for a in mail[header].addresses} if mail[header] else set()

cover, one, two = mails
mm = ("Prüferin, mm", "mm@example.org")
x86 = ("Maintainer of x86", "x86@example.org")
reader = ("Someone who reads", "reader@example.org")
added = [("Another Reader", "another@example.org"), ("", "linux-other@lists.example.org")]
lists = [("", name + "@lists.example.org") for name in ("linux-mm", "linux-kernel")]
sender = "Absenderin ä <sender@example.org>"
text = [mail.get_content() for mail in mails]
for what, found, wanted in [
    ("To 1", people(one, "To"), {mm}), ("Cc 1", people(one, "Cc"), {reader, *lists}),
    ("To 2", people(two, "To"), {x86}), ("Cc 2", people(two, "Cc"), {lists[1], *added}),
    ("To 0", people(cover, "To"), {mm, x86}), ("Cc 0", people(cover, "Cc"), {*lists, added[1]}),
    ("From", {str(mail["From"]) for mail in mails}, {sender}),
    ("Subject 0", cover["Subject"], "[RFC PATCH 6.1.y 0/2] mm: two (für zwei)"),
    ("Subject 1", one["Subject"], "[RFC PATCH 6.1.y 1/2] mm: give back two"),
    ("In-Reply-To 0", cover["In-Reply-To"], None),
    ("In-Reply-To", {mail["In-Reply-To"] for mail in (one, two)}, {cover["Message-Id"]}),
    ("References", {mail["References"] for mail in (one, two)}, {cover["Message-Id"]}),
    ("Message-Id", len({mail["Message-Id"] for mail in mails}), 3),
    ("author of 1 in the body", text[1].startswith("From: "), False),
    ("author of 2 in the body", text[2].startswith("From: Other <other@example.org>\n\n"), True),
    ("sign-off 1", f"\n\nSigned-off-by: {sender}\n---\n" in text[1], True),
    ("sign-off 2", f"\n\nSigned-off-by: {sender}\n---\n" in text[2], True),
    ("words", "a second function" in text[0], True),
    ("marker", "make export" in text[0], False),
    ("diffstat", " 2 files changed, " in text[0], True),
    ("base", f"\n{sys.argv[2]}\n-- \n" in text[0], True),
    ("base elsewhere", any(sys.argv[2] in t for t in text[1:]), False),
]:
    if found != wanted:
        sys.exit(f"{what}: {found} instead of {wanted}")
END
commit_id=$(git -C "$work/linux" rev-parse HEAD)
why=$(python3 "$work/mails.py" "$EXECMEM_BUILD/outbox" "base-commit: $commit_id" 2>&1) || why=${why:-python3 fails}
result 'To, Cc, From, threads and sign-offs are right' "$why"

cp -r "$EXECMEM_BUILD/outbox" "$work/outbox.1"
why=''
{ send && diff -r "$work/outbox.1" "$EXECMEM_BUILD/outbox" > /dev/null; } || why='other mails'
result 'the same series gives the same mails' "$why"

why=''
send BASE= || why="says: $(cat "$work/err")"
tree_id=$(git -C "$work/linux" rev-parse 'HEAD^{tree}')
grep -qxF "Based on: v6.1.7 (git tree $tree_id)" "$EXECMEM_BUILD"/outbox/0000-* || why='no line on the base'
grep -q '^base-commit:' "$EXECMEM_BUILD"/outbox/0000-* && why='a commit that nobody knows'
result 'without its git tree the base is named by its version' "$why"

why=''
git clone -q "$linux" "$work/am" 2> /dev/null
git -C "$work/am" checkout -q --detach "$(g rev-parse base)"
git -C "$work/am" am -q "$EXECMEM_BUILD"/outbox/000[12]-* 2> /dev/null || why='git am refuses them'
[[ $(git -C "$work/am" rev-parse 'HEAD^{tree}') = $(g rev-parse 'HEAD^{tree}') ]] || why='git am gives another tree'
[[ $(git -C "$work/am" log -1 --format=%an) = Other ]] || why='the author is lost'
result 'git am takes the mails' "$why"

send_refuses 'to send' "never sends.*TO=dry-run" TO=linux-mm@kvack.org
send_refuses 'a version that is no number' 'V=two: ' V=two
send_refuses 'a second version without a changelog' 'changelog does not say what changed in v2' V=2
printf 'v2\nmm: give back too\n- spelling\n' > "$EXECMEM_PATCHES/changelog"
send_refuses 'a changelog of unknown patches' "'mm: give back too', which is no patch" V=2
printf 'v3\n# nothing\nv2\n- all anew\n  and better\nx86: more\n- less\n' > "$EXECMEM_PATCHES/changelog"
send_refuses 'an empty changelog' 'has v3, but nothing below it' V=3
identity 'Absender' 'root@localhost'
send_refuses 'a sender at localhost' 'nobody can answer to root@localhost'
: > "$work/home/.gitconfig"
send_refuses 'a sender without a name' 'git does not know who you are'
identity 'Absender' 'sender@example.org'

why=''
send V=2 || why="says: $(cat "$work/err")"
grep -q '^Subject: =?UTF-8?q?=5BRFC_PATCH_6=2E1=2Ey_v2_0=2F2=5D_mm' "$EXECMEM_BUILD"/outbox/v2-0000-* || why='no v2 in the subject'
tr '\n' '|' < "$EXECMEM_BUILD"/outbox/v2-0000-cover-letter.patch |
	grep -qF '|Changes in v2:|- all anew|  and better||Absender (1):' || why="${why:-the cover letter does not say what changed}"
tr '\n' '|' < "$EXECMEM_BUILD"/outbox/v2-0002-x86-more.patch | grep -qF '|---|Changes in v2:|- less|| arch' ||
	why=${why:-the patch does not say what changed}
grep -q 'Changes in' "$EXECMEM_BUILD"/outbox/v2-0001-* && why=${why:-a patch says what changed in another}
result 'a second version says what changed' "$why"
exit "$bad"
