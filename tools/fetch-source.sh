#!/bin/sh
# Gets a CPython source archive from the distribution, checked, and prints its path.
#
# It goes through apt and the machine's own settings: the mirror, proxies and signing keys are
# those that the machine already uses. apt runs with lists and a cache of its own, so nothing of
# the system changes, it needs no `deb-src` line, and it works without root.
#
# Which release a mirror holds cannot be known before: an index may name one that is already
# gone from the pool, and the pool may hold one that no index names any more. So several are
# tried, in this order: 3.14 as the indexes of the distribution's branches name it, 3.14.7, newer
# than 3.14, 3.13. Each is checked against the signed index or tools/python-sources.sha256.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/common.sh
. "$tools/common.sh"

have apt-get || {
    say "no apt-get here: the distribution's source package is out of reach"
    exit 1
}

cache=$(cache_dir)
mkdir -p "$cache/source" || die "cannot write to $cache; set XDG_CACHE_HOME to a directory that can be written"
work=$(mktemp -d "$cache/apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"

# private TOOL ARGUMENTS...: apt on our own lists. As root it would drop to a user that cannot
# write below a home directory: stay as we are. An index past its date is still signed, and what
# we want of it is a checksum, not the newest release: a mirror that lags behind will do.
private() {
    tool=$1
    shift
    limit 180 "$tool" -qq -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
        -o Acquire::https::Timeout=20 -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false "$@" </dev/null
}

# The archive the machine installs from, as `ORIGIN RELEASE URI`: the first main component that
# is the distribution's own and no security branch.
archive_of_machine() {
    # shellcheck disable=SC2016 # apt expands these
    "$@" indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)' 2>/dev/null |
        awk -F '|' '$1 == "Packages" && ($2 == "Debian" || $2 == "Ubuntu") && $3 == $2 && $4 == "main" {
            print $2, $5, $6; exit }'
}

say "asking the distribution for a source package of Python"
machine=$(archive_of_machine apt-get)
if [ -z "$machine" ]; then
    # No lists yet, as in a fresh container.
    private apt-get update >/dev/null 2>&1 || true
    machine=$(archive_of_machine private apt-get)
fi
if [ -z "$machine" ]; then
    say "apt knows of no Debian or Ubuntu archive (no network, or none is configured)"
    exit 1
fi
read -r origin release uri <<END
$machine
END

# Older releases lack the Python we want; these are the names by which the archive's newer
# branches can be asked for.
case $origin in
    Debian) branches="testing unstable stable $release" keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;;
    *) branches="devel $release" keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
esac
signed=
if [ -f "$keyring" ]; then signed="[signed-by=$keyring] "; fi
for branch in $branches; do
    echo "deb-src $signed$uri $branch main"
done >"$work/sources.list"
on_branches() {
    tool=$1
    shift
    private "$tool" -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null "$@"
}

on_branches apt-get update >"$work/log" 2>&1 ||
    say "some of the package indexes could not be read ($(grep -m 1 '^[EW]:' "$work/log" || echo 'no reason given'))"

# indexed PACKAGE: its archives in the indexes, newest first, as `SHA256 DIRECTORY/FILE`.
indexed() {
    on_branches apt-cache showsrc "$1" 2>/dev/null | awk '
        function flush() { if (sha && directory) print sha, directory "/" file; sha = directory = "" }
        /^$/ { flush() }
        /^[A-Z]/ { field = $1 }
        field == "Directory:" { directory = $2 }
        field == "Checksums-Sha256:" && $3 ~ /\.orig\.tar\.[a-z0-9]+$/ { sha = $1; file = $3 }
        END { flush() }' | sort -u | sort -rV -k 2
}

# pinned FILE: the same for a file of known checksum that the pool may still hold.
pinned() {
    awk -v file="$1" '$2 == file {
        package = file; sub(/_.*/, "", package); print $1, "pool/main/p/" package "/" file }' \
        "$tools/python-sources.sha256"
}

helper=$(command -v apt-helper || echo /usr/lib/apt/apt-helper)
{
    indexed python3.14
    pinned python3.14_3.14.7.orig.tar.xz
    indexed python3.15
    indexed python3.13
    pinned python3.13_3.13.5.orig.tar.xz
} | awk '!seen[$2]++' >"$work/choices"

while read -r sha path; do
    file=${path##*/}
    kept=$cache/source/$file
    if [ -f "$kept" ] && [ "$(sha256 "$kept")" = "$sha" ]; then
        say "  $file: kept from an earlier run"
    elif ! private "$helper" download-file "${uri%/}/$path" "$work/$file" "SHA256:$sha" >"$work/log" 2>&1; then
        say "  $file: not to be had ($(grep -m 1 '^[EW]:' "$work/log" | sed 's|[a-z]*://[^ ]* *||; s| *\[IP.*||' || true))"
        continue
    elif [ "$(sha256 "$work/$file")" != "$sha" ]; then
        say "  $file: wrong checksum, thrown away"
        continue
    else
        say "  $file: checksum is right"
        mv "$work/$file" "$kept"
    fi
    echo "$kept"
    exit
done <"$work/choices"
say "no source package of Python could be downloaded"
exit 1
