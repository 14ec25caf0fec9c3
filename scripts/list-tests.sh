#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# The tests that TESTS= can name, each with its class and its cases. The tests
# themselves know their cases: of one that is not built for this machine, or that
# learns them from the kernel, there is "?".
#
# usage: list-tests.sh   (make list-tests)

. "$(dirname "$0")/common.sh"
arguments -- "$@"
check_arch
check_flavour
tests=$build/$ARCH-$FLAVOUR/tests

while read -r name _ class _; do
	[[ $name && $name != '#'* ]] || continue
	cases=$([[ ! -x $tests/$name ]] || "$tests/$name" --list 2> /dev/null | paste -s -d ' ') || cases=
	[[ $cases && $cases != '*' ]] || cases='?'
	printf '%-12s %-11s %s\n' "$name" "$class" "$cases"
done < "$top/selftests/execmem/list"
