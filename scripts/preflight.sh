#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Looks at the series as reviewers and their robots would, before they do:
# build/linux-6.1.y as it is committed, against its base. Ends with one line for
# each thing that they would object to; exit status 0 when there is none.
#
# Only what the series brings counts: what the tools say of the base as well is
# left out. What they are wrong about is in preflight.excuses, with the reason.
# What was looked at once is remembered in build/preflight.

. "$(dirname "$0")/common.sh"
arguments -- "$@"
. "$(dirname "$0")/objects.sh"
unset BASE EXTRA_CONFIG
home=$build/preflight
excuses=${EXECMEM_EXCUSES:-$top/scripts/preflight.excuses}
cover=$patches/0000-cover-letter.patch
longest_subject=75

k() { git -C "$tree" "$@"; }
step() { say "preflight: $*"; }

# finding TYPE PATCH TEXT: PATCH is the name of its mail, or - for none
finding() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >> "$work/findings"; }
# found TYPE PATCH: one for each line of stdin
found() {
	local line
	while IFS= read -r line; do
		finding "$1" "$2" "$line"
	done
}

finish() {
	local type patch text subject reason n=0 excused=0
	touch "$work/findings"
	: > "$work/used"
	while IFS=$'\t' read -r type patch text; do
		subject=-
		[[ $patch = - ]] || subject=$(grep -F "$patch"$'\t' "$work/subjects" | cut -f 2)
		if [[ -e $excuses ]] && grep -qE "^$type"$'\t' "$excuses" &&
		   cut -f 1,2 "$excuses" | grep -xF "$type"$'\t'"$subject" >> "$work/used"; then
			excused=$((excused + 1))
			continue
		fi
		n=$((n + 1))
		[[ $patch = - ]] && patch='the series'
		echo "preflight: ${patch%.patch}: $type: $text" >&2
	done < "$work/findings"
	while IFS=$'\t' read -r type subject reason; do
		[[ $type && $type != '#'* && ${1:-} != early ]] || continue
		if [[ ! $subject || ! $reason || $type =~ ^(base|export|cover|message|recipients|build)$ ]]; then
			n=$((n + 1))
			echo "preflight: preflight.excuses: not TYPE<tab>SUBJECT<tab>REASON, or a type without excuse: $type" >&2
		elif ! grep -qxF "$type"$'\t'"$subject" "$work/used"; then
			n=$((n + 1))
			echo "preflight: preflight.excuses: excuses nothing: $type, $subject" >&2
		fi
	done < <(cat "$excuses" 2> /dev/null)
	if ((n)); then
		echo "preflight: $n objections to ${#mails[@]} patches" >&2
		exit 1
	fi
	step "nothing to object to in ${#mails[@]} patches ($excused findings excused)"
	exit 0
}

# --- base, export, cover letter --------------------------------------------------

