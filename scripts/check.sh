#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Everything that is checked, cheap things first. The last line says
# "N passed, N failed".
#
# usage: check.sh [quick|long]   quick: no boots; long: what takes hours, instead of
#                                the boots of make check

. "$(dirname "$0")/common.sh"
arguments quick long -- "$@"
unset BASE TESTS APPEND EXTRA_CONFIG CPUS
export ARCH=x86_64 FLAVOUR=default
scripts=$top/scripts
golden=$scripts/harness/testdata
passed=0 failed=0 skipped=0 failures='' ahead=''
mkdir -p "$build"

pass() { passed=$((passed + 1)); say "PASS $1"; }
# fail NAME [WHY]
fail() { failed=$((failed + 1)); failures+="failed: $1"$'\n'${2:+$2$'\n'}; say "FAIL $1"; }
skip() { skipped=$((skipped + 1)); say "SKIP $1: $2"; }
check() {
	local name=$1
	shift
	if keeping_output "$@"; then pass "$name"; else fail "$name" "$(why)"; fi
}

# Who sees only the end of a long log wants to know there why something failed.
keeping_output() { "$@" 2>&1 | tee "$build/check.output"; }
why() {
	{
		grep -E -B 4 '(^|[^[:alpha:]])not ok |^PROBLEM|^    >|error:' "$build/check.output" ||
			cat "$build/check.output"
	} | grep -v '^--$' | tail -n 16 | sed 's/^/    /'
}

finish() {
	echo
	printf '%s' "$failures"
	printf '%d passed, %d failed' "$passed" "$failed"
	((skipped == 0)) || printf ', %d skipped' "$skipped"
	echo
	((failed == 0 && passed > 0))
}
trap 'fail "check.sh was stopped"; [[ ! $ahead ]] || kill -- "-$ahead" 2> /dev/null || true; finish; exit 1' INT TERM

# --- the harness judges stored runs as it should ------------------------------
judge_case() {
	# its exit status is 1 for most of them, and that is right
	{ "$build/host/run-guest" --judge "$1" --tree "$tree" || true; } |
		grep -E '^(PROBLEM|    >|run:)' | diff "$1/expected" - >&2
}

