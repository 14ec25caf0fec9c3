#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# The series as commits, and back.
#
#   series.sh apply    build/linux-6.1.y: one base commit, one commit a patch
#   series.sh stock    build/linux-base: the base commit alone
#   series.sh export   the commits above the base become patches/linux-6.1.y
#   series.sh selftests   is the last patch what selftests/execmem is?
#
# The last patch is made of selftests/execmem, with the message in selftests/message:
# export writes it anew, whatever the tree has there.
#
# BASE= names the base: nothing (Debian's linux-source-6.1), a tarball, a
# kernel directory, or a git tree (TREE or TREE@REVISION).

. "$(dirname "$0")/common.sh"

debian_tarball=/usr/src/linux-source-6.1.tar.xz
cover=$patches/0000-cover-letter.patch
state=execmem-state		# in the git directory of build/linux-6.1.y
marker='Patches and files touched (written by make export):'

k() { git -C "$tree" "$@"; }

# --- the base ---------------------------------------------------------------

# Sets base_kind and base_id: what identifies it without unpacking it.
identify_base() {
	local base=${BASE:-$debian_tarball} path
	path=${base%@*}
	if [[ ! -e $base && ! -e $path ]]; then
		[[ ${BASE:-} ]] || die "the package linux-source-6.1 is not installed ($debian_tarball)"
		die "BASE=$base: no such file or directory"
	fi
	[[ -e $base ]] && path=$base
	if [[ -f $path ]]; then
		base_kind=tarball
		base_id="tarball $(realpath "$path") $(stat -c '%s %Y' "$path")"
	elif git -C "$path" rev-parse --is-inside-work-tree > /dev/null 2>&1 &&
	     [[ $(git -C "$path" rev-parse --show-prefix) = '' ]] ||
	     [[ $(git -C "$path" rev-parse --is-bare-repository 2> /dev/null) = true ]]; then
		local revision=HEAD
		[[ $base = "$path" ]] || revision=${base##*@}
		base_kind=git
		base_revision=$(git -C "$path" rev-parse -q --verify "$revision^{commit}") ||
			die "BASE=$base: git knows no commit '$revision'"
		base_id="git $(git -C "$path" rev-parse "$base_revision^{tree}")"
	elif [[ -f $path/Makefile && -d $path/kernel ]]; then
		base_kind=directory
		[[ ! -e $path/.config && ! -e $path/include/generated ]] ||
			die "BASE=$base: has build products in it, run 'make mrproper' there first"
		base_id="directory $(realpath "$path") $(stat -c %Y "$path/Makefile")"
	else
		die "BASE=$base: neither a tarball, a kernel directory nor a git tree"
	fi
	base_path=$path
}

# version_of MAKEFILE: 6.1.192
version_of() {
	sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = \(.*\)/\2/p' "$1" 2> /dev/null |
		paste -s -d .
}

# The line of an error message that says most.
main_reason() { grep -m 1 'No space left' <<< "$1" || head -n 1 <<< "$1"; }

# Leaves the base as the one commit of a new repository in $1.
unpack_base() {
	local to=$1 version why
	mkdir -p "$to"
	# what goes wrong is kept in a variable: the disk may be full
	why=$(case $base_kind in
	      tarball) tar -C "$to" --strip-components=1 -xf "$base_path" ;;
	      directory) tar -C "$base_path" --exclude=./.git -cf - . | tar -C "$to" -xf - ;;
	      git) git -C "$base_path" archive "$base_revision" | tar -C "$to" -xf - ;;
	      esac 2>&1) ||
		die "BASE=${BASE:-$base_path}: cannot be unpacked: $(main_reason "$why")"
	version=$(version_of "$to/Makefile")
	[[ $version = 6.1.* ]] ||
		die "BASE=${BASE:-$base_path}: this is ${version:+Linux $version, }not a 6.1.y kernel"
	git -C "$to" -c init.defaultBranch=series init -q
	git -C "$to" config core.compression 0
	git -C "$to" config gc.auto 0
	git -C "$to" config core.fsync none
	git -C "$to" config user.name "$GIT_COMMITTER_NAME"
	git -C "$to" config user.email "$GIT_COMMITTER_EMAIL"
	why=$(git -C "$to" add -A -f . 2>&1) ||
		die "BASE=${BASE:-$base_path}: no base commit: $(main_reason "$why")"
	why=$(GIT_AUTHOR_NAME=$GIT_COMMITTER_NAME GIT_AUTHOR_EMAIL=$GIT_COMMITTER_EMAIL \
	      GIT_AUTHOR_DATE='2022-12-11 00:00:00 +0000' GIT_COMMITTER_DATE='2022-12-11 00:00:00 +0000' \
	      git -C "$to" commit -q -m "Linux $version" 2>&1) ||
		die "BASE=${BASE:-$base_path}: no base commit: $(main_reason "$why")"
	git -C "$to" tag base
	printf '%s\n' "$base_id" > "$to/.git/$state.base"
}