check_base() {
	local version
	if ! k rev-parse -q --verify 'base^{commit}' > /dev/null; then
		finding base - "build/linux-6.1.y has no tag 'base': make series"
		return 1
	fi
	version=$(k log -1 --format=%s base)
	version=${version#Linux }
	if [[ ! $(made_on) ]]; then
		finding base - 'patches/linux-6.1.y/bases does not say on what the patches were made'
	elif [[ $(made_on) != "$version" ]]; then
		finding base - "the patches are made on $(made_on), but build/linux-6.1.y is Linux $version"
	fi
	in_good_range "$version" ||
		finding base - "Linux $version is outside of the range in patches/linux-6.1.y/bases"
	if ! k merge-base --is-ancestor base HEAD || [[ ! $(k rev-list -n 1 base..HEAD) ]]; then
		finding base - 'build/linux-6.1.y has no commits on top of its base'
		return 1
	fi
	if [[ $(k rev-list --merges base..HEAD) ]]; then
		finding base - 'there are merge commits above the base'
		return 1
	fi
	if [[ $(k status --porcelain --untracked-files=no | head -n 1) ]]; then
		finding base - 'build/linux-6.1.y has changes that are not committed'
		return 1
	fi
}

# series.sh keeps both when the patches become commits, and when they are exported
check_export() {
	local id
	id=$(series_files "$(made_on)" | xargs -r -d '\n' cat | sha256sum | cut -d ' ' -f 1)
	if [[ $(k rev-parse HEAD) != "$(cat "$tree/.git/execmem-state.head" 2> /dev/null)" ||
	      $id != "$(cat "$tree/.git/execmem-state.series" 2> /dev/null)" ]]; then
		finding export - 'patches/ is not what build/linux-6.1.y holds: make export'
		return 1
	fi
}

check_cover() {
	local words subject
	if [[ ! -s $cover ]]; then
		finding cover - "there is no cover letter (patches/linux-6.1.y/${cover##*/})"
		return
	fi
	if ! git mailinfo "$work/message" /dev/null < "$cover" > "$work/info" 2> /dev/null; then
		finding cover - 'the cover letter is not a mail'
		return
	fi
	subject=$(sed -n 's/^Subject: //p' "$work/info")
	[[ $subject ]] || finding cover - 'the cover letter has no subject'
	words=$(sed '/^Patches and files touched/,$d' "$work/message")
	(($(wc -w <<< "$words") >= 20)) || finding cover - 'the cover letter says nothing'
	grep -oE '\*\*\* [A-Z ]+ \*\*\*|\b(TODO|FIXME|XXX|TBD)\b|\(\?\)' <<< "$subject $words" | sort -u |
		sed 's/^/the cover letter has a placeholder: /' | found cover - || true
	# below the words is what the export writes
	[[ $1 = exported ]] || return 0
	grep -q "^Subject: \[PATCH 00*/${#mails[@]}\]" "$cover" ||
		finding cover - "the cover letter does not announce ${#mails[@]} patches: make export"
	while IFS=$'\t' read -r _ subject; do
		grep -qxF -- "  $subject" "$work/message" ||
			finding cover - "the cover letter does not list '$subject': make export"
	done < "$work/subjects"
}

# --- each commit message ----------------------------------------------------------

check_message() {
	local patch=$1 commit=$2 subject body
	subject=$(k log -1 --format=%s "$commit")
	body=$(k log -1 --format=%b "$commit")
	if [[ $subject =~ ^(fixup|squash|amend)! ]]; then
		finding message "$patch" "a ${BASH_REMATCH[0]} that was not folded in: git rebase --autosquash"
		return
	fi
	grep -oiE '\b(WIP|DO NOT MERGE|DO-NOT-MERGE|TEMP|HACK)\b' <<< "$subject" |
		sed 's/^/the subject says /' | found message "$patch" || true
	[[ $subject =~ ^[A-Za-z0-9_.,/\ +-]+:\ [^\ ] ]] ||
		finding message "$patch" "the subject does not name a subsystem: $subject"
	((${#subject} <= longest_subject)) ||
		finding message "$patch" "the subject has ${#subject} characters, more than $longest_subject"
	[[ $subject != *. ]] || finding message "$patch" 'the subject ends with a full stop'
	[[ $body ]] || finding message "$patch" 'there is nothing below the subject'
	! grep -q '^Signed-off-by:' <<< "$body" ||
		finding message "$patch" 'it is signed off already: who sends it signs it'
	# checkpatch can tell only where the tree has the commit
	tr '\n' ' ' <<< "$body" | grep -oE '[Cc]ommit [0-9a-f]{7,40}\b( \("[^"]+"\))?' | grep -v '")$' |
		sed 's/^/it refers without a title to /' | found message "$patch" || true
}

# --- recipients -----------------------------------------------------------------------

# The addresses that MAINTAINERS has for arch/X/, read without get_maintainer.pl
arch_addresses() {
	{ k show base:MAINTAINERS; echo; k show HEAD:MAINTAINERS; } 2> /dev/null |
		awk -v dir="arch/$1/" 'BEGIN { RS = ""; FS = "\n" } {
			mine = 0
			for (i = 1; i <= NF; i++)
				if ($i ~ /^F:[ \t]/ && ($i ~ "[ \t]" dir "(\\*/?)?$")) mine = 1
			for (i = 1; mine && i <= NF; i++)
				if ($i ~ /^[ML]:[ \t]/ && match($i, /[^ \t<>]+@[^ \t<>]+/))
					print substr($i, RSTART, RLENGTH)
		}' | sort -u
}

check_recipients() {
	local patch=$1 arch address wanted
	if ! "$top/scripts/send.sh" people "$work/mails/$patch" > "$work/people" 2> "$work/why"; then
		finding recipients "$patch" "$(sed 's/^send.sh: //' "$work/why")"
		return
	fi
	while read -r arch; do
		wanted=$(arch_addresses "$arch")
		if [[ ! $wanted ]]; then
			finding recipients "$patch" "MAINTAINERS names nobody for arch/$arch/"
			continue
		fi
		while read -r address; do
			grep -qiF -- "$address" "$work/people" ||
				finding recipients "$patch" "$address, of arch/$arch/, does not get it"
		done <<< "$wanted"
	done < <(k diff --name-only --no-renames "$2^" "$2" | sed -n 's/^arch\/\([^/]*\)\/.*/\1/p' | sort -u)
}

# Who was added for a patch that has another subject now would be left out.
check_added_recipients() {
	local file=${EXECMEM_RECIPIENTS:-$top/MAINTAINERS-notes/recipients} subject person
	while IFS=$'\t' read -r subject person; do
		[[ $subject && $subject != '#'* ]] || continue
		cut -f 2 "$work/subjects" | grep -qxF -- "$subject" ||
			finding recipients - "MAINTAINERS-notes/recipients has '$subject', which is no patch of the series"
		[[ $person =~ ^([^\<\>]+\ \<)?[^\<\>\ ]+@[^\<\>\ ]+\>?\ \((maintainer|reviewer|open\ list)\)$ ]] ||
			finding recipients - "MAINTAINERS-notes/recipients: not 'NAME <ADDRESS> (ROLE)': $person"
	done < "$file"
}

# --- checkpatch -----------------------------------------------------------------------

# UNKNOWN_COMMIT_ID: the tree has no history, see check_message.
run_checkpatch() {
	(cd "$tree" && scripts/checkpatch.pl --strict --show-types --terse --no-summary --no-signoff \
		--color=never --ignore UNKNOWN_COMMIT_ID "$1" < /dev/null 2> "$work/why") || true
}

check_checkpatch() {
	local patch=$1 mail=$work/mails/$1 file line
	file=$home/checkpatch/$({
		cat "$mail"
		find "$tree/scripts" -maxdepth 1 \( -name checkpatch.pl -o -name spdxcheck.py -o -name '*.txt' \) \
			-exec sha256sum {} + | LC_ALL=C sort
	} | sha256sum | cut -c 1-40)
	if [[ ! -e $file ]]; then
		mkdir -p "${file%/*}"
		run_checkpatch "$mail" > "$work/checkpatch"
		while IFS= read -r line; do
			[[ $line =~ :[0-9]+:\ (ERROR|WARNING|CHECK):[A-Z_0-9]+:\  ]] ||
				die "checkpatch.pl says of $patch: $line"
		done < "$work/checkpatch"
		[[ ! -s $work/why ]] ||
			die "checkpatch.pl says of $patch: $(head -n 1 "$work/why")"
		sed -E 's/^.*:([0-9]+): [A-Z]+:([A-Z_0-9]+): /\2\tline \1: /' "$work/checkpatch" > "$file.new"
		mv "$file.new" "$file"
	fi
	while IFS=$'\t' read -r type line; do
		finding "$type" "$patch" "$line"
	done < "$file"
}

# --- kernel-doc --------------------------------------------------------------------------

# kernel_doc COMMIT FILE...: what it says, without the numbers of lines
kernel_doc() {
	local commit=$1 dir file
	shift
	dir=$(mktemp -d "$work/doc.XXXXXX")
	for file; do
		k cat-file -e "$commit:$file" 2> /dev/null || continue
		mkdir -p "$dir/${file%/*}"
		k show "$commit:$file" > "$dir/$file"
	done
	(cd "$dir" && find . -type f -printf '%P\0' | xargs -0 -r "$tree/scripts/kernel-doc" -none 2>&1) |
		sed -nE 's/:[0-9]+: (warning|error): /: /p' | LC_ALL=C sort
}

check_kernel_doc() {
	local patch=$1 commit=$2 files
	mapfile -t files < <(k diff --name-only --no-renames --diff-filter=d "$commit^" "$commit" |
		grep '\.[ch]$' | grep -v '^tools/')
	((${#files[@]})) || return 0
	LC_ALL=C comm -13 <(kernel_doc "$commit^" "${files[@]}") <(kernel_doc "$commit" "${files[@]}") > "$work/docs"
	cat "$work/docs" >> "$work/all-docs"
	found kernel-doc "$patch" < "$work/docs"
}

# --- compilers and sparse -------------------------------------------------------------------
# Walks over the commits. At each one the objects of the files that it touches
# are compiled, with W=1 and sparse; for a header, those of the series' objects
# that include it. What is said of an object now and was not said before belongs
# to that patch.

w() { git -C "$source" "$@"; }

# Complaints about files that the series does not touch are not its own. What
# sparse says comes under the name of the source: it is the object's.
about_touched() {
	awk -F '\t' 'NR == FNR { touched[$0] = 1; next } {
		text = $2
		sub(/^linux-6\.1\.y\//, "", text)
		file = text
		sub(/:.*/, "", file)
		sub(/\.[cS]$/, ".o", $1)
		if (file !~ /\.[chS]$/ || file in touched) print $1 "\t" text
	}' "$work/touched" -
}

configure() {
	local fragment files=()
	for fragment in common "$ARCH" modules "modules-$ARCH" "default-$ARCH" series; do
		fragment=$top/kernel-config/$fragment.config
		[[ ! -e $fragment ]] || files+=("$fragment")
	done
	rm -rf "$out/new"
	mkdir -p "$out/new"
	(cd "$source" && ARCH=$karch CROSS_COMPILE=$prefix scripts/kconfig/merge_config.sh -n \
		-O "$out/new" "${files[@]}") > "$out/config.log" 2>&1 < /dev/null || return 1
	cmp -s "$out/new/.config" "$out/.config" || cp "$out/new/.config" "$out/.config"
	rm -rf "$out/new"
	"${kbuild[@]}" -j "$(nproc)" prepare > "$out/prepare.log" 2>&1 < /dev/null 9>&-
}

# objects_at COMMIT PARENT: to be compiled there; PARENT is empty for all
objects_at() {
	local commit=$1 parent=$2 own=$ARCH file object list directories
	[[ $own = x86_64 ]] && own=x86
	if [[ ! -e $work/objects || ! $parent ]] ||
	   ! k diff --quiet "$parent" "$commit" -- '*Kconfig*' '*Makefile' '*Kbuild' ||
	   ! k diff --quiet --diff-filter=AD "$parent" "$commit"; then
		mapfile -t directories < <(grep '\.[cS]$' "$work/touched" | grep -vE '^(scripts|tools)/' |
			sed 's/\/[^/]*$//' | sort -u)
		objects_of "${directories[@]}" > "$work/objects" || return 1
	fi
	while read -r file; do
		[[ $file =~ \.[cS]$ && ($file != arch/* || $file = arch/$own/*) ]] || continue
		object=${file%.*}.o
		grep -qxF "$object" "$work/objects" || continue
		k cat-file -e "$commit:$file" 2> /dev/null || continue
		if [[ ! $parent ]]; then
			echo "$object"
			continue
		fi
		list=$(k diff --name-only --no-renames "$parent" "$commit")
		if grep -qxF "$file" <<< "$list" ||
		   grep -qF -f <(sed -n 's/^.*\(\/[^/]*\/[^/]*\.h\)$/\1/p' <<< "$list") \
			"$out/${object%/*}/.${object##*/}.cmd" 2> /dev/null; then
			echo "$object"
		fi
	done < "$work/touched"
}

# compile_at PATCH COMMIT PARENT: $work/known is what was said up to PARENT
compile_at() {
	local patch=$1 commit=$2 parent=$3 objects
	w checkout -q --detach "$commit" || return 1
	if [[ ! $parent || ! -e $out/.config ]] || ! k diff --quiet "$parent" "$commit" -- '*Kconfig*'; then
		if ! configure; then
			echo "-	cannot be configured or prepared: $(cat "$out"/{config,prepare}.log 2> /dev/null | grep -m 1 -E 'rror|\*\*\*')"
			return
		fi
	fi
	objects=$(objects_at "$commit" "$parent") || return 1
	[[ $objects ]] || return 0
	mapfile -t objects <<< "$objects"
	printf '%s\n' "${objects[@]}" > "$work/compiled"
	compile "$out/$patch.log" "$ARCH, $patch" "${objects[@]}" >&2
	complaints "$out/$patch.log" "${objects[@]}" | about_touched | LC_ALL=C sort
}

check_compile() {
	local conditions key='' n=0 commit parent='' patch file object text type total=0
	check_arch
	out=$home/$ARCH
	prefix=$(cross_prefix)
	mkdir -p "$out" "$home/said"
	set_kbuild "$karch" "$prefix" W=1 C=1
	command -v "${prefix}gcc" > /dev/null || die "${prefix}gcc is missing"
	conditions=$({ echo "$ARCH"; cat "$top"/kernel-config/*.config "$top"/scripts/{preflight,objects}.sh "$work/touched"
		"${prefix}gcc" --version; sparse --version; } | sha256sum | cut -c 1-16)
	: > "$work/known"
	rm -f "$work/objects"
	for commit in base "${commits[@]}"; do
		patch=base
		[[ $commit = base ]] || { patch=${mails[n]%.patch}; n=$((n + 1)); }
		# the same for the same trees up to here, whatever the messages say
		key=$({ echo "$key"; k rev-parse "$commit^{tree}"; } | sha256sum | cut -c 1-40)
		file=$home/said/$key-$conditions
		if [[ ! -e $file ]]; then
			: > "$work/compiled"
			compile_at "$patch" "$commit" "$parent" > "$work/said" ||
				die "$ARCH, $patch: the objects could not be listed (log: ${out#"$top"/})"
			[[ $commit != base ]] || ! grep '^-' "$work/said" > "$work/why" ||
				die "$ARCH: the base $(head -n 1 "$work/why" | cut -f 2)"
			# what was said of these objects before no longer holds, but for
			# those that fail: of them nothing is known
			{ awk -F '\t' 'FILENAME == ARGV[1] { if ($2 ~ /[Ee]rror:|^does not|^is not/) failed[$1] = 1; next }
				FILENAME == ARGV[2] { gone[$1] = !($1 in failed); next }
				!gone[$1]' "$work/said" "$work/compiled" "$work/known"
			  cat "$work/said"; } | LC_ALL=C sort -u > "$work/now"
			LC_ALL=C comm -13 "$work/known" "$work/now" > "$file.new.said"
			cp "$work/now" "$file.now"
			wc -l < "$work/compiled" > "$file.count"
			mv "$file.new.said" "$file"
			((n % 10)) || step "$ARCH: $patch"
		fi
		total=$((total + $(cat "$file.count")))
		cp "$file.now" "$work/known"
		parent=$commit
		[[ $commit != base ]] || continue
		while IFS=$'\t' read -r object text; do
			# the same as kernel-doc has said
			! grep -qxF -- "${text/: warning: /: }" "$work/all-docs" || continue
			case $text in
			'does not compile'|'is not there after make') type=build text="$object $text" ;;
			*rror:*|*'cannot be configured'*) type=build ;;
			*objtool:*) type=objtool ;;
			*'[-W'*) type=W=1 ;;
			*) type=sparse ;;
			esac
			finding "$type" "${mails[n-1]}" "$ARCH: $text"
		done < <(awk -F '\t' 'NR == FNR { if ($2 ~ /[Ee]rror:/) told[$1] = 1; next }
			$2 != "does not compile" || !($1 in told)' "$file" "$file")
	done
	((total)) || ! sed -n '/\.[cS]$/{/^arch\//!p}' "$work/touched" | grep -vE '^(tools|scripts)/' > /dev/null ||
		die "$ARCH: the series touches sources, and nothing was compiled"
	step "$ARCH: $total objects compiled for ${#mails[@]} patches"
}

# --- coccicheck --------------------------------------------------------------------------------
# One directory of files is given to coccicheck, as the directory of an external
# module, and each rule. What was said of a file is kept under its blob's name.

cocci_rules() {
	local rule
	while read -r rule; do
		# this spatch may be built without OCaml
		if grep -q '^virtual report' "$rule" && ! grep -q 'ocaml' "$rule"; then
			echo "$rule"
		fi
	done < <(find "$tree/scripts/coccinelle" "$top/coccinelle" -name '*.cocci' 2> /dev/null | LC_ALL=C sort)
}

# cocci COMMIT FILE...
cocci() {
	local commit=$1 dir=$work/cocci/files file rule blob todo=0 n=0 log=$work/cocci/log
	shift
	rm -rf "$work/cocci"
	mkdir -p "$dir" "$work/cocci/cwd"
	: > "$work/cocci/said"
	for file; do
		blob=$(k rev-parse -q --verify "$commit:$file") || continue
		[[ ! -e $home/cocci/$rules_id/$blob ]] || continue
		mkdir -p "$dir/${file%/*}"
		k show "$commit:$file" > "$dir/$file"
		todo=$((todo + 1))
	done
	((todo)) || return 0
	for rule in "${rules[@]}"; do
		n=$((n + 1))
		((n % 20)) || step "coccicheck: $n of ${#rules[@]} rules, $todo files"
		(cd "$work/cocci/cwd" && MODE=report J=$(nproc) srctree=$tree KBUILD_EXTMOD=$dir COCCI=$rule \
			bash "$tree/scripts/coccicheck" < /dev/null > "$log" 2>&1) ||
			die "coccicheck fails with ${rule##*/}: $(grep -v '^/' "$log" | tail -n 2 | paste -sd ' ')"
		# a line in the text would make the same thing look new when it moves
		sed -nE "s/ line [0-9]+/ line N/g; s|^$dir/([^:]+):([0-9]+):[0-9-]+: (.*)|\1\t\2\t\3 (${rule##*/})|p" \
			"$log" >> "$work/cocci/said"
	done
	mkdir -p "$home/cocci/$rules_id"
	(cd "$dir" && find . -type f -printf '%P\n') | while read -r file; do
		awk -F '\t' -v file="$file" '$1 == file { print $2 "\t" $3 }' "$work/cocci/said" > "$work/cocci/one"
		mv "$work/cocci/one" "$home/cocci/$rules_id/$(k rev-parse "$commit:$file")"
	done
}

# what was said of FILE at COMMIT: lines NUMBER<tab>TEXT
cocci_of() {
	local blob
	if blob=$(k rev-parse -q --verify "$1:$2"); then cat "$home/cocci/$rules_id/$blob"; fi
}

check_cocci() {
	local files=() suspects=() file line text blame patch
	mapfile -t rules < <(cocci_rules)
	((${#rules[@]})) || die 'there are no rules for coccicheck'
	rules_id=$({ cat "${rules[@]}"; spatch --version; } | sha256sum | cut -c 1-16)
	mapfile -t files < <(k diff --name-only --no-renames --diff-filter=d base HEAD | grep '\.[ch]$' |
		grep -vE '^(scripts|tools)/')
	((${#files[@]})) || return 0
	cocci HEAD "${files[@]}"
	for file in "${files[@]}"; do
		[[ ! $(cocci_of HEAD "$file") ]] || suspects+=("$file")
	done
	((${#suspects[@]})) || return 0
	cocci base "${suspects[@]}"
	for file in "${suspects[@]}"; do
		while read -r text; do
			line=$(cocci_of HEAD "$file" | awk -F '\t' -v text="$text" '$2 == text { print $1; exit }')
			blame=$(k blame -l -s -L "$line,$line" base..HEAD -- "$file" | cut -d ' ' -f 1)
			patch=$(grep -F "$blame" "$work/names" | cut -f 2)
			finding coccicheck "${patch:--}" "$file: $text"
		done < <(LC_ALL=C comm -13 <(cocci_of base "$file" | cut -f 2- | LC_ALL=C sort) \
			<(cocci_of HEAD "$file" | cut -f 2- | LC_ALL=C sort))
	done
}

# --- all of it -------------------------------------------------------------------------------

for tool in perl sparse spatch python3; do
	command -v "$tool" > /dev/null || die "$tool is missing (Debian: perl, sparse, coccinelle, python3)"
done
# checkpatch.pl asks spdxcheck.py, and takes a traceback for consent
why=$(python3 -c 'import git, ply' 2>&1) ||
	die "spdxcheck.py cannot run: $(tail -n 1 <<< "$why") (Debian: python3-git, python3-ply)"
[[ -d $tree/.git ]] || die 'there is no base and no series: make series'
lock preflight
mkdir -p "$home"
work=$(mktemp -d "$build/.preflight.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$work'" EXIT
mails=() commits=()
: > "$work/subjects"
: > "$work/all-docs"

step 'base'
check_base || finish early
mapfile -t commits < <(k rev-list --reverse base..HEAD)
mapfile -t mails < <(k -c core.abbrev=12 -c diff.algorithm=myers format-patch -o "$work/mails" --no-numbered \
	--zero-commit --no-signature --no-base --no-thread --stat=72 --no-renames base..HEAD | sed 's/.*\///')
paste <(printf '%s\n' "${mails[@]}") <(k log --reverse --format=%s base..HEAD) > "$work/subjects"
paste <(printf '%s\n' "${commits[@]}") <(printf '%s\n' "${mails[@]}") > "$work/names"
k diff --name-only --no-renames base HEAD > "$work/touched"
exported=''
! check_export || exported=exported
check_cover "$exported"

step 'commit messages'
for i in "${!mails[@]}"; do check_message "${mails[i]}" "${commits[i]}"; done
step 'checkpatch'
for i in "${!mails[@]}"; do check_checkpatch "${mails[i]}"; done
step 'kernel-doc'
for i in "${!mails[@]}"; do check_kernel_doc "${mails[i]}" "${commits[i]}"; done
step 'recipients'
check_added_recipients
for i in "${!mails[@]}"; do check_recipients "${mails[i]}" "${commits[i]}"; done
step 'coccicheck'
check_cocci

source=$home/linux-6.1.y
k worktree prune
if [[ ! -e $source/.git ]] || ! git -C "$source" rev-parse -q --verify HEAD > /dev/null 2>&1; then
	step 'a tree to compile in'
	rm -rf "$source"
	k worktree add -q --detach "$source" base
fi
w checkout -q --force --detach HEAD
for ARCH in x86_64 arm64; do
	step "$ARCH: compilers and sparse"
	check_compile
done
finish
