# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: names, messages, clean git.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# the three that the tests of these scripts set elsewhere
build=${EXECMEM_BUILD:-$top/build}
patches=${EXECMEM_PATCHES:-$top/patches/linux-6.1.y}
selftests=${EXECMEM_SELFTESTS:-$top/selftests}
tree=$build/linux-6.1.y

ARCH=${ARCH:-x86_64}
FLAVOUR=${FLAVOUR:-default}

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
say() { printf '[%4d s] %s\n' "$(($(date +%s) - ${EXECMEM_START:=$(date +%s)}))" "$*"; }
export EXECMEM_START=${EXECMEM_START:-$(date +%s)}

# head_of SCRIPT: its head comment, which says how to use it
head_of() { awk 'NR > 1 && !/^#/ { exit } NR > 1 && !/^# SPDX/ { sub(/^# ?/, ""); print }' "$1"; }

# misused WHY: for whoever calls a script in a way that it does not know
misused() {
	printf '%s: %s\n\n' "${0##*/}" "$*" >&2
	head_of "$0" >&2
	exit 2
}

# arguments WORD... -- ARGUMENT...: at most one argument, and one of those words.
# A script that starts with what it was not asked for can run for hours.
arguments() {
	local known=()
	while [[ $1 != -- ]]; do
		known+=("$1")
		shift
	done
	shift
	(($#)) || return 0
	[[ " ${known[*]} " = *" $1 "* ]] || misused "unknown argument '$1'"
	(($# == 1)) || misused "one argument too many: '$2'"
}

# Sourced without arguments, this sees those of the script. Whoever asks for help
# gets that, and nothing is started.
for argument; do
	case $argument in
	-h|--help) head_of "$0"; exit 0 ;;
	esac
done
unset argument

# Whatever the user's git is set to, the results here must be the same.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_COMMITTER_NAME='execmem-6.1.y maintainers'
export GIT_COMMITTER_EMAIL='execmem-6.1.y@localhost'
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
# What make was given on its command line would go before what the kernel's make
# is given here: there, riscv64 is called riscv.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# at_most VERSION VERSION
at_most() { printf '%s\n' "$1" "$2" | sort -CV; }

# series_files [VERSION]: the patches in their order. For a base of that version
# the file of the same name in until-N/ stands in for a patch, with the lowest N
# that is not below VERSION.
series_files() {
	local version=${1:-} patch until
	while read -r patch; do
		while [[ $version ]] && read -r until; do
			if [[ -e $until/${patch##*/} ]] && at_most "$version" "${until##*/until-}"; then
				patch=$until/${patch##*/}
				break
			fi
		done < <(compgen -G "$patches/until-*" | sort -V)
		echo "$patch"
	done < <(find "$patches" -maxdepth 1 -name '[0-9]*.patch' ! -name '0000-*' | LC_ALL=C sort)
}

# The version that the patches were made on; nothing when bases does not say.
made_on() { sed -n 's/^made-on[[:space:]]*//p' "$patches/bases" 2> /dev/null || true; }

# in_good_range VERSION: does patches/linux-6.1.y/bases claim it?
in_good_range() {
	local word low high
	while read -r word low high; do
		[[ $word = good ]] || continue
		printf '%s\n' "$low" "$1" "$high" | sort -CV
		return
	done < <(cat "$patches/bases" 2> /dev/null)
}

# ARCH; what uname -m calls it; what the kernel calls it; compilers; package and
# command of QEMU; the image that is booted
arches='
x86_64   x86_64   x86_64   x86_64-linux-gnu      qemu-system-x86   qemu-system-x86_64   arch/x86/boot/bzImage
arm64    aarch64  arm64    aarch64-linux-gnu     qemu-system-arm   qemu-system-aarch64  arch/arm64/boot/Image
riscv64  riscv64  riscv    riscv64-linux-gnu     qemu-system-misc  qemu-system-riscv64  arch/riscv/boot/Image
s390x    s390x    s390     s390x-linux-gnu       qemu-system-misc  qemu-system-s390x    arch/s390/boot/bzImage
ppc64le  ppc64le  powerpc  powerpc64le-linux-gnu qemu-system-ppc   qemu-system-ppc64    vmlinux
'

# Sets machine, karch, triplet, qemu_package, qemu_command and image for ARCH.
check_arch() {
	local name known=()
	while read -r name machine karch triplet qemu_package qemu_command image; do
		[[ $name != "$ARCH" ]] || return 0
		[[ ! $name ]] || known+=("$name")
	done <<< "$arches"
	name=${known[*]::${#known[@]}-1}
	die "unknown ARCH '$ARCH': ${name// /, } or ${known[-1]}"
}

check_flavour() {
	case $FLAVOUR in
	default|nomodules|debug|inline|stock) ;;
	tree|tree-stock) # made and used by tree-selftests.sh
		[[ $ARCH = x86_64 ]] || die "FLAVOUR=$FLAVOUR is for ARCH=x86_64 only" ;;
	*) die "unknown FLAVOUR '$FLAVOUR': default, nomodules, debug, inline or stock" ;;
	esac
}

# check_tests LIST [DIRECTORY]: all that TESTS=TEST[:CASE],... names are there; the
# cases are those that the tests in that directory list, where they run here
check_tests() {
	local name cases known tests=${TESTS:-}
	for name in ${tests//,/ }; do
		cases=:${name#*:}
		[[ $name = *:* ]] || cases=
		name=${name%%:*}
		grep -qE "^$name( |\$)" "$1" || die "TESTS=: no '$name' in ${1#"$top"/}"
		[[ $cases && -x ${2:-}/$name ]] || continue
		known=$("$2/$name" --list 2> /dev/null) || continue
		while read -r -d : cases; do
			[[ ! $cases || $'\n'$known$'\n' = *$'\n'"$cases"$'\n'* || $known = '*' ]] ||
				die "TESTS=: no case '$cases' in $name: it has $(paste -s -d , <<< "$known" | sed 's/,/, /g')"
		done <<< "$cases:"
	done
}

# After check_arch; nothing where the compiler of the machine will do.
cross_prefix() { [[ $machine = "$(uname -m)" ]] || echo "$triplet-"; }

# What a kernel can be made of: not the selftests, which the last patch brings.
kernel_files() {
	{ git -C "$1" ls-tree HEAD; git -C "$1" ls-tree HEAD:tools 2> /dev/null; } |
		grep -vE $'\t(tools|testing|MAINTAINERS)$'
}

# source_id DIRECTORY: what a kernel tree is at the moment, in a line for people:
# build-kernel.sh leaves it beside the image, and BUILT=1 compares.
source_id() {
	local changes
	printf 'Linux %s, %s patches, tree %s' \
		"$(sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' "$1/Makefile" | paste -sd .)" \
		"$(git -C "$1" rev-list --count base..HEAD)" "$(kernel_files "$1" | sha256sum | cut -c 1-12)"
	changes=$(git -C "$1" status --porcelain)
	[[ ! $changes ]] ||
		printf ' and changes %s' "$({ echo "$changes"; git -C "$1" diff HEAD; } | sha256sum | cut -c 1-12)"
	echo
}

# The same of what build-guest.sh packs.
guest_id() {
	(cd "$top" && find selftests/execmem scripts/harness -path '*/testdata' -prune -o -type f -print0 |
		LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c 1-12
}

# lock NAME: one at a time; the others wait until this script has ended.
lock() {
	mkdir -p "$build"
	exec 9> "$build/.lock-$1"
	flock -n 9 || { say "waiting for another run ($1)"; flock 9; }
}

# run_logged LOG TITLE COMMAND...: output to LOG, a line here every 20 s.
run_logged() {
	local log=$1 title=$2 pid begin next
	shift 2
	begin=$SECONDS next=$((SECONDS + 20))
	"$@" > "$log" 2>&1 < /dev/null 9>&- &
	pid=$!
	# shellcheck disable=SC2064
	trap "kill $pid 2> /dev/null || true" INT TERM
	while kill -0 "$pid" 2> /dev/null; do
		sleep 0.5
		if ((SECONDS >= next)); then
			say "$title: $((SECONDS - begin)) s, $(grep -c '^ *\(CC\|AS\|LD\|HOST\|CLNG\|TEST\)' "$log" || true) steps"
			next=$((SECONDS + 20))
		fi
	done
	trap - INT TERM
	wait "$pid" && return 0
	if grep -q 'No space left on device' "$log"; then
		die "$title: No space left on device (log: ${log#"$top"/})"
	fi
	why_failed "$log" >&2
	die "$title failed (log: ${log#"$top"/})"
}

# why_failed LOG: from the first error on, without the steps of kbuild: one is
# called "CC lib/error-inject.o"
why_failed() {
	local steps='^  [A-Z]+( \[M\])? +[^ ]+$' said
	said=$(grep -vE "$steps" "$1" | grep -m 1 -A 7 -E '(^|[^[:alpha:]])[Ee]rror: |undefined reference') ||
		said=$(grep -vE "$steps" "$1" | grep -m 8 -iE 'error|cannot|failed') ||
		said=$(tail -n 5 "$1")
	printf '%s\n' "$said"
}
