# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
# Sourced by cross.sh and bisect.sh, after common.sh: single objects of a kernel,
# compiled outside of its tree, and what the compiler has to say about each.
#
# Set before: source (the tree), out (where it is built), and with set_kbuild how.

unset MAKEFLAGS MFLAGS MAKELEVEL

# set_kbuild ARCH PREFIX VARIABLE=VALUE...
set_kbuild() {
	local arch=$1 prefix=$2 cc=${2}gcc
	shift 2
	! command -v ccache > /dev/null || cc="ccache $cc"
	export CCACHE_BASEDIR=$build CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
	kbuild=(make -C "$out" -f "$source/Makefile" ARCH="$arch" CROSS_COMPILE="$prefix" CC="$cc"
		HOSTCC="${cc/"$prefix"gcc/gcc}" LOCALVERSION= KBUILD_BUILD_USER=execmem KBUILD_BUILD_HOST=execmem
		KBUILD_BUILD_VERSION=1 'KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970' "$@")
}

# objects_of DIRECTORY...: the objects that kbuild makes in just these, with
# the configuration in $out. Kbuild itself is asked: its Makefiles depend on
# variables of the directories above, and a directory above that is not
# descended into has no objects below it.
objects_of() {
	# shellcheck disable=SC2016
	DIRECTORIES="$*" "${kbuild[@]}" -s --eval='print-objects: ; @$(if $(obj), \
		$(if $(filter $(obj),$(DIRECTORIES)), \
			printf "%s\n" $(filter %.o,$(real-obj-y) $(real-obj-m) $(lib-y) $(extra-y));) \
		$(foreach d,$(subdir-ym),$(if $(filter $d $d/%,$(DIRECTORIES)), \
			$(MAKE) $(build)=$d need-builtin=1 need-modorder=1 print-objects || exit;)), \
		$(MAKE) $(build)=. need-builtin=1 need-modorder=1 print-objects)' print-objects | LC_ALL=C sort -u
}

# For run_logged: a failure of the command is no failure here.
keep_going() {
	local pid
	"$@" &
	pid=$!
	# shellcheck disable=SC2064
	trap "kill $pid 2> /dev/null || true" TERM
	wait "$pid" || true
}

# compile LOG TITLE OBJECT...: each of them anew (what ccache remembers includes
# the warnings), and on after errors.
compile() {
	local log=$1 title=$2
	shift 2
	(cd "$out" && printf '%s\0' "$@" | xargs -0 rm -f)
	run_logged "$log" "$title" keep_going "${kbuild[@]}" -k -Otarget -j "$(nproc)" "$@"
}

# complaints LOG OBJECT...: what was said about each object, as "OBJECT<tab>TEXT"
# and without the numbers of lines, so that two versions can be compared.
complaints() {
	local log=$1 path object said
	shift
	path=$(printf '%s' "$source" | sed 's/[][\.*^$/]/\\&/g')
	said=$(sed -E "s/$path\///g" "$log" | awk '
		BEGIN { object = "make" }
		/^  [A-Z0-9]+( \[M\])? +[^ ]+$/ { object = $NF; next }
		match($0, /\*\*\* \[[^]]*: [^]]*\.[a-zA-Z]+\] (Error|Segm|Kill|Term)/) {
			target = $0
			sub(/^.*\*\*\* \[[^]]*: /, "", target)
			sub(/\].*/, "", target)
			print target "\tdoes not compile"
			next
		}
		/[Ww]arning: |[ :][Ee]rror: |undefined reference/ {
			gsub(/(\.\.\/)+/, "")
			gsub(/:[0-9]+(:[0-9]+)?:/, ":")
			gsub(/\+0x[0-9a-f]+/, "")
			print object "\t" $0
		}')
	{
		[[ ! $said ]] || printf '%s\n' "$said"
		for object; do
			[[ -e $out/$object || $'\n'$said = *$'\n'"$object"$'\t'* ]] ||
				printf '%s\tis not there after make\n' "$object"
		done
	} | LC_ALL=C sort
}
