#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Writes the series as mails to build/outbox, as reviewers would get them: from
# and signed off by the identity that the user's git has, To and Cc as
# get_maintainer.pl says. It sends nothing; `git send-email` does.
#
#   TO=dry-run [V=N] send.sh   N is the version of the series, 1 by default
#   send.sh people PATCH       who gets PATCH
#
# To whom else a patch goes than get_maintainer.pl says is in
# MAINTAINERS-notes/recipients.
#
# BASE= is read when it is a git tree: the mails then name its commit.

# common.sh hides the configuration of the user's git from here on
sender_name=$(git config --get user.name || true)
sender_email=$(git config --get user.email || true)
. "$(dirname "$0")/common.sh"

k() { git -C "$tree" "$@"; }
cover=$patches/0000-cover-letter.patch
marker='Patches and files touched (written by make export):'	# as in series.sh
changelog=$patches/changelog
recipients=${EXECMEM_RECIPIENTS:-$top/MAINTAINERS-notes/recipients}
# Nobody is asked to merge this: MAINTAINERS-notes/stable.md
prefix='RFC PATCH 6.1.y'

begin() {
	[[ -d $tree/.git ]] || die 'there is no build/linux-6.1.y: make series'
	mkdir -p "$build"
	work=$(mktemp -d "$build/.send.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
}

# --- who gets it --------------------------------------------------------------

# people PATCH: lines "Name <address> (role)". It takes a second or two, so what
# was said of the same diff is kept.
people() {
	local key file
	sed '1,/^---$/d; /^-- $/,$d' "$1" > "$work/diff"
	key=$(cd "$tree" && cat "$work/diff" MAINTAINERS .mailmap .get_maintainer.ignore \
		scripts/get_maintainer.pl 2> /dev/null | sha256sum) || true
	file=$build/preflight/people/${key%% *}
	if [[ ! -s $file ]]; then
		mkdir -p "${file%/*}"
		# HOME: no .get_maintainer.conf of the user
		(cd "$tree" && HOME=/nonexistent scripts/get_maintainer.pl --nogit --nogit-fallback \
			--no-rolestats --roles "$work/diff" < /dev/null) > "$work/people" 2> "$work/why" ||
			die "${1##*/}: get_maintainer.pl fails: $(head -n 1 "$work/why")"
		[[ -s $work/people ]] || die "${1##*/}: get_maintainer.pl names nobody"
		mv "$work/people" "$file"
	fi
	cat "$file"
	SUBJECT=$(git mailinfo /dev/null /dev/null < "$1" | sed -n 's/^Subject: //p') \
		awk -F '\t' '$1 == ENVIRON["SUBJECT"] { print $2 }' "$recipients"
}

# The cover letter goes to every list, and to so many maintainers that each patch
# has one of its own among them: mail servers refuse a hundred recipients.
people_of_cover() {
	awk '
		/ list[:)]/ || !/</ { if (!seen[$1]++) print; next }
		!/\((maintainer|supporter|odd fixer)[:)]/ { next }
		{
			who = $0
			sub(/> \(.*/, ">", who)
			if (!(who in line)) line[who] = $0
			patches[who]++
			of[FILENAME, ++n[FILENAME]] = who
			if (n[FILENAME] == 1) file[++files] = FILENAME
		}
		END {
			for (f = 1; f <= files; f++) {
				best = ""
				for (i = 1; i <= n[file[f]]; i++) {
					who = of[file[f], i]
					if (taken[who]) { best = ""; break }
					if (!best || patches[who] > patches[best]) best = who
				}
				if (best) { taken[best] = 1; print line[best] }
			}
		}' "$work"/people-*.txt
}

# --- what changed ----------------------------------------------------------------

# changes VERSION [SUBJECT]: the lines of the changelog on that version of the
# patch with that subject, or of the series as a whole
changes() {
	awk -v version="v$1" -v subject="${2:-}" '
		/^#/ || /^[ \t]*$/ { next }
		/^v[0-9]+$/ { now = $0; key = ""; next }
		/^[- \t]/ { if (now == version && key == subject) print; next }
		{ key = $0 }' "$changelog"
}

# all_changes SUBJECT: of every version, the newest first
all_changes() {
	local version lines
	for ((version = V; version > 1; version--)); do
		lines=$(changes "$version" "$1")
		[[ ! $lines ]] || printf 'Changes in v%s:\n%s\n' "$version" "$lines"
	done
}

check_changelog() {
	local subject
	((V > 1)) || return 0
	grep -qx "v$V" "$changelog" 2> /dev/null ||
		die "V=$V: patches/linux-6.1.y/changelog does not say what changed in v$V"
	while read -r subject; do
		grep -qxF -- "$subject" "$work/subjects" ||
			die "V=$V: patches/linux-6.1.y/changelog names '$subject', which is no patch of the series"
	done < <(awk -v version="v$V" '/^v[0-9]+$/ { now = $0; next } now == version && /^[^-# \t]/' "$changelog")
	[[ $(changes "$V"; while read -r subject; do changes "$V" "$subject"; done < "$work/subjects") ]] ||
		die "V=$V: patches/linux-6.1.y/changelog has v$V, but nothing below it"
}

# --- the mails --------------------------------------------------------------------

# What a reviewer or a robot has to check out to apply the series.
base_line() {
	local kind id what version revision=HEAD path commit
	version=$(k log -1 --format=%s base)
	version=${version#Linux }
	read -r kind id what < "$tree/.git/execmem-state.base"
	if [[ $kind = git ]]; then
		path=${BASE:-}
		if [[ $path && ! -e $path ]]; then
			revision=${path##*@}
			path=${path%@*}
		fi
		if commit=$(git -C "${path:-/nonexistent}" rev-parse -q --verify "$revision^{commit}" 2> /dev/null) &&
		   [[ $(git -C "$path" rev-parse "$commit^{tree}") = "$id" ]]; then
			echo "base-commit: $commit"
		else
			echo "Based on: v$version (git tree $id)"
		fi
	elif [[ $id = */linux-source-6.1.tar.xz && $what = "$(stat -c '%s %Y' "$id" 2> /dev/null)" ]] &&
	     what=$(dpkg-query -W -f '${Version}' linux-source-6.1 2> /dev/null); then
		echo "Based on: v$version with Debian's patches (linux-source-6.1 $what)"
	else
		echo "Based on: v$version"
	fi
}

# The commits once more, in a repository that borrows all objects: what was
# written by the maintainers of this repository is the sender's own when it is
# sent, as their address is none.
rewrite() {
	local commit head name email date
	git init -q --bare "$work/repo"
	k rev-parse --path-format=absolute --git-path objects > "$work/repo/objects/info/alternates"
	head=$(k rev-parse base)
	while read -r commit; do
		{ read -r name; read -r email; read -r date; } < <(k log -1 --format='%an%n%ae%n%aI' "$commit")
		[[ $email != *@localhost ]] || name=$sender_name email=$sender_email
		head=$(k log -1 --format=%B "$commit" |
			GIT_AUTHOR_NAME=$name GIT_AUTHOR_EMAIL=$email GIT_AUTHOR_DATE=$date \
			GIT_COMMITTER_NAME=$sender_name GIT_COMMITTER_EMAIL=$sender_email \
			GIT_COMMITTER_DATE=$date \
			git -C "$work/repo" commit-tree "$(k rev-parse "$commit^{tree}")" -p "$head")
	done < <(k rev-list --reverse base..HEAD)
	git -C "$work/repo" symbolic-ref HEAD refs/heads/series
	git -C "$work/repo" update-ref refs/heads/series "$head"
	git -C "$work/repo" update-ref refs/heads/base "$(k rev-parse base)"
}

write_mails() {
	local text mail name n=0 extra id date
	grep -qxF "$marker" "$cover" 2> /dev/null ||
		die 'there is no cover letter with its line "Patches and files touched": make export'
	git mailinfo "$work/message" /dev/null < "$cover" > "$work/info" 2> /dev/null ||
		die "${cover##*/}: not a mail"
	text=$(sed -n 's/^Subject: //p' "$work/info"; echo; sed "/^${marker//\//\\/}\$/,\$d" "$work/message")
	((V == 1)) || text+=$'\n\n'$(all_changes '')
	rewrite
	# the date of the cover letter; git send-email has its own
	date=$(k log --format=%at base..HEAD | sort -n | tail -n 1)
	extra=()
	((V == 1)) || extra=(-v "$V")
	GIT_COMMITTER_NAME=$sender_name GIT_COMMITTER_EMAIL=$sender_email GIT_COMMITTER_DATE="$date +0000" \
	git -C "$work/repo" -c core.abbrev=12 -c diff.algorithm=myers -c branch.series.description="$text" \
		format-patch -q -o "$work/raw" --subject-prefix="$prefix" "${extra[@]}" --numbered \
		--cover-letter --cover-from-description=subject --thread=shallow \
		--from="$sender_name <$sender_email>" --signoff --no-base --stat=72 --no-renames base..series

	id=v$V.$(git -C "$work/repo" rev-parse --short=12 series)
	base_line > "$work/last"
	mkdir "$work/outbox"
	while read -r mail; do
		name=${mail##*/}
		n=$((n + 1))
		((n % 10)) || say "$n mails"
		people "$mail" > "$work/people-$name.txt"
		extra=()
		if ((V > 1)); then
			all_changes "$(sed -n "${n}p" "$work/subjects")" > "$work/changes"
			[[ ! -s $work/changes ]] || extra=(--changes "$work/changes")
		fi
		"$build/host/mail" --people "$work/people-$name.txt" --id "$id" "${extra[@]}" \
			< "$mail" > "$work/outbox/$name" 2> "$work/why" || die "$name: $(sed 's/^mail: //' "$work/why")"
	done < <(find "$work/raw" -name '*.patch' ! -name '*0000-cover-letter.patch' | LC_ALL=C sort)
	people_of_cover > "$work/people"
	name=$(basename "$work"/raw/*0000-cover-letter.patch)
	"$build/host/mail" --people "$work/people" --id "$id" --last "$work/last" \
		< "$work/raw/$name" > "$work/outbox/$name" 2> "$work/why" ||
		die "$name: $(sed 's/^mail: //' "$work/why")"
	rm -rf "$build/outbox"
	mv "$work/outbox" "$build/outbox"
	say "build/outbox: $((n + 1)) mails from $sender_name <$sender_email>; nothing was sent"
	say 'to send them: git send-email --no-thread --suppress-cc=self build/outbox/*.patch'
}

if [[ ${1:-} = people && ${2:-} ]]; then
	begin
	people "$2"
	exit
fi
[[ $# = 0 ]] || misused "unknown argument '$1'"
[[ ${TO:-} = dry-run ]] ||
	die "this never sends: TO=dry-run writes the mails to build/outbox, 'git send-email' sends them"
V=${V:-1}
[[ $V =~ ^[1-9][0-9]{0,2}$ ]] || die "V=$V: the version of the series is a number from 1 on"
[[ $sender_name && $sender_email ]] ||
	die 'git does not know who you are: git config --global user.name NAME; git config --global user.email ADDRESS'
[[ $sender_email =~ ^[^@[:space:]]+@[^@[:space:]]+\.[^@.[:space:]]+$ && $sender_email != *@*localhost* ]] ||
	die "nobody can answer to $sender_email: git config --global user.email ADDRESS"
begin
[[ -z $(k status --porcelain --untracked-files=no | head -n 1) ]] ||
	die 'build/linux-6.1.y has changes that are not committed'
[[ -n $(k rev-list -n 1 base..HEAD) && -z $(k rev-list --merges base..HEAD) ]] ||
	die 'build/linux-6.1.y has no patches above its base, or merge commits among them'
k log --reverse --format=%s base..HEAD > "$work/subjects"
check_changelog
[[ -x $build/host/mail ]] || "$top/scripts/build-guest.sh" host
write_mails