# --- patches to commits -----------------------------------------------------

series_id() { series_files "$1" | xargs -r -d '\n' cat | sha256sum | cut -d ' ' -f 1; }

# commit_series WORK TREE: applies every patch in an index of its own, so that
# nothing that others see changes before all of them have gone in. Leaves the
# name of the last commit in WORK/head.
commit_series() {
	local work=$1 tree=$2 head patch name tree_id parent n=0 total why version
	head=$(k rev-parse base)
	version=$(base_version)
	total=$(series_files | wc -l)
	for patch in "$patches"/until-*/*; do
		[[ ! -e $patch || -e $patches/${patch##*/} ]] ||
			die "${patch#"$patches/"} stands in for no patch: rename it as the patch, or remove it"
	done
	export GIT_INDEX_FILE=$work/index
	k read-tree base
	while read -r patch; do
		n=$((n + 1))
		name=${patch#"$patches/"}
		k mailinfo "$work/message" "$work/diff" < "$patch" > "$work/info" ||
			die "$name: not a patch mail"
		if ! k apply --cached --whitespace=nowarn "$work/diff" 2> "$work/why"; then
			why=$(sed -n 's/^error: //p' "$work/why" | grep -v 'does not apply$' | head -n 1)
			if k apply --cached --reverse --check "$work/diff" 2> /dev/null; then
				die "$name ($n of $total) is already applied in the base $(base_name)"
			fi
			in_good_range "$version" ||
				why="this version is outside of the range in patches/linux-6.1.y/bases; $why"
			die "$name ($n of $total) conflicts with the base $(base_name): ${why:-$(head -n 1 "$work/why")}"
		fi
		tree_id=$(k write-tree) || die "$name: git write-tree failed (no space?)"
		parent=$head
		head=$({ sed -n 's/^Subject: //p' "$work/info"; echo; cat "$work/message"; } |
			git stripspace |
			GIT_AUTHOR_NAME=$(sed -n 's/^Author: //p' "$work/info") \
			GIT_AUTHOR_EMAIL=$(sed -n 's/^Email: //p' "$work/info") \
			GIT_AUTHOR_DATE=$(sed -n 's/^Date: //p' "$work/info") \
			GIT_COMMITTER_DATE=$(sed -n 's/^Date: //p' "$work/info") \
			git -C "$tree" commit-tree "$tree_id" -p "$parent") ||
			die "$name: git commit-tree failed (no space?)"
	done < <(series_files "$version")
	unset GIT_INDEX_FILE
	echo "$head" > "$work/head"
}

base_version() { k log -1 --format=%s base | sed 's/^Linux //'; }
base_name() { echo "$(k log -1 --format=%s base) (${BASE:-linux-source-6.1})"; }

# Is there work in the tree that patches/ does not have?
unexported() {
	[[ -n $(k status --porcelain --untracked-files=no | head -n 1) ]] ||
	[[ $(k rev-parse HEAD) != "$(cat "$tree/.git/$state.head" 2> /dev/null)" ]]
}