golden_cases() {
	local dir
	for dir in "$golden"/*/; do
		check "judge: $(basename "$dir")" judge_case "${dir%/}"
	done
}

# --- scripts that say "ok NAME" or "not ok NAME: REASON" -------------------------
# results_of "SCRIPT [WORD]" LABEL; a script that ends badly without a "not ok" is one more failure
results_of() {
	local line bad=0 results=0 command
	read -ra command <<< "$1"
	exec 8< <("$scripts/${command[0]}" "${command[@]:1}" || echo "ended with $?")
	while read -r line <&8; do
		case $line in
		'ok '*) results=1; pass "$2: ${line#ok }" ;;
		'not ok '*) results=1 bad=1; fail "$2: ${line#not ok }" ;;
		'skip '*) results=1; skip "$2" "${line#skip }" ;;
		'ended with '*) ((bad)) || fail "$2: $1 $line" ;;
		*) echo "$line" ;;
		esac
	done
	exec 8<&-
	((results)) || fail "$2: $1 has not tested anything"
}

# --- the series and the bases that the packages offer -------------------------
# fetch_base VERSION: prints the path of that version's tarball
fetch_base() {
	local file=$build/bases/linux-source-6.1_$1.tar.xz dir
	if [[ ! -e $file ]]; then
		mkdir -p "$build/bases"
		dir=$(mktemp -d "$build/bases/.get.XXXXXX")
		(cd "$dir" && apt-get -q download "linux-source-6.1=$1") > "$build/bases/apt.log" 2>&1 &&
			dpkg-deb --fsys-tarfile "$dir"/*.deb |
			tar -xO ./usr/src/linux-source-6.1.tar.xz > "$dir/tarball" &&
			mv "$dir/tarball" "$file"
		rm -rf "$dir"
	fi
	[[ -e $file ]] && echo "$file"
}

# Applies the series to that version twice: as series.sh does, and with git am.
# To the files only that the series touches: eighty thousand others would only
# be copied.
applies_to() {
	local file other=$build/other-base status=0
	file=$(fetch_base "$1") || { echo "linux-source-6.1=$1 cannot be had" >&2; return 1; }
	rm -rf "$other"
	mkdir -p "$other/base/kernel"
	{
		echo Makefile
		series_files "${1%-*}" | xargs -r -d '\n' sed -n 's/^--- a\///p' | LC_ALL=C sort -u
	} | sed 's/^/linux-source-6.1\//' > "$other/files"
	# a file that this base does not have makes tar unhappy, and then the
	# patch, which says more
	tar -C "$other/base" --strip-components=1 -T "$other/files" -xf "$file" 2> /dev/null || true
	EXECMEM_BUILD=$other BASE=$other/base "$scripts/series.sh" apply || status=1
	if ((status == 0)) && [[ $(series_files) ]]; then
		local t=$other/linux-6.1.y want
		want=$(git -C "$t" rev-parse 'HEAD^{tree}')
		git -C "$t" checkout -q --detach base
		series_files "${1%-*}" | xargs -d '\n' git -C "$t" am -q > /dev/null || status=1
		[[ $(git -C "$t" rev-parse 'HEAD^{tree}') = "$want" ]] || status=1
	fi
	rm -rf "$other"
	return "$status"
}

export_is_clean() {
	local copy=$build/.export-check
	rm -rf "$copy"
	cp -r "$patches" "$copy"
	EXECMEM_PATCHES=$copy "$scripts/series.sh" export > /dev/null &&
		diff -r "$patches" "$copy" >&2
	local status=$?
	rm -rf "$copy"
	return $status
}

bases() {
	local versions oldest newest
	versions=$(apt-cache madison linux-source-6.1 2> /dev/null | cut -d '|' -f 2 | tr -d ' ' |
		   LC_ALL=C sort -uV) || true
	if [[ ! $versions ]]; then
		skip 'series applies to other 6.1.y' 'apt offers no linux-source-6.1'
		return
	fi
	oldest=$(head -n 1 <<< "$versions")
	newest=$(tail -n 1 <<< "$versions")
	base_check oldest "$oldest"
	[[ $oldest = "$newest" ]] || base_check newest "$newest"
}

# One that patches/linux-6.1.y/bases does not claim is not a failure, but it is
# not hidden either.
base_check() {
	local name="series applies to the $1 base, $2"
	if in_good_range "${2%-*}"; then
		check "$name" applies_to "$2"
	else
		skip "$name" 'outside of the range in patches/linux-6.1.y/bases'
	fi
}

# run ARCH FLAVOUR [TESTS]
run() {
	say "--- ARCH=$1 FLAVOUR=$2"
	ARCH=$1 FLAVOUR=$2 TESTS=${3:-} "$scripts/run.sh"
}

# known_skips RUN RESULTS: those that check.skips has, and no others. What names an
# option is not there: each run looks it up in the configuration of its kernel.
known_skips() {
	diff <(sed -n "s/^$1\t//p" "$scripts/check.skips" | LC_ALL=C sort -u) \
		<("$build/host/run-guest" --skips "$2" | LC_ALL=C sort -u) >&2
}

# known_cases RESULTS: the tests that ran had the cases that check.cases has of them
known_cases() {
	local ran
	ran=$("$build/host/run-guest" --cases "$1")
	[[ $ran ]] || { echo "no cases in $1" >&2; return 1; }
	diff <(grep -E "^($(cut -d : -f 1 <<< "$ran" | paste -sd '|')):" "$scripts/check.cases" | LC_ALL=C sort) \
		<(LC_ALL=C sort <<< "$ran") >&2
}

# check_run NAME RUN RESULTS COMMAND...: it is good, what it skips is known, and no
# case is lost
check_run() {
	local name=$1 run=$2 results=$3
	shift 3
	if keeping_output "$@"; then
		pass "$name"
		check "$name skips what is known" known_skips "$run" "$results"
		check "$name has the cases that are known" known_cases "$results"
	else
		fail "$name" "$(why)"
	fi
}

# Each test has its line in check.cases, and nothing else has one.
cases_of_all_tests() {
	diff <(sed '/^#/d; s/ .*//' "$top/selftests/execmem/list" | LC_ALL=C sort) \
		<(sed '/^#/d; s/:.*//' "$scripts/check.cases" | LC_ALL=C sort) >&2
}

