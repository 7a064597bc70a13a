#!/bin/sh
# Chooses the Python interpreter that rtsync is set up with, and prints its path.
#
#   tools/find-python.sh          the best there is, free-threaded 3.14 or newer if at all possible
#   tools/find-python.sh --gil    a build with the GIL, 3.13 or newer, that is already there
#
# The choice, first that works:
#   1. $PYTHON, if given. It must fit: no silent second choice against the user's word.
#   2. A free-threaded 3.14 or newer on PATH, in pyenv or in uv.
#   3. One that this script built before; with $OPTIMIZE, only one with optimizations.
#   4. `uv python install`, where there is uv and a network.
#   5. A build from the source archive that $CPYTHON_SOURCE names.
#   6. A build from the distribution's source package.
#   7. A free-threaded 3.13.
#   8. A build with the GIL, 3.13 or newer, and a notice of what is lost.
# Each step that fails says why, and the next is tried.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/common.sh
. "$tools/common.sh"

# Candidates on this machine, best first: names before directories, and 3.14 before newer
# releases, for which packages may not have wheels yet.
candidates() {
    for name in python3.14t python3.15t python3.16t python3.17t python3.14 python3.15 python3.16 \
        python3.17 python3.13t python3.13 python3 python; do
        if have "$name"; then command -v "$name"; fi
    done
    if have pyenv && root=$(limit 20 pyenv root 2>/dev/null </dev/null); then
        for version in "$root"/versions/3.1[3-9]*; do
            if [ -x "$version/bin/python3" ]; then echo "$version/bin/python3"; fi
        done
    fi
    for version in 3.14t 3.15t 3.13t; do uv_find "$version"; done
}

# uv_find VERSION: where uv already has this version; nothing if it does not.
uv_find() {
    if have uv; then
        UV_OFFLINE=1 UV_PYTHON_DOWNLOADS=never limit 20 \
            uv python find --no-project --system "$1" 2>/dev/null </dev/null || true
    fi
}

# Lines of `free|gil MINOR PATH`, in the order of the candidates.
survey() {
    candidates | while IFS= read -r candidate; do probe "$candidate" || true; done
}

# pick KIND MINOR: from the survey on standard input, the first of this kind and at least this
# minor release.
pick() {
    while read -r kind minor path; do
        if [ "$kind" = "$1" ] && [ "$minor" -ge "$2" ]; then
            printf '%s\n' "$path"
            return
        fi
    done
    return 1
}

# Interpreters that we built before, newest first.
own_builds() {
    cache=$(cache_dir 2>/dev/null) || return 0  # nowhere to look
    for python in "$cache"/cpython-*"${OPTIMIZE:+-optimized}"/bin/python3; do
        if [ -x "$python" ]; then echo "$python"; fi
    done | sort -rV | while IFS= read -r python; do probe "$python" || true; done
}

given() {
    found=$(probe "$PYTHON") ||
        die "PYTHON=$PYTHON is not a Python that can be used: it must run, be CPython 3.13 or newer, and have the modules venv, ensurepip, ssl and zlib"
    # shellcheck disable=SC2086 # three words on purpose
    set -- $found
    [ "$2" -ge 13 ] || die "PYTHON=$PYTHON is Python 3.$2; rtsync needs 3.13 or newer"
    if [ "$1" = gil ]; then without_parallelism "$PYTHON"; fi
    printf '%s\n' "$found" | cut -d ' ' -f 3-
}

without_parallelism() {
    say "NOTICE: $1 is a build with the GIL."
    say "NOTICE: everything works, but threads take turns on one core: no speed-up, and"
    say "NOTICE: benchmarks say nothing. A free-threaded Python 3.14 gives both."
}

uv_install() {
    if ! have uv; then
        say "uv is not installed: skipped"
        return 1
    fi
    say "asking uv for a free-threaded Python 3.14 (at most 5 minutes)"
    if ! UV_HTTP_TIMEOUT=15 UV_HTTP_RETRIES=1 limit 300 uv python install 3.14t >&2 </dev/null; then
        say "uv could not provide one (no network?)"
        return 1
    fi
    uv_find 3.14t | while IFS= read -r path; do probe "$path"; done | pick free 14
}

from_named_archive() {
    if [ -z "${CPYTHON_SOURCE:-}" ]; then
        say "CPYTHON_SOURCE names no source archive: skipped"
        return 1
    fi
    "$tools/build-python.sh" "$CPYTHON_SOURCE" "${CPYTHON_SOURCE_SHA256:-}"
}

from_distribution() {
    "$tools/build-python.sh" --check &&
        archive=$("$tools/fetch-source.sh") &&
        "$tools/build-python.sh" "$archive" "$(sha256 "$archive")"
}

if [ "${1:-}" = --gil ]; then
    survey | pick gil 13 || die "no Python with the GIL, 3.13 or newer, was found on PATH or in pyenv"
    exit
fi

if [ -n "${PYTHON:-}" ]; then
    given
    exit
fi

say "looking for a free-threaded Python 3.14 or newer"
there=$(survey)
mine=$(own_builds)
if printf '%s\n' "$there" | pick free 14; then exit; fi
if printf '%s\n' "$mine" | pick free 14; then exit; fi
say "none here yet"
if uv_install; then exit; fi

# A named archive that is missing or not what it should be (status 2) is the user's to settle.
status=0
from_named_archive || status=$?
[ "$status" -ne 0 ] || exit 0
[ "$status" -ne 2 ] || exit 1

if printf '%s\n' "$mine" | pick free 13; then exit; fi
# Without a compiler (status 3) a second archive cannot be built either.
if [ "$status" -ne 3 ] && from_distribution; then exit; fi

say "no free-threaded Python 3.14 could be had"
if printf '%s\n' "$there" | pick free 13; then exit; fi
if last=$(printf '%s\n' "$there" | pick gil 13); then
    without_parallelism "$last"
    printf '%s\n' "$last"
    exit
fi
die "no Python 3.13 or newer here, and none could be installed or built (reasons above).
Any one of these helps, then run the command again:
  - install a free-threaded Python 3.14 (python3.14t) so that it is on PATH, or name it: PYTHON=/path/to/python
  - install uv, and connect to a network
  - name a CPython source archive: CPYTHON_SOURCE=/path/to/Python-3.14.7.tar.xz (needs a C compiler)"
