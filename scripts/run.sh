#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# One kernel from patches to verdict: build, boot, test.
#
# usage: run.sh   (make run)
#
# Environment: ARCH, FLAVOUR, BASE; TESTS=a,b:c (default: all; of b the case c); APPEND= more
# kernel parameters; ACCEL=kvm (default: tcg, the same guest everywhere), or mttcg
# for a thread per CPU even where QEMU is too old for that (before 8.1), or icount
# for one CPU that takes one nanosecond for each instruction; CPUS=N; SLOW=N
# multiplies all limits of time; RESULTS=directory for what the run leaves
# (default: build/ARCH-FLAVOUR).
#
# BUILT=1 boots what the last run built; not when the series, the tests or the
# harness have changed since, which BUILT=old does, too. EXPECT=any: not the kernel
# that FLAVOUR says, and nobody knows whether text comes from a pool.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
check_arch
check_flavour
out=$build/$ARCH-$FLAVOUR
# of what is built already the cases as well
check_tests "$top/selftests/execmem/list" ${BUILT:+"$out/tests"}
[[ ${SLOW:=1} =~ ^[1-9][0-9]*$ ]] || die "SLOW=$SLOW: not a number"

scripts=$top/scripts
export ARCH FLAVOUR
source=$tree
[[ $FLAVOUR = stock ]] && source=$build/linux-base

# What BUILT=1 boots must be what is there to be tested.
built() {
	local kernel guest old=()
	[[ -e $out/vmlinuz && -e $out/initrd && -x $build/host/run-guest ]] ||
		die "BUILT=$BUILT: nothing is built for $ARCH-$FLAVOUR"
	kernel=$(cat "$out/vmlinuz.from" 2> /dev/null || echo 'nobody knows what')
	guest=$(cat "$out/initrd.from" 2> /dev/null || true)
	say "$ARCH-$FLAVOUR was built from $kernel"
	[[ $kernel = "$(source_id "$source")" ]] || old+=("the kernel is not that of ${source#"$top"/}")
	[[ $guest = "$(guest_id)" ]] || old+=('the tests or the harness have changed')
	((${#old[@]} == 0)) || [[ $BUILT = old ]] ||
		die "BUILT=$BUILT: $(printf '%s; ' "${old[@]}")BUILT=old boots it nevertheless"
}

if [[ ${BUILT:-} ]]; then
	built
else
	"$scripts/host-setup.sh"
	# Beside the tree and the kernel, which do not keep all processors busy. What goes
	# wrong there goes wrong again, and is told then.
	trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
	nice -n 19 "$scripts/build-guest.sh" host > /dev/null 2>&1 &
	"$scripts/series.sh" apply
	[[ $FLAVOUR != stock ]] || "$scripts/series.sh" stock
	wait
	nice -n 19 "$scripts/build-guest.sh" programs &
	"$scripts/build-kernel.sh"
	wait
	trap - EXIT
	"$scripts/build-guest.sh"
fi

check_tests "$top/selftests/execmem/list" "$out/tests"
results=${RESULTS:-$out}
mkdir -p "$results"
args=(--arch "$ARCH" --dir "$results" --tree "$source" --kernel "$out/vmlinuz" --initrd "$out/initrd"
	--list "$top/selftests/execmem/list" --config "$out/kernel/.config" --flavour "$FLAVOUR")
slow=$SLOW
if [[ $FLAVOUR = debug || $FLAVOUR = inline ]]; then
	slow=$((4 * SLOW))
	args+=(--memory 2048 --boot-timeout "$((1200 * SLOW))")
elif ((SLOW > 1)); then
	args+=(--boot-timeout "$((120 * SLOW))")
fi
((slow == 1)) || args+=(--slow "$slow")
[[ ! ${TESTS:-} ]] || args+=(--tests "$TESTS")
[[ ! ${APPEND:-} ]] || args+=(--append "$APPEND")
[[ ! ${CPUS:-} ]] || args+=(--cpus "$CPUS")
[[ ! ${EXPECT:-} ]] || args+=(--expect "$EXPECT")
if [[ ${ACCEL:-} ]]; then
	args+=(--accel "$ACCEL")
elif [[ -w /dev/kvm && $machine = "$(uname -m)" ]]; then
	say 'this machine has KVM: with ACCEL=kvm a guest is many times faster'
fi
say "booting $ARCH-$FLAVOUR"
exec "$build/host/run-guest" "${args[@]}"
