"""From an interpreter to a ready environment: `tools/setup.sh`, the Makefile and `.ci/run`."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.setup.machine import ROOT, Machine, Result


def set_up(machine: Machine, *arguments: str, **env: object) -> Result:
    return machine.run("tools/setup.sh", *(arguments or (".venv", "dev")), **env)


def installs(machine: Machine) -> list[str]:
    return [line for line in machine.log() if "-m pip" in line]


# tools/setup.sh


def test_environment_is_made_and_the_checkout_installed_editable(machine: Machine) -> None:
    machine.python("python3.14t")
    result = set_up(machine)
    assert result.status == 0
    assert (machine.checkout / ".venv/bin/python").exists()
    (install,) = installs(machine)
    assert install.endswith(f"install --editable {machine.checkout}[dev]")
    assert "ready: .venv (Python 3.14.0 free)" in result.err


def test_second_time_does_and_says_nothing(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    before = machine.log()
    assert set_up(machine) == Result(0, "", "")
    assert machine.log() == before


def test_changed_project_file_installs_again_in_the_same_environment(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    with (machine.checkout / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    set_up(machine)
    assert len(installs(machine)) == 2
    assert sum("-m venv" in line for line in machine.log()) == 1


def test_other_interpreter_makes_the_environment_anew(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    (machine.checkout / ".venv/old").touch()
    set_up(machine, PYTHON=machine.python("python3.15t", minor=15))
    assert not (machine.checkout / ".venv/old").exists()
    assert "python3.15t -m venv .venv" in machine.log()


def test_environment_of_a_checkout_that_was_moved_is_made_anew(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    set_up(machine, ".venv", "dev,bench")
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))
    (machine.checkout / ".venv/old").touch()
    assert set_up(machine).status == 0
    assert not (machine.checkout / ".venv/old").exists()
    assert installs(machine)[-1].endswith(f"{machine.checkout}[dev]")
    before = machine.log()
    set_up(machine)
    assert machine.log() == before


def test_environment_without_its_interpreter_is_made_anew(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    (machine.checkout / ".venv/bin/python").unlink()
    assert set_up(machine).status == 0
    assert (machine.checkout / ".venv/bin/python").exists()


def test_extras_are_added_to_the_same_environment(machine: Machine) -> None:
    machine.python("python3.14t")
    set_up(machine)
    set_up(machine, ".venv", "dev,bench")
    assert [line.split("[")[1] for line in installs(machine)] == ["dev]", "dev,bench]"]
    assert sum("-m venv" in line for line in machine.log()) == 1
    before = machine.log()
    set_up(machine)
    set_up(machine, ".venv", "dev,bench")
    assert machine.log() == before


def test_directory_that_is_no_environment_is_left_alone(machine: Machine) -> None:
    machine.python("python3.14t")
    (machine.checkout / ".venv").mkdir()
    (machine.checkout / ".venv/precious").touch()
    result = set_up(machine)
    assert result.status == 1
    assert ".venv is there but is no virtual environment" in result.err
    assert (machine.checkout / ".venv/precious").exists()


def test_directory_that_cannot_be_written_is_a_clear_message(machine: Machine) -> None:
    machine.python("python3.14t")
    result = set_up(machine, "nowhere/.venv", "dev")
    assert result.status == 1
    assert "its directory must be one that can be written" in result.err


def test_failed_installation_is_a_clear_message_and_tried_again(machine: Machine) -> None:
    python = machine.python("python3.14t")
    working = python.read_text().removeprefix("#!/bin/sh\n")
    machine.command(
        "python3.14t",
        'case $* in *"-m pip"*) echo "no route to index" >&2; exit 1 ;; esac\n' + working,
    )
    failed = set_up(machine)
    assert failed.status == 1
    assert "no route to index" in failed.err
    assert "pip could not install what rtsync needs" in failed.err
    machine.python("python", directory=machine.checkout / ".venv/bin")
    assert set_up(machine).status == 0


def test_failed_environment_is_a_clear_message_and_leaves_nothing(machine: Machine) -> None:
    python = machine.python("python3.14t")
    working = python.read_text().removeprefix("#!/bin/sh\n")
    failing = 'case $* in *"-m venv"*) mkdir .venv; exit 1 ;; esac\n'
    machine.command("python3.14t", failing + working)
    result = set_up(machine)
    assert result.status == 1
    assert "could not make a virtual environment" in result.err
    assert not list(machine.checkout.glob(".venv*"))


def test_without_an_interpreter_nothing_is_made(machine: Machine) -> None:
    result = set_up(machine)
    assert result.status == 1
    assert "no Python 3.13 or newer here" in result.err
    assert not list(machine.checkout.glob(".venv*"))


# The Makefile


@pytest.fixture
def project(machine: Machine) -> Machine:
    """A machine with an interpreter and make, and packages in the checkout."""
    if (make := shutil.which("make")) is None:
        pytest.skip("needs make")
    (machine.bin / "make").symlink_to(make)
    machine.python("python3.14t")
    for package in ("rtsync", "scheduler"):
        (machine.checkout / package).mkdir()
        (machine.checkout / package / "__init__.py").touch()
    return machine


def make(machine: Machine, *arguments: str, **env: object) -> Result:
    return machine.run(str(machine.bin / "make"), *arguments, **env)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("demo", "python examples/index_stdlib.py"),
        ("test", "python -m pytest -n 2 --max-worker-restart=3 tests"),
        ("bench", "python -m perf"),
        ("stress", "python -m pytest -n 2 --max-worker-restart=3 tests/stress --run-stress"),
        ("lint", "mypy --strict rtsync scheduler"),
    ],
)
def test_each_target_sets_up_what_it_needs(project: Machine, target: str, command: str) -> None:
    result = make(project, target)
    assert result.status == 0, result.err
    assert len(installs(project)) == 1
    assert project.log()[-1] == command


def test_benchmark_peers_are_installed_for_the_benchmarks_only(project: Machine) -> None:
    make(project, "test")
    assert installs(project)[-1].endswith("[dev]")
    make(project, "bench")
    assert installs(project)[-1].endswith("[dev,bench]")


def test_arguments_are_passed_on(project: Machine) -> None:
    make(project, "test", "ARGS=-k channel -x")
    assert project.log()[-1] == "python -m pytest -n 2 --max-worker-restart=3 tests -k channel -x"


def test_archive_beside_the_checkout_is_offered(project: Machine) -> None:
    beside = project.checkout.parent / "shared/python"
    beside.mkdir(parents=True)
    (beside / "Python-3.14.7.tar.xz").touch()
    (project.bin / "python3.14t").unlink()
    result = make(project, "setup")
    assert result.status != 0
    assert "no checksum is known for Python-3.14.7.tar.xz" in result.err


def test_path_with_a_space_is_not_taken_for_an_archive(project: Machine) -> None:
    parent = project.checkout.parent
    parent.with_name("my").mkdir()
    project.checkout = parent.rename(parent.with_name("my projects")) / "checkout"
    (project.bin / "python3.14t").unlink()
    result = make(project, "setup")
    assert "CPYTHON_SOURCE names no source archive: skipped" in result.err


def test_given_archive_wins_over_the_one_beside(project: Machine) -> None:
    beside = project.checkout.parent / "shared/python"
    beside.mkdir(parents=True)
    (beside / "Python-3.14.7.tar.xz").touch()
    (project.bin / "python3.14t").unlink()
    for given in ({"CPYTHON_SOURCE": "/mine.tar.xz"}, {}):
        arguments = () if given else ("CPYTHON_SOURCE=/mine.tar.xz",)
        result = make(project, "setup", *arguments, **given)
        assert "the source archive /mine.tar.xz does not exist" in result.err


def test_gil_tests_run_in_an_environment_of_their_own(project: Machine) -> None:
    project.python("python3.13", "gil", 13)
    result = make(project, "test-gil", PYTHON=project.bin / "python3.14t")
    assert result.status == 0, result.err
    assert "python3.13 -m venv .venv-gil" in project.log()
    assert project.log()[-1] == "python -m pytest -n 2 --max-worker-restart=3 tests"
    assert not (project.checkout / ".venv").exists()


def test_gil_tests_say_clearly_that_there_is_no_such_build(project: Machine) -> None:
    result = make(project, "test-gil")
    assert result.status == 0
    assert "no Python with the GIL" in result.err
    assert "test-gil: skipped, nothing was tested" in result.out
    assert project.log() == []


def test_failure_of_the_set_up_stops_the_target(project: Machine) -> None:
    (project.bin / "python3.14t").unlink()
    result = make(project, "demo")
    assert result.status != 0
    assert project.log() == []


def test_targets_are_listed(project: Machine) -> None:
    listed = make(project).out
    for target in "setup demo test test-gil lint bench model stress".split():
        assert re.search(rf"^  make {target} ", listed, re.MULTILINE)


# .ci/run


@pytest.fixture
def ci(machine: Machine) -> Machine:
    shutil.copytree(ROOT / ".ci", machine.checkout / ".ci")
    machine.command("make", 'echo "make $* ${CPYTHON_SOURCE##*/}" >>"$LOG"; echo "did $1"\n')
    return machine


def test_ci_runs_the_linters_and_then_the_tests(ci: Machine) -> None:
    result = ci.run(".ci/run")
    assert (result.status, result.out.splitlines()) == (0, ["did lint", "did test"])


@pytest.mark.parametrize("failing", ["lint", "test"])
def test_ci_fails_if_either_fails_and_runs_both(ci: Machine, failing: str) -> None:
    ci.command("make", f'echo "did $1"; [ "$1" != {failing} ]\n')
    result = ci.run(".ci/run")
    assert (result.status, result.out.splitlines()) == (1, ["did lint", "did test"])


def test_ci_uses_the_archive_beside_the_checkout(ci: Machine) -> None:
    beside = ci.checkout.parent / "shared/python"
    beside.mkdir(parents=True)
    (beside / "any.tar.xz").touch()
    ci.run(".ci/run")
    assert ci.log() == ["make lint any.tar.xz", "make test any.tar.xz"]


# The files themselves


def shell_files() -> list[Path]:
    return [*sorted((ROOT / "tools").glob("*.sh")), ROOT / "tests/model/run.sh", ROOT / ".ci/run"]


def test_no_host_is_named() -> None:
    for path in [*shell_files(), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        assert not re.search(r"\w://\w", path.read_text()), path


@pytest.mark.parametrize("path", shell_files(), ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", "-x", path], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_source_distribution_leaves_nothing_out_that_the_tests_read() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "exclude" not in build.get("targets", {}).get("sdist", {})


def test_known_checksums_are_well_formed() -> None:
    lines = (ROOT / "tools/python-sources.sha256").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[0-9a-f]{64}  \S+", line)
