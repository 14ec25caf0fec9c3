#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Builds the kernel of ARCH and FLAVOUR and its modules in
# build/ARCH-FLAVOUR/kernel, out of build/linux-6.1.y (FLAVOUR=stock,
# tree-stock: out of the pristine base).

. "$(dirname "$0")/common.sh"
arguments -- "$@"
check_arch
check_flavour

source=$tree
[[ $FLAVOUR = *stock ]] && source=$build/linux-base
out=$build/$ARCH-$FLAVOUR
kernel=$out/kernel
prefix=$(cross_prefix)
mkdir -p "$kernel"

fragments=(common "$ARCH")
case $FLAVOUR in
nomodules) fragments+=(nomodules) ;;
*) fragments+=(modules "modules-$ARCH") ;;
esac
case $FLAVOUR in
default|stock|tree*) fragments+=("default-$ARCH") ;;
esac
[[ $FLAVOUR = *stock ]] || fragments+=(series)
[[ $FLAVOUR != tree* ]] || fragments+=(tree)
case $FLAVOUR in
debug) fragments+=(debug) ;;
inline) fragments+=(debug inline) ;;
esac
files=()
for fragment in "${fragments[@]}"; do
	file=$top/kernel-config/$fragment.config
	[[ ! -e $file ]] || files+=("$file")
done
if [[ ${EXTRA_CONFIG:-} ]]; then
	[[ -f $EXTRA_CONFIG ]] || die "EXTRA_CONFIG=$EXTRA_CONFIG: no such file"
	files+=("$(realpath "$EXTRA_CONFIG")")
fi

# ccache sees the same compiler calls in every clone: no times, no host names,
# no absolute paths. Nobody asks where a variable is at each instruction, and
# the debug information that says it is as large as the rest of it.
cc=${prefix}gcc
! command -v ccache > /dev/null || cc="ccache $cc"
export CCACHE_BASEDIR=$build CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros CCACHE_DEPEND=1
make_args=(-C "$source" O="$kernel" ARCH="$karch" CROSS_COMPILE="$prefix" CC="$cc" HOSTCC="${cc/"$prefix"gcc/gcc}"
	KCFLAGS=-fno-var-tracking LOCALVERSION= KBUILD_BUILD_USER=execmem KBUILD_BUILD_HOST=execmem
	KBUILD_BUILD_VERSION=1 'KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970'
	-j "$(($(nproc) + 1))")

# Merge, let Kconfig complete it, and see that every line survived.
configure() {
	local new=$out/config.new wish lost=()
	[[ ! -e $source/.config && ! -e $source/include/config ]] ||
		die "${source#"$top"/} has been configured or built in: make -C ${source#"$top"/} mrproper"
	rm -rf "$new"
	mkdir "$new"
	(cd "$source" && ARCH=$karch CROSS_COMPILE=$prefix \
		scripts/kconfig/merge_config.sh -n -O "$new" "${files[@]}") > "$out/config.log" 2>&1 ||
		die "the configuration could not be merged (log: ${out#"$top"/}/config.log)"
	# a later fragment may take back what an earlier one asks for
	while read -r wish; do
		case $wish in
		*' is not set') grep -q "^${wish:2:-11}=" "$new/.config" && lost+=("$wish") ;;
		*) grep -qxF -- "$wish" "$new/.config" || lost+=("$wish") ;;
		esac
	done < <(cat "${files[@]}" | awk '
		match($0, /^CONFIG_[A-Za-z0-9_]+=/) { name = substr($0, 1, RLENGTH - 1); wish[name] = $0 }
		/^# CONFIG_[A-Za-z0-9_]+ is not set$/ { wish[$2] = $0 }
		END { for (name in wish) print wish[name] }' | LC_ALL=C sort)
	((${#lost[@]} == 0)) ||
		die "Kconfig dropped what kernel-config asks for ($ARCH, $FLAVOUR): $(printf '%s; ' "${lost[@]}")"
	cmp -s "$new/.config" "$kernel/.config" || cp "$new/.config" "$kernel/.config"
	rm -rf "$new"
}

lock "$ARCH-$FLAVOUR"
configure
begin=$SECONDS
title="kernel $ARCH-$FLAVOUR"
rm -f "$out/vmlinuz" "$out/vmlinuz.from"
targets=("${image##*/}")
# IMAGE_ONLY=1: of a mutant, whose guest has the modules already
[[ ${IMAGE_ONLY:-} ]] || ! grep -q '^CONFIG_MODULES=y' "$kernel/.config" || targets+=(modules)
from=$(source_id "$source")
say "$title: building $(sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' "$source/Makefile" | paste -sd .)"
run_logged "$out/build.log" "$title" make "${make_args[@]}" "${targets[@]}"
# read before, for what changes while make runs
echo "$from" > "$out/vmlinuz.from"
ln -sf "kernel/$image" "$out/vmlinuz"
say "$title: built in $((SECONDS - begin)) s"
if grep -q 'warning: ' "$out/build.log"; then
	say "$title: $(grep -c 'warning: ' "$out/build.log") compiler warnings, the first: $(grep -m 1 'warning: ' "$out/build.log")"
fi
