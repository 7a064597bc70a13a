#!/bin/sh
# Checks the models of this folder with the model checker Spin, every state of each: first that the protocols
# hold, then that each mutation of them (a fence, a second look or a lock left out) is found to be wrong. So
# the models are known to be able to fail. What is checked is listed in variants.sh.
#
# Installs Spin by the machine's package manager if it is missing and that is possible. Takes a few
# minutes on two cores and less than 2 GiB. `make model` calls this.
#
#   run.sh                        all
#   run.sh holds|fails MODEL [NAME[=VALUE]]...     one, and where it fails the steps that lead there
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/common.sh
. "$here/../../tools/common.sh"

memory=900 # MiB for one search, of which two run at once
depth=10000

# compiles: is there a C compiler, with the headers of the C library?
compiles() { printf '#include <stdio.h>\n' | cc -E - >/dev/null 2>&1; }

# install_spin: get spin and a C compiler by the machine's package manager.
install_spin() {
    root=
    if [ "$(id -u)" != 0 ]; then
        if have brew; then
            say 'installing spin with brew'
            limit 900 brew install spin >&2 </dev/null
            return
        fi
        have sudo && sudo -n true 2>/dev/null || return 1
        root='sudo -n'
    fi
    for install in 'apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install spin gcc libc6-dev' \
        'dnf -q -y install spin gcc glibc-devel' 'pacman -S --noconfirm spin gcc' \
        'zypper -n install spin gcc glibc-devel' 'apk add spin gcc musl-dev'; do
        manager=${install%% *}
        have "$manager" || continue
        say "installing spin and a C compiler with $manager"
        # shellcheck disable=SC2086 # words
        if [ "$manager" = apt-get ]; then limit 300 $root apt-get -qq update >&2 </dev/null || true; fi
        # shellcheck disable=SC2086 # words
        limit 900 $root env DEBIAN_FRONTEND=noninteractive $install >&2 </dev/null
        return
    done
    return 1
}

# search FOLDER holds|fails MODEL [NAME[=VALUE]]...: all states of a variant; its logs in FOLDER.
search() (
    cd "$1"
    optimise=-O2 order=
    if [ "$2" = fails ]; then
        optimise=-O0 # to compile takes longer than to find the error
        order=-DREVERSE # finds most of the errors sooner
    fi
    model=$3
    shift 3
    defines=
    for name; do defines="$defines -D$name"; done
    # shellcheck disable=SC2086 # words
    spin -a $defines "$here/$model.pml" >spin.log 2>&1
    # shellcheck disable=SC2086 # or nothing
    cc $optimise $order -DSAFETY -DCOLLAPSE -DMEMLIM="$memory" -o pan pan.c >cc.log 2>&1
    limit 600 ./pan -m"$depth" -w22 >pan.log 2>&1 </dev/null || true
)

# verdict FOLDER: holds, fails, or what went wrong.
verdict() {
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$1/pan.log" 2>/dev/null | tail -n 1)
    if [ -z "$errors" ]; then
        echo 'was not checked'
    elif [ "$errors" != 0 ]; then
        if grep -q 'max search depth too small' "$1/pan.log"; then echo 'went too deep'; else echo fails; fi
    elif grep -Eq 'max search depth too small|out of memory|reached -DMEMLIM|Search not completed' "$1/pan.log"; then
        echo 'was not searched to the end'
    else
        echo holds
    fi
}

# check FOLDER holds|fails MODEL [NAME[=VALUE]]...: one line of the list below.
check() {
    folder=$1 expected=$2 model=$3
    shift 3
    mkdir -p "$folder"
    search "$folder" "$expected" "$model" "$@" || true
    result=$(verdict "$folder")
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$folder/pan.log" 2>/dev/null | tail -n 1)
    if [ "$result" = "$expected" ]; then mark=ok; else mark=BAD; fi
    printf '%-4s %-8s %-60s %s (%s states)\n' "$mark" "$model" "$*" "$result" "${states:-no}"
    [ "$mark" = ok ] && return
    tail -n 5 "$folder"/*.log >&2 || true
    touch "$work/failed"
}

# Those of variants.sh whose number is N modulo 2, one after the other.
half() {
    number=0
    while read -r expected model names; do
        case $expected in holds | fails) ;; *) continue ;; esac
        number=$((number + 1))
        [ $((number % 2)) -eq "$1" ] || continue
        # shellcheck disable=SC2086 # words
        check "$work/$number" "$expected" "$model" $names
    done <"$here/variants.sh"
}

ready() { have spin && compiles; }
if ! ready; then
    install_spin || true
    ready || die 'the model checker spin, or a C compiler, is missing and cannot be installed from here.
Install both (on Debian: apt-get install spin gcc libc6-dev) and run the command again.'
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

if [ $# -gt 0 ]; then
    check "$work/one" "$@"
    cd "$work/one"
    model=$2
    shift 2
    defines=
    for name; do defines="$defines -D$name"; done
    # shellcheck disable=SC2086 # words
    if [ -f "$model.pml.trail" ]; then
        cp "$here/$model.pml" .
        spin -t -p $defines "$model.pml" | grep -E 'proc|assert' | tail -n 100
    fi
else
    half 1 &
    half 0
    wait
fi
[ ! -e "$work/failed" ] || die 'model: not all is as it must be'
say 'model: the protocols hold, and every mutation of them is found out'
