#!/bin/sh
# Builds a free-threaded CPython from a source archive, once per machine, and prints its path.
#
#   tools/build-python.sh ARCHIVE [SHA256]
#   tools/build-python.sh --check         only see to the build packages
#
# The build is `configure --disable-gil`, without profile-guided optimization: three minutes on
# two cores instead of half an hour. With OPTIMIZE=1 it has that, and is some 10 % faster, as
# ready-made interpreters are. It goes to the cache directory, outside the checkout, and is
# installed aside and renamed into place when it is complete, so that what is there is whole.
#
# The archive is checked against SHA256 if given, else against tools/python-sources.sha256 if
# its name is there. An archive that nothing is known of is taken at the user's word.
#
# Ends with 2 for a bad archive, 3 for a machine that cannot compile, 1 for a failed build.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/common.sh
. "$tools/common.sh"

[ $# -ge 1 ] || die "usage: build-python.sh ARCHIVE [SHA256]"
archive=$1
want=${2:-}

check_archive() {
    if [ ! -f "$archive" ]; then
        say "error: the source archive $archive does not exist"
        exit 2
    fi
    name=${archive##*/}
    [ -n "$want" ] || want=$(awk -v name="$name" '$2 == name { print $1 }' "$tools/python-sources.sha256")
    got=$(sha256 "$archive")
    if [ -z "$want" ]; then
        say "no checksum is known for $name, taking it as it is (sha256 $got)"
    elif [ "$got" != "$want" ]; then
        say "error: $archive is damaged or not what it says: its sha256 is
  $got, but should be
  $want"
        exit 2
    fi
}

# What the build needs: a probe and the Debian package that provides it. A probe is a command,
# or a header that the compiler must find. Those marked `?` only add standard modules that
# rtsync does without: their absence stops nothing.
needs='
cc                  gcc
make                make
xz                  xz-utils
stdio.h             libc6-dev
zlib.h              zlib1g-dev
openssl/ssl.h       libssl-dev
ffi.h               libffi-dev
sqlite3.h?          libsqlite3-dev
bzlib.h?            libbz2-dev
lzma.h?             liblzma-dev
readline/readline.h? libreadline-dev
uuid/uuid.h?        uuid-dev
zstd.h?             libzstd-dev
'

# missing: the packages that are not there, those for optional modules with `?`.
missing() {
    printf '%s' "$needs" | while read -r probe package; do
        case $probe in
            '') continue ;;
            *\?) mark='?' ;;
            *) mark= ;;
        esac
        case $probe in
            *.h*) printf '#include <stdio.h>\n#include <%s>\n' "${probe%\?}" | cc -E - >/dev/null 2>&1 ;;
            *) have "$probe" ;;
        esac || printf '%s%s\n' "$package" "$mark"
    done
}

# Install what is missing, if we may; stop if something needed stays missing.
build_packages() {
    absent=$(missing)
    packages=$(printf '%s' "$absent" | tr -d '?' | tr '\n' ' ')
    if [ -n "$packages" ] && have apt-get && [ "$(id -u)" -eq 0 ]; then
        say "installing the build packages: $packages"
        export DEBIAN_FRONTEND=noninteractive
        limit 300 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=30 update >&2 </dev/null ||
            say "apt-get update failed (no network?)"
        # One by one if not together: an optional package may not exist in this release.
        # shellcheck disable=SC2086 # a list of words on purpose
        apt_install $packages || for package in $packages; do apt_install "$package" || true; done
        absent=$(missing)
    fi
    needed=$(printf '%s' "$absent" | grep -v '?' | tr '\n' ' ' || true)
    if [ -n "$needed" ]; then
        say "error: cannot build Python here, for want of: $needed"
        say "(names of Debian packages; as root: apt-get install $needed)"
        exit 3
    fi
}

apt_install() {
    limit 900 apt-get -qq -y --no-install-recommends -o Acquire::Retries=1 -o Acquire::http::Timeout=30 \
        -o Dpkg::Use-Pty=0 install "$@" >/dev/null </dev/null
}

# run_logged COMMAND...: with its output in $work/log, the end of which is shown on failure.
run_logged() {
    if ! limit 7200 "$@" >>"$work/log" 2>&1 </dev/null; then
        say "error: failed: $*"
        tail -n 20 "$work/log" | sed 's/^/    /' >&2
        cp "$work/log" "$cache/build-python.log"
        say "(the whole log: $cache/build-python.log)"
        exit 1
    fi
}

# Take from the archive's own header which release it is: the name of the file may be any.
release() {
    awk '$1 == "#define" && $2 ~ /^PY_(MAJOR|MINOR|MICRO)_VERSION$/ { v[++n] = $3 }
         END { if (n == 3) print v[1] "." v[2] "." v[3] }' "$work/src/Include/patchlevel.h"
}

cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

if [ "$archive" = --check ]; then
    build_packages
    exit
fi
check_archive
build_packages

cache=$(cache_dir)
mkdir -p "$cache" || die "cannot write to $cache; set XDG_CACHE_HOME to a directory that can be written"
lock=$cache/build-python.lock
work=
hold_lock "$lock"
trap 'rm -rf "$work" "$lock"' EXIT
trap 'exit 130' INT TERM HUP
work=$(mktemp -d "$cache/build.XXXXXX")

mkdir "$work/src"
run_logged tar -xf "$archive" -C "$work/src" --strip-components 1
[ -f "$work/src/Include/patchlevel.h" ] || { say "error: $archive is not a CPython source archive"; exit 2; }
version=$(release)
prefix=$cache/cpython-$version-t
options=
duration='3 minutes'
if [ -n "${OPTIMIZE:-}" ]; then
    prefix=$prefix-optimized
    options='--enable-optimizations --with-lto'
    duration='half an hour'
fi
if [ -x "$prefix/bin/python3" ]; then
    # Another set-up built it while we waited for the lock.
    echo "$prefix/bin/python3"
    exit
fi

say "building free-threaded Python $version from ${archive##*/}: about $duration on 2 cores, once per machine"
cd "$work/src"
say "  configure"
# shellcheck disable=SC2086 # a list of words on purpose
run_logged ./configure --disable-gil --prefix="$prefix" --without-ensurepip \
    --without-static-libpython $options
say "  compile"
run_logged make -j"$(cores)"
say "  install"
run_logged make install DESTDIR="$work/root"
built=$work/root$prefix
found=$(probe "$built/bin/python3") || {
    say "error: the Python just built does not run, or lacks venv, ssl or zlib"
    exit 1
}
case $found in
    free*) ;;
    *) say "error: $archive does not build a free-threaded Python (needs 3.13 or newer)"; exit 1 ;;
esac
# A directory without bin/python3 can only be a leftover of something else; make way.
rm -rf "$prefix"
mv "$built" "$prefix"
say "built $prefix"
echo "$prefix/bin/python3"