# A mutant that does not apply is one that nobody runs.
mutants_apply() {
	local patch status=0
	for patch in "$top"/selftests/mutants/*.patch; do
		git -C "$tree" apply --check "$patch" >&2 || { echo "${patch##*/} does not apply" >&2; status=1; }
	done
	return "$status"
}

# The table of selftests/README.md has all mutants, and no others.
mutants_are_told() {
	diff <(sed -n '/^| promise | tests | mutants |/,/^$/p' "$top/selftests/README.md" | cut -d '|' -f 4 |
			grep -oE '[a-z0-9]+(-[a-z0-9]+)+' | LC_ALL=C sort -u) \
		<(basename -s .patch "$top"/selftests/mutants/*.patch | LC_ALL=C sort) >&2
}

# What runs beside the cheap checks, and beside the guests of default, which seldom use
# more than one processor: all kernels, in the order in which they are wanted, and, once
# its kernel is there, the guest of debug, which takes longest: that kernel is not to wait
# for the other guests. run.sh waits for a kernel that is being built.
beside() {
	local pair status=0 nice
	nice -n 19 "$scripts/build-guest.sh" programs > "$build/ahead.log" 2>&1 || true
	for pair in 'x86_64 default' 'x86_64 debug' 'arm64 default'; do
		# what goes wrong here goes wrong there once more, and is told there
		[[ $pair = 'x86_64 debug' ]] && nice=4 || nice=19
		ARCH=${pair% *} FLAVOUR=${pair#* } nice -n "$nice" "$scripts/build-kernel.sh" > "$build/ahead.log" 2>&1 || true
		[[ $pair = 'x86_64 debug' ]] || continue
		{
			run x86_64 debug "$debug_tests" > "$build/debug.output" 2>&1 || status=$?
			echo "$status" > "$build/debug.status"
		} &
	done
	wait
}

# The guest of debug, as if it ran now; one that was stopped has no status.
debug_guest() {
	cat "$build/debug.output"
	[[ $(cat "$build/debug.status") = 0 ]]
}

# The view from outside must see what it is there to see.
oracle_sees_red() {
	local results=$build/oracle-red
	! ARCH=x86_64 FLAVOUR=default TESTS=alias APPEND=rodata=off RESULTS=$results \
		"$scripts/run.sh" > "$build/oracle-red.log" 2>&1 &&
		grep -q 'ffffffff.* is writable and executable' "$results/host.log"
}

# What the kernel does by itself before there is an init, in a guest with little memory:
# KUnit must not take what is not there. It ends with a panic, as there is no init.
small_guest() {
	local log=$build/small-guest.log
	timeout 300 qemu-system-x86_64 -accel tcg -cpu max -m 64 -display none -no-reboot -serial stdio \
		-kernel "$build/x86_64-default/vmlinuz" -append 'console=ttyS0 panic=-1 execmem_kunit.long=1' > "$log" < /dev/null || true
	# what comes after the last suite is the panic that is right
	sed -i '/No working init found/q' "$log"
	grep -E 'not ok |Out of memory|# execmem: pass:' "$log"
	grep -q 'No working init found' "$log" &&
		grep -q 'execmem_test_pool_many # SKIP .* MB of memory are there, of 256' "$log" &&
		grep -qE '# execmem: pass:[12][0-9] fail:0 ' "$log" && ! grep -q 'not ok ' "$log" &&
		[[ ! $(sed '$d' "$log" | "$build/host/run-guest" --splats '') ]]
}

# What KASAN, lockdep, kmemleak and failures on demand add to. The others are in the
# run of default, and in check-long here as well: alias, wx_time, pool, placement, test_bpf,
# report, counts, perf, and early, its and predictors, which want boots of their own.
debug_tests=wx,modules,bpf,kprobes,ftrace,livepatch,refusals,faults,kcore,kunit,churn,reuse,hibernate

# What goes another way without CONFIG_MODULES.
nomodules_tests=wx,placement,bpf,kprobes,ftrace,refusals,kcore,kunit,counts,pool,early

# Those that depend on where text comes from; and what of them another kind of pool,
# or none, is most likely to break.
pool_tests=wx,bpf,limit,kprobes,ftrace,kunit,counts,pool,perf,predictors,silence,reuse
pages_tests=wx,bpf,kprobes,ftrace,kunit,counts,pool,silence,reuse
off_tests=wx,bpf,limit,kprobes,ftrace,kunit,perf

# The same kernel with another form of memory for text.
booted_with() {
	say "--- $1"
	ARCH=x86_64 FLAVOUR=default BUILT=1 APPEND=$1 RESULTS=$build/$1 TESTS=$2 "$scripts/run.sh"
}

# Half an hour of everything at once, where KASAN and lockdep look on.
churn() {
	ARCH=x86_64 FLAVOUR=debug CPUS=4 TESTS=churn APPEND="execmem_churn=1800:${EPOCHSECONDS}" \
		RESULTS=$build/churn "$scripts/run.sh"
}

reuse_long() {
	ARCH=x86_64 FLAVOUR=default TESTS=reuse APPEND=execmem_reuse=300 RESULTS=$build/reuse "$scripts/run.sh"
}

# silence_long FLAVOUR [PARAMETER]: for the table in README and in the cover letter
silence_long() {
	ARCH=x86_64 FLAVOUR=$1 SLOW=12 TESTS=silence APPEND="execmem_counts=1000 ${2:-}" \
		RESULTS=$build/silence-${2:-$1} "$scripts/run.sh"
}

# What of lib/test_bpf.ko tests the JIT more than where its code lies.
whole_test_bpf() {
	ARCH=$1 FLAVOUR=default TESTS=test_bpf APPEND=execmem_test_bpf=whole RESULTS=$build/test_bpf-$1 "$scripts/run.sh"
}

# Each allocation fails once, where the tests of every day take a sample.
all_faults() {
	ARCH=x86_64 FLAVOUR=debug SLOW=6 TESTS=faults APPEND=execmem_faults=all RESULTS=$build/faults \
		"$scripts/run.sh"
}

# counts FLAVOUR TEST: what each operation costs all CPUs, a thousand times each, and
# beside it what it costs the stock kernel.
counts() {
	ARCH=x86_64 FLAVOUR=$1 TESTS=$2 APPEND=execmem_counts=1000 RESULTS=$build/$2-$1 "$scripts/run.sh"
}
# There the test of thunks counts as well, and is red for how they are written.
counts_of_stock_thunks() {
	local results=$build/its-stock
	! counts stock its > "$results.log" 2>&1 &&
		grep -h 'its thunks alone' "$results/result.ktap" &&
		[[ $(grep -ho 'not ok .*' "$results/result.ktap" | grep -v selftests) = 'not ok 3 no_wx_while_loading' ]]
}

# --- 20 boots, 20 offsets -----------------------------------------------------
# kaslr ARCH: placement holds in each, and the addresses are not always the same
kaslr() {
	local i what results=$build/kaslr-$1 built=''
	mkdir -p "$results"
	: > "$results/bases"
	for i in $(seq 20); do
		check "$1: placement, boot $i of 20" env ARCH="$1" FLAVOUR=default TESTS=placement \
			BUILT="$built" RESULTS="$results" "$scripts/run.sh"
		grep '^summary bases: ' "$results/host.log" >> "$results/bases" || true
		built=1
	done
	# programs of arm64 begin where vmalloc() does, in 6.1 as well
	for what in image first-module $([[ $1 != x86_64 ]] || echo first-program); do
		# of 1024 places fewer than 18 are seen once in a thousand times
		check "$1: 20 boots gave at least 18 different addresses of $what" \
			test "$(grep -oE "$what 0x[0-9a-f]+" "$results/bases" | sort -u | wc -l)" -ge 18
	done
}

# What everything below needs; without it there is nothing to count.
"$scripts/host-setup.sh" all || exit 1
"$scripts/build-guest.sh" host > "$build/ahead.log" 2>&1 &
host=$!
check 'series applies to the packaged base' "$scripts/series.sh" apply
((failed == 0)) || { finish; exit 1; }
wait "$host" || "$scripts/build-guest.sh" host || exit 1

if [[ ! ${1:-} ]]; then
	rm -f "$build"/debug.{output,status}
	# a process group of its own, to be stopped as one
	set -m
	beside &
	ahead=$!
	set +m
fi
golden_cases
check 'check.cases has each test' cases_of_all_tests
results_of check-scripts.sh scripts
results_of check-cocci.sh coccinelle
check 'the last patch is selftests/execmem' "$scripts/series.sh" selftests
check 'export gives no diff' export_is_clean
check 'every mutant applies' mutants_apply
check 'selftests/README.md names every mutant' mutants_are_told
check 'shellcheck' shellcheck "$scripts"/*.sh "$top/.ci/run"
[[ ${1:-} = long ]] || bases
case ${1:-} in
quick) ;;
long)
	kaslr x86_64
	kaslr arm64
	check 'run x86_64 debug, all of it' env APPEND=execmem_kunit.long=1 ARCH=x86_64 FLAVOUR=debug "$scripts/run.sh"
	check 'build x86_64 default' "$scripts/build-kernel.sh"
	check 'run x86_64 default with execmem=pages, all that depends on it' booted_with execmem=pages "$pool_tests"
	check 'run x86_64 default with execmem=off, all that depends on it' booted_with execmem=off "$pool_tests"
	check_run 'run x86_64 nomodules' 'x86_64 nomodules' "$build/x86_64-nomodules" run x86_64 nomodules "$nomodules_tests"
	check 'run x86_64 inline' run x86_64 inline "$debug_tests,pool,wx_time,perf,early,its,test_bpf,predictors"
	check 'lib/test_bpf.ko, all of it' whole_test_bpf x86_64
	check 'lib/test_bpf.ko, all of it, arm64' whole_test_bpf arm64
	check 'half an hour of churn' churn
	check 'five minutes of text at the same places' reuse_long
	check 'what an isolated CPU receives, 1000 times each' silence_long default
	check 'what an isolated CPU receives, 1000 times each, stock' silence_long stock
	check 'what an isolated CPU receives, 1000 times each, execmem=pages' silence_long default execmem=pages
	check 'what an isolated CPU receives, 1000 times each, execmem=off' silence_long default execmem=off
	check 'each allocation fails once' all_faults
	check 'counts, 1000 times each' counts default counts
	check 'counts, 1000 times each, stock' counts stock counts
	check 'counts of ITS thunks, 1000 times' counts default its
	check 'counts of ITS thunks, 1000 times, stock' counts_of_stock_thunks
	results_of check-preflight.sh preflight
	check 'preflight' "$scripts/preflight.sh"
	check 'every architecture compiles' "$scripts/cross.sh"
	check 'every patch builds, and boots where it changes something' "$scripts/bisect.sh"
	check 'the mutants are seen' "$scripts/check-mutants.sh"
	check "the kernel tree's own selftests say the same" "$scripts/tree-selftests.sh"
	results_of 'tools.sh perf' tools
	results_of 'tools.sh dump' tools ;;
*)
	check 'build x86_64 default' "$scripts/build-kernel.sh"
	check_run 'run x86_64 default' 'x86_64 default' "$build/x86_64-default" run x86_64 default
	check 'the oracle sees writable text (rodata=off)' oracle_sees_red
	check 'KUnit leaves a guest of 64 MB alive' small_guest
	check_run 'run x86_64 default with pools of small pages (execmem=pages)' execmem=pages \
		"$build/execmem=pages" booted_with execmem=pages "$pages_tests"
	check_run 'run x86_64 default without pools (execmem=off)' execmem=off \
		"$build/execmem=off" booted_with execmem=off "$off_tests"
	check_run 'run x86_64 default where there are no large pages (nohugevmalloc)' nohugevmalloc \
		"$build/nohugevmalloc" booted_with nohugevmalloc wx,kunit,pool
	check_run 'run arm64 default' 'arm64 default' "$build/arm64-default" run arm64 default
	say 'waiting for the guest of debug'
	wait "$ahead" || true
	check_run 'run x86_64 debug' 'x86_64 debug' "$build/x86_64-debug" debug_guest ;;
esac
finish
