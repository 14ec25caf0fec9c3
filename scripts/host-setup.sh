#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Installs, on Debian, what is missing to build and run ARCH. Asks apt for
# nothing when everything is there.
#
# usage: host-setup.sh [all|tree|PACKAGE=COMMAND]
#
# all: everything that `make check` needs; tree: what `make run-tree-selftests`
# does; PACKAGE=COMMAND: that package too, where there is no such command

. "$(dirname "$0")/common.sh"
(($# <= 1)) || misused "one argument too many: '$2'"
case ${1:-} in
''|all|tree|*=*) ;;
*) misused "unknown argument '$1'" ;;
esac
check_arch

# package, and a file or command that shows that it is there
wanted='
bc bc
binutils ld
bison bison
ccache ccache
flex flex
g++ g++
gcc gcc
git git
libelf-dev /usr/include/libelf.h
libssl-dev /usr/include/openssl/ssl.h
lz4 lz4
make make
dwarves pahole
python3 python3
xz-utils xz
zlib1g-dev /usr/include/zlib.h
'
[[ ${BASE:-} ]] || wanted+='linux-source-6.1 /usr/src/linux-source-6.1.tar.xz
'
[[ ${1:-} != all ]] || wanted+='coccinelle spatch
perl perl
python3-git /usr/lib/python3/dist-packages/git
python3-ply /usr/lib/python3/dist-packages/ply
shellcheck shellcheck
sparse sparse
'
[[ ${1:-} != tree ]] || wanted+='clang clang
iproute2 /sbin/ip
iputils-ping ping
kmod /sbin/modprobe
libcap2-bin /sbin/capsh
llvm llvm-strip
procps /sbin/sysctl
'
[[ ${1:-} != *=* ]] || wanted+="${1%%=*} ${1#*=}
"
targets=$ARCH
[[ ${1:-} = all ]] && targets='x86_64 arm64'
for ARCH in $targets; do
	check_arch
	wanted+="$qemu_package $qemu_command
"
	prefix=$(cross_prefix)
	[[ $prefix ]] && wanted+="gcc-$triplet ${prefix}gcc
g++-$triplet ${prefix}g++
"
done

missing=()
while read -r package proof; do
	[[ $package ]] || continue
	case $proof in
	/*) [[ -e $proof ]] || missing+=("$package") ;;
	*) command -v "$proof" > /dev/null || missing+=("$package") ;;
	esac
done <<< "$wanted"
((${#missing[@]})) || exit 0

command -v apt-get > /dev/null ||
	die "missing, and this is no Debian to install them on: ${missing[*]}"
if [[ $(id -u) = 0 ]]; then
	as_root=()
elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
	as_root=(sudo -n)
else
	die "missing: ${missing[*]} (neither root nor sudo without a password: install them by hand)"
fi
say "installing: ${missing[*]}"
mkdir -p "$build"
log=$build/apt.log
export DEBIAN_FRONTEND=noninteractive
run_logged "$log" 'apt-get update' "${as_root[@]}" apt-get -q update
run_logged "$log" 'apt-get install' "${as_root[@]}" \
	apt-get -q -y --no-install-recommends install "${missing[@]}"
