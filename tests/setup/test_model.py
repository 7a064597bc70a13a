"""`make model`: tests/model/run.sh, with a model checker that believes what it is told.

The `spin` of these tests finds an error in whatever is told to be BROKEN.
"""

import shutil
from pathlib import Path

import pytest

from tests.setup.machine import ROOT, Machine

SPIN = 'echo "$*" >pan.c\n'

COMPILER = """\
case $1 in
    -E) cat >/dev/null; [ ! -e "$STATE/no-headers" ] ;;
    *) cp "$STATE/pan" pan ;;
esac
"""

SEARCH = """\
case $(cat pan.c) in
    *BROKEN*) errors=1 ;;
    *ENDLESS*) echo 'error: max search depth too small'; errors=0 ;;
    *SILENT*) exit 1 ;;
    *) errors=0 ;;
esac
echo "State-vector 64 byte, depth reached 9, errors: $errors"
echo '       17 states, stored'
"""


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """Has the checkout, and nothing to check it with."""
    shutil.copytree(ROOT / "tests/model", machine.checkout / "tests/model")
    machine.command("pan", SEARCH, machine.state)
    return machine


@pytest.fixture
def able(bare: Machine) -> Machine:
    bare.command("spin", SPIN)
    bare.command("cc", COMPILER)
    return bare


def listed(machine: Machine, *variants: str) -> None:
    (machine.checkout / "tests/model/variants.sh").write_text("\n".join(["# a comment", "", *variants, ""]))


def check(machine: Machine, *arguments: str):
    return machine.run("tests/model/run.sh", *arguments)


def test_everything_in_the_list_is_checked(able: Machine) -> None:
    listed(able, "holds parking", "fails parking BROKEN", "holds quiet BUDGET=2")
    result = check(able)
    assert (result.status, len(result.out.splitlines())) == (0, 3)
    assert all(line.startswith("ok ") and "(17 states)" in line for line in result.out.splitlines())
    assert "every mutation of them is found out" in result.err


@pytest.mark.parametrize(
    ("variant", "verdict"),
    [
        ("holds parking BROKEN", "fails"),
        ("fails parking", "holds"),
        ("holds parking ENDLESS", "was not searched to the end"),
        ("holds parking SILENT", "was not checked"),
    ],
)
def test_what_is_not_as_it_must_be_is_named_and_fails_the_whole(
    able: Machine, variant: str, verdict: str
) -> None:
    listed(able, "holds monitor", variant)
    result = check(able)
    assert result.status == 1
    (bad,) = [line for line in result.out.splitlines() if line.startswith("BAD")]
    assert verdict in bad
    assert "not all is as it must be" in result.err


def test_one_can_be_checked_alone(able: Machine) -> None:
    listed(able, "holds parking BROKEN")
    assert check(able, "holds", "parking").status == 0
    assert check(able, "holds", "parking", "BROKEN").status == 1


def test_root_installs_what_is_missing(bare: Machine) -> None:
    listed(bare, "holds parking")
    bare.root(True)
    bare.command("spin.new", SPIN)
    bare.command("cc.new", COMPILER)
    bare.command(
        "apt-get",
        """\
        echo "apt-get ${*##* }" >>"$LOG"
        case $* in *' install '*) cd "${0%/*}" && mv spin.new spin && mv cc.new cc ;; esac
        """,
    )
    result = check(bare)
    assert result.status == 0
    assert bare.log() == ["apt-get update", "apt-get libc6-dev"]
    assert "installing spin and a C compiler with apt-get" in result.err


def test_a_compiler_without_the_headers_of_the_c_library_is_none(able: Machine) -> None:
    listed(able, "holds parking")
    (able.state / "no-headers").touch()
    assert "a C compiler, is missing" in check(able).err


@pytest.mark.parametrize("is_root", [False, True])
def test_where_nothing_can_be_installed_it_is_said_what_is_missing(bare: Machine, is_root: bool) -> None:
    bare.root(is_root)
    result = check(bare)
    assert (result.status, result.out) == (1, "")
    assert "apt-get install spin gcc libc6-dev" in result.err


def test_an_installation_that_fails_is_a_clear_message(bare: Machine) -> None:
    bare.root(True)
    bare.command("apt-get", "exit 100\n")
    result = check(bare)
    assert (result.status, result.out) == (1, "")
    assert "cannot be installed from here" in result.err


def test_every_model_is_in_the_list() -> None:
    folder = Path(ROOT / "tests/model")
    lines = [line.split() for line in (folder / "variants.sh").read_text().splitlines()]
    listed = {words[1] for words in lines if words and words[0] in ("holds", "fails")}
    assert listed == {path.stem for path in folder.glob("*.pml")}
