# shellcheck shell=sh
# What the set-up scripts share: how they speak, fail, wait and check. Sourced, never run.
#
# The scripts are POSIX sh because a bare machine has nothing else: Python is what they are
# there to provide. Every message goes to standard error and starts with `rtsync:`; standard
# output carries only the answer (a path). Functions written `f() ( ... )` run in a subshell,
# which is what gives them local variables.

say() { printf 'rtsync: %s\n' "$*" >&2; }

die() {
    printf 'rtsync: error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# limit SECONDS COMMAND...: run the command, but no longer than that. Nothing here that waits
# for a network or another program runs without it. Ends non-zero when the time is up. The
# command stays in the foreground where possible, so that Ctrl-C reaches it.
limit() {
    if timeout --foreground -k 10 1 true 2>/dev/null; then
        timeout --foreground -k 10 "$@"
    elif have timeout; then
        timeout "$@"
    elif have perl; then
        perl -e 'alarm shift; exec @ARGV or exit 127' "$@"
    else
        say "skipped, for want of timeout or perl to bound it: $2"
        return 127
    fi
}

# sha256 FILE: its checksum, 64 hex digits.
sha256() {
    if have sha256sum; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        shasum -a 256 "$1" | cut -d ' ' -f 1
    fi
}

# The one place outside the checkout that we write to.
cache_dir() {
    [ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] ||
        die "HOME is not set; set it, or XDG_CACHE_HOME, to a directory that can be written"
    printf '%s\n' "${XDG_CACHE_HOME:-${HOME:-}/.cache}/rtsync"
}

# hold_lock PATH: wait until no living process holds this lock, then hold it.
#
# The lock is a symbolic link whose target is the owner's process id: making it is atomic and
# names the owner in the same step, so there is no moment at which a lock has no owner. A lock
# whose owner is gone is taken over. Two waiters may do that at once and both go on; all that
# is guarded is built aside and put in place by one rename, so the cost is work done twice.
# The holder removes it in its exit trap.
hold_lock() {
    waited=0
    until ln -s "$$" "$1" 2>/dev/null; do
        owner=$(readlink "$1" || true)
        if [ -z "$owner" ]; then
            # Gone between the two commands: try again. Not a link at all: nothing will help.
            if [ -e "$1" ] || [ ! -w "$(dirname "$1")" ]; then
                die "cannot make $1: it must not be there, and its directory must be one that can be written"
            fi
        elif ! kill -0 "$owner" 2>/dev/null; then
            rm -f "$1"
            continue
        elif [ "$waited" -eq 0 ]; then
            say "waiting for another set-up (process $owner) to finish"
        fi
        waited=$((waited + 1))
        [ "$waited" -lt "${RTSYNC_LOCK_SECONDS:-3600}" ] || die "gave up waiting for process $owner, which holds $1"
        sleep 1
    done
}

# probe COMMAND: what this Python is, as `free|gil MINOR PATH`. Fails if the command does not
# run, is not Python 3, or lacks what a virtual environment and pip need. PATH is the
# interpreter itself, behind any shim or virtual environment that the command stands for. What
# runs without saying this is no Python.
probe() (
    found=$(limit 20 "$1" -I -c '
import sys
import ensurepip, ssl, sysconfig, venv, zlib
if sys.version_info[0] != 3 or sys.implementation.name != "cpython":
    sys.exit(1)
kind = "free" if sysconfig.get_config_var("Py_GIL_DISABLED") else "gil"
print(kind, sys.version_info[1], sys._base_executable or sys.executable)
' 2>/dev/null </dev/null) || exit 1
    case $found in
        'free '[0-9]*' /'* | 'gil '[0-9]*' /'*) printf '%s\n' "$found" ;;
        *) exit 1 ;;
    esac
)
