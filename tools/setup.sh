#!/bin/sh
# Makes a virtual environment with rtsync installed in it, ready to use, or finds that it is.
#
#   tools/setup.sh VENV EXTRA[,EXTRA...]          on the interpreter that find-python.sh chooses
#   tools/setup.sh --gil VENV EXTRA[,EXTRA...]    the same on a build with the GIL
#
# The checkout is installed editable, with the named extras of pyproject.toml. A stamp inside
# the environment holds what it was made from, so that the second time takes milliseconds; when
# any of that changes (pyproject.toml, $PYTHON, $CPYTHON_SOURCE, $OPTIMIZE), what is needed is done again. The
# environment is made anew only when the interpreter changed, or the checkout was moved or copied: the
# commands in it name the place where it was made.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/common.sh
. "$tools/common.sh"

choose=
if [ "${1:-}" = --gil ]; then
    choose=--gil
    shift
fi
[ $# -eq 2 ] || die "usage: setup.sh [--gil] VENV EXTRA[,EXTRA...]"
venv=$1
extras=$2
root=$(dirname "$tools")

made_from() {
    echo "python ${PYTHON:-} source ${CPYTHON_SOURCE:-} optimize ${OPTIMIZE:-} checkout $root"
    cksum <"$root/pyproject.toml"
}

stamp=$venv/.rtsync-$extras
ready() { [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(made_from)" ]; }
if ready; then exit; fi

lock=$venv.lock
hold_lock "$lock"
trap 'rm -f "$lock"' EXIT
trap 'exit 130' INT TERM HUP
if ready; then exit; fi

python=$("$tools/find-python.sh" $choose)
[ -n "$python" ] || die "find-python.sh named no interpreter"

# moved: whether what is installed there, if anything, was installed from another checkout.
moved() {
    for other in "$venv"/.rtsync-*; do
        case $(head -n 1 "$other" 2>/dev/null) in
            *" checkout $root") return 1 ;;
            *" checkout "*) elsewhere=$other ;;
        esac
    done
    [ -n "${elsewhere:-}" ]
}

if ! [ -x "$venv/bin/python" ] || [ "$(cat "$venv/.rtsync-base" 2>/dev/null)" != "$python" ] || moved; then
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
        die "$venv is there but is no virtual environment; move it away"
    fi
    say "making $venv on $python"
    rm -rf "$venv"
    limit 120 "$python" -m venv "$venv" >&2 </dev/null || {
        rm -rf "$venv"
        die "$python could not make a virtual environment (reason above)"
    }
    echo "$python" >"$venv/.rtsync-base"
fi

say "installing rtsync with its packages for: $extras"
limit 1200 "$venv/bin/python" -m pip --disable-pip-version-check --no-input -qq \
    install --editable "${root}[$extras]" >&2 </dev/null || die "pip could not install what rtsync needs (reason above).
Without a network, point pip at a directory of wheels (PIP_FIND_LINKS, PIP_NO_INDEX=1) and run the command again."
made_from >"$stamp"
say "ready: $venv ($("$venv/bin/python" -VV | head -n 1))"