apply() {
	local work head
	identify_base
	mkdir -p "$build"
	rm -rf "$build"/.series.*
	work=$(mktemp -d "$build/.series.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT

	if [[ -d $tree/.git ]]; then
		if [[ $(cat "$tree/.git/$state.base" 2> /dev/null) = "$base_id" &&
		      $(cat "$tree/.git/$state.series" 2> /dev/null) = "$(series_id "$(base_version)")" ]]; then
			unexported && say "build/linux-6.1.y has changes that are not in patches/ (make export)"
			return 0
		fi
		unexported &&
			die "build/linux-6.1.y has changes that are not in patches/: 'make export' keeps them, 'make distclean' throws them away"
	fi
	if [[ $(cat "$tree/.git/$state.base" 2> /dev/null) != "$base_id" ]]; then
		say "unpacking the base: ${BASE:-$debian_tarball}"
		unpack_base "$work/linux"
		# the series must fit before the old tree goes
		commit_series "$work" "$work/linux"
		rm -rf "$build/linux-base" "$tree"
		mv "$work/linux" "$tree"
	else
		commit_series "$work" "$tree"
	fi
	in_good_range "$(base_version)" ||
		say "note: Linux $(base_version) is outside of the range in patches/linux-6.1.y/bases"
	head=$(cat "$work/head")
	# touches only the files that differ: a rebuild stays small
	k checkout -q -B series "$head"
	echo "$head" > "$tree/.git/$state.head"
	series_id "$(base_version)" > "$tree/.git/$state.series"
	say "build/linux-6.1.y: $(k log -1 --format=%s base) and $(k rev-list --count base..HEAD) patches"
}

stock() {
	[[ -d $tree/.git ]] || apply
	[[ -e $build/linux-base/.git ]] && return 0
	k worktree prune
	k worktree add -q --detach "$build/linux-base" base
}

# --- the last patch: the selftests ---------------------------------------------

in_tree=tools/testing/selftests

# A file that a tree ignores, or that this repository does not have, is no part of it.
selftest_files() {
	git -C "$selftests" ls-files -co --exclude-standard -- execmem | LC_ALL=C sort | while read -r file; do
		[[ ! -e $selftests/$file ]] || echo "$file"
	done
}

# with_target FILE: the list of targets, and execmem where it belongs
with_target() {
	LC_ALL=C awk '/^TARGETS \+= / && !done && $3 > "execmem" { print "TARGETS += execmem"; done = 1 }
		1
		END { exit !done }' "$1"
}

# with_maintained FILE: MAINTAINERS, and the selftests behind the last file of execmem
with_maintained() {
	awk -v file="F:\t$in_tree/execmem/" '
		/^EXECUTABLE MEMORY ALLOCATOR$/ { ours = 1 }
		ours && /^F:/ { files = 1 }
		ours && files && !/^F:/ { print file; ours = 0; done = 1 }
		1
		END { exit !done }' "$1"
}

# selftests_tree PARENT: the id of its tree with the selftests in it
selftests_tree() (
	export GIT_INDEX_FILE=$work/selftests.index
	local file blob
	k read-tree "$1"
	selftest_files > "$work/files"
	[[ -s $work/files ]] || die "there are no files in $selftests/execmem"
	(cd "$selftests" && git --git-dir="$tree/.git" hash-object -w --no-filters --stdin-paths) < "$work/files" > "$work/blobs" || exit
	paste "$work/blobs" "$work/files" | sed "s|^\\([0-9a-f]*\\)\\t|100644 \\1\\t$in_tree/|" | k update-index --index-info || exit
	for file in "with_target $in_tree/Makefile" 'with_maintained MAINTAINERS'; do
		k show "$1:${file#* }" > "$work/before" || exit
		"${file%% *}" "$work/before" > "$work/after" ||
			die "${file#* } has no place for the selftests"
		blob=$(k hash-object -w "$work/after")
		k update-index --cacheinfo "100644,$blob,${file#* }"
	done
	k write-tree
)

# Sets selftests_parent: what the patch of the selftests stands on, or would.
find_selftests() {
	local subject commit
	subject=$(head -n 1 "$selftests/message")
	selftests_parent=HEAD
	commit=$(k log --format='%H %s' base..HEAD | grep -F " $subject" | cut -d ' ' -f 1) || true
	[[ $commit ]] || return 0
	[[ $commit = "$(k rev-parse HEAD)" ]] ||
		die "'$subject' is not the last commit of build/linux-6.1.y: it has to be"
	selftests_parent=HEAD^
}

# Makes the last commit anew. Who changed the files in the tree has changed the copy.
commit_selftests() {
	local parent exported head date in_head
	[[ -e $selftests/execmem ]] || return 0
	find_selftests
	parent=$(k rev-parse "$selftests_parent")
	tree_id=$(selftests_tree "$parent") || exit
	in_head=$(k rev-parse -q --verify "HEAD:$in_tree/execmem" || true)
	exported=$(k rev-parse -q --verify "$(cat "$tree/.git/$state.head" 2> /dev/null):$in_tree/execmem" || true)
	[[ ! $in_head || $in_head = "$exported" || $in_head = "$(k rev-parse "$tree_id:$in_tree/execmem")" ]] ||
		die "build/linux-6.1.y/$in_tree/execmem was changed: change selftests/execmem, of which it is a copy"
	date=$(k log -1 --format=%ad --date=rfc "$parent")
	head=$(git stripspace < "$selftests/message" |
		GIT_AUTHOR_NAME=$GIT_COMMITTER_NAME GIT_AUTHOR_EMAIL=$GIT_COMMITTER_EMAIL \
		GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date k commit-tree "$tree_id" -p "$parent") || exit
	[[ $head = "$(k rev-parse HEAD)" ]] || k reset -q --hard "$head"
}

# For make check-quick: a change of selftests/execmem that was not exported is a failure.
check_selftests() {
	local file
	[[ -d $tree/.git ]] || die 'there is no build/linux-6.1.y (make series)'
	work=$(mktemp -d "$build/.series.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	find_selftests
	[[ $selftests_parent = HEAD^ ]] || die "no patch adds $in_tree/execmem (make export)"
	tree_id=$(selftests_tree HEAD^) || exit
	file=$(k diff --name-only "$tree_id" HEAD | head -n 1)
	[[ ! $file ]] || die "the last patch is not what selftests/execmem is, first in $file (make export)"
	[[ $(k log -1 --format=%B) = "$(git stripspace < "$selftests/message")" ]] ||
		die 'the last patch has another message than selftests/message (make export)'
}

# --- commits to patches -----------------------------------------------------

export_series() {
	local work total
	[[ -d $tree/.git ]] || die "nothing to export: there is no build/linux-6.1.y (make series)"
	[[ -z $(k status --porcelain --untracked-files=no | head -n 1) ]] ||
		die "build/linux-6.1.y has changes that are not committed"
	[[ -z $(k rev-list --merges base..HEAD) ]] ||
		die "build/linux-6.1.y has merge commits above its base"
	# in an older base some patches are those of until-*/
	at_most "$(made_on)" "$(base_version)" ||
		die "build/linux-6.1.y is Linux $(base_version), and the patches are made on $(made_on): not exported"
	mkdir -p "$patches"
	work=$(mktemp -d "$patches/.export.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	commit_selftests
	k -c core.abbrev=12 -c diff.algorithm=myers format-patch -q -o "$work" \
		--no-numbered --zero-commit --no-signature --no-base --no-thread \
		--stat=72 --no-renames base..HEAD
	total=$(find "$work" -name '*.patch' | wc -l)
	write_cover "$total" > "$work/0000-cover-letter.patch"
	find "$patches" -maxdepth 1 -name '[0-9]*.patch' -delete
	mv "$work"/*.patch "$patches/"
	k rev-parse HEAD > "$tree/.git/$state.head"
	series_id "$(base_version)" > "$tree/.git/$state.series"
	say "patches/linux-6.1.y: $total patches"
}

# The cover letter is written by hand down to the marker line; the list of
# patches and the diffstat below it, and the number in the subject, are not.
write_cover() {
	local total=$1
	if [[ -f $cover ]]; then
		sed "/^${marker//\//\\/}\$/,\$d; s|^Subject: \[PATCH [0-9]*/[0-9]*\]|Subject: [PATCH 00/$total]|" "$cover"
	else
		cat <<-EOF
		From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
		From: $GIT_COMMITTER_NAME <$GIT_COMMITTER_EMAIL>
		Date: Sun, 11 Dec 2022 00:00:00 +0000
		Subject: [PATCH 00/$total] mm: execmem for 6.1.y

		EOF
	fi
	printf '%s\n\n' "$marker"
	k log --reverse --format='  %s' base..HEAD
	echo
	if ((total)); then k diff --stat=72 --no-renames base HEAD; fi
}

arguments apply stock export selftests -- "$@"
(($#)) || misused 'apply, stock, export or selftests?'
lock series
case $1 in
apply) apply ;;
stock) stock ;;
export) export_series ;;
selftests) check_selftests ;;
esac
