#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# One kernel from patches to verdict: build, boot, test.
#
# Environment: ARCH, FLAVOUR, BASE; TESTS=a,b:c (default: all; of b the case c); APPEND= more
# kernel parameters; ACCEL=kvm (default: tcg, the same guest everywhere), or mttcg
# for a thread per CPU even where QEMU is too old for that (before 8.1), or icount
# for one CPU that takes one nanosecond for each instruction; CPUS=N; BUILT=1 to
# boot what the last run built;
# RESULTS=directory for what the run leaves (default: build/ARCH-FLAVOUR).

. "$(dirname "$0")/common.sh"
check_arch
check_flavour
check_tests "$top/selftests/execmem/list"

scripts=$top/scripts
export ARCH FLAVOUR
if [[ ! ${BUILT:-} ]]; then
	"$scripts/host-setup.sh"
	"$scripts/series.sh" apply
	[[ $FLAVOUR != stock ]] || "$scripts/series.sh" stock
	"$scripts/build-kernel.sh"
	"$scripts/build-guest.sh"
fi

out=$build/$ARCH-$FLAVOUR
check_tests "$top/selftests/execmem/list" "$out/tests"
source=$tree
[[ $FLAVOUR = stock ]] && source=$build/linux-base
results=${RESULTS:-$out}
mkdir -p "$results"
args=(--arch "$ARCH" --dir "$results" --tree "$source" --kernel "$out/vmlinuz" --initrd "$out/initrd")
[[ ! -e $top/selftests/execmem/list ]] || args+=(--list "$top/selftests/execmem/list")
[[ $FLAVOUR = debug || $FLAVOUR = inline ]] && args+=(--memory 2048 --slow 4 --boot-timeout 400)
[[ ! ${TESTS:-} ]] || args+=(--tests "$TESTS")
[[ ! ${APPEND:-} ]] || args+=(--append "$APPEND")
[[ ! ${ACCEL:-} ]] || args+=(--accel "$ACCEL")
[[ ! ${CPUS:-} ]] || args+=(--cpus "$CPUS")
say "booting $ARCH-$FLAVOUR"
exec "$build/host/run-guest" "${args[@]}"
