"""Which interpreter the set-up chooses: `tools/find-python.sh`, each branch and each failure."""

import subprocess
import time

import pytest

from tests.setup.machine import Machine, sha256

# $PYTHON


def test_given_interpreter_wins_over_all_others(machine: Machine) -> None:
    machine.python("python3.14t")
    mine = machine.python("mine", directory=machine.home)
    assert machine.find(PYTHON=mine).out == str(mine)


def test_given_name_is_looked_up_on_path(machine: Machine) -> None:
    mine = machine.python("mine", minor=15)
    assert machine.find(PYTHON="mine").out == str(mine)


def test_given_interpreter_with_the_gil_is_used_with_a_notice(machine: Machine) -> None:
    mine = machine.python("mine", "gil", 13)
    result = machine.find(PYTHON=mine)
    assert result.out == str(mine)
    assert "no speed-up" in result.err


def test_given_interpreter_that_is_too_old_is_an_error(machine: Machine) -> None:
    machine.python("python3.14t")
    result = machine.find(PYTHON=machine.python("old", "gil", 12))
    assert (result.status, result.out) == (1, "")
    assert "is Python 3.12; rtsync needs 3.13" in result.err


@pytest.mark.parametrize("script", ["exit 1\n", "echo nonsense >&2; exit 127\n", "", "echo nonsense\n"])
def test_given_interpreter_that_does_not_run_is_an_error(machine: Machine, script: str) -> None:
    machine.python("python3.14t")
    result = machine.find(PYTHON=machine.command("broken", script))
    assert (result.status, result.out) == (1, "")
    assert "is not a Python that can be used" in result.err


def test_without_a_home_what_needs_none_works(machine: Machine) -> None:
    del machine.env["HOME"], machine.env["XDG_CACHE_HOME"]
    path = machine.python("python3.14t")
    result = machine.find()
    assert (result.status, result.out) == (0, str(path))
    assert "HOME" not in result.err


def test_a_build_without_a_home_is_a_clear_message(machine: Machine) -> None:
    del machine.env["HOME"], machine.env["XDG_CACHE_HOME"]
    machine.compiler()
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar"))
    assert (result.status, result.out) == (1, "")
    assert "rtsync: error: HOME is not set; set it, or XDG_CACHE_HOME" in result.err


def test_given_interpreter_that_does_not_exist_is_an_error(machine: Machine) -> None:
    result = machine.find(PYTHON="/nowhere/python")
    assert (result.status, result.out) == (1, "")
    assert "PYTHON=/nowhere/python is not a Python that can be used" in result.err


# Already there


@pytest.mark.parametrize("name", ["python3.14t", "python3.15t", "python3.14", "python3", "python"])
def test_free_threaded_interpreter_on_path_is_used_whatever_its_name(machine: Machine, name: str) -> None:
    python = machine.python(name, minor=15 if "15" in name else 14)
    assert machine.find().out == str(python)


def test_3_14_is_preferred_to_newer_ones(machine: Machine) -> None:
    machine.python("python3.15t", minor=15)
    python = machine.python("python3.14t")
    assert machine.find().out == str(python)


def test_interpreters_with_the_gil_or_too_old_are_passed_over(machine: Machine) -> None:
    machine.python("python3.14", "gil")
    machine.python("python3.13t", "free", 13)
    python = machine.python("python3", "free", 15)
    assert machine.find().out == str(python)


def test_shim_of_a_version_that_is_not_selected_is_passed_over(machine: Machine) -> None:
    machine.command("python3.14t", "echo 'pyenv: python3.14t: command not found' >&2; exit 127\n")
    python = machine.python("python3.15t", minor=15)
    assert machine.find().out == str(python)


def test_pyenv_version_is_used_though_not_selected(machine: Machine) -> None:
    versions = machine.home / "pyenv" / "versions"
    machine.python("python3", "gil", 13, versions / "3.13.0" / "bin")
    python = machine.python("python3", directory=versions / "3.14.0t" / "bin")
    machine.command("pyenv", f'[ "$1" = root ] && echo "{machine.home}/pyenv"\n')
    assert machine.find().out == str(python)


def test_interpreter_that_uv_has_is_used_without_the_network(machine: Machine) -> None:
    python = machine.python("python3.14t", directory=machine.home / "uv")
    machine.command(
        "uv",
        f"""\
        echo "uv $* $UV_OFFLINE $UV_PYTHON_DOWNLOADS" >>"$LOG"
        [ "$2" = find ] && [ "${{5}}" = 3.14t ] && echo {python}
        """,
    )
    assert machine.find().out == str(python)
    assert "uv python find --no-project --system 3.14t 1 never" in machine.log()
    assert not any("install" in line for line in machine.log())


def test_path_with_spaces(machine: Machine) -> None:
    python = machine.python("python3", directory=machine.home / "my own python")
    assert machine.find(PATH=f"{python.parent}:{machine.bin}").out == str(python)


# Our own earlier build


def test_own_build_is_used_before_anything_is_fetched(machine: Machine) -> None:
    python = machine.python("python3", directory=machine.cache / "cpython-3.14.7-t" / "bin")
    machine.command("uv", 'echo "uv $*" >>"$LOG"; exit 1\n')
    assert machine.find().out == str(python)
    assert not any("install" in line for line in machine.log())


def test_newest_own_build_is_used(machine: Machine) -> None:
    machine.python("python3", directory=machine.cache / "cpython-3.14.7-t" / "bin")
    python = machine.python("python3", directory=machine.cache / "cpython-3.14.10-t" / "bin")
    assert machine.find().out == str(python)


def test_half_removed_own_build_is_passed_over(machine: Machine) -> None:
    (machine.cache / "cpython-3.14.7-t" / "bin").mkdir(parents=True)
    result = machine.find()
    assert result.status == 1


def test_own_build_of_3_13_does_not_stand_in_the_way_of_a_3_14(machine: Machine) -> None:
    python = machine.python("python3", minor=13, directory=machine.cache / "cpython-3.13.5-t/bin")
    assert machine.find().out == str(python)
    machine.compiler()
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert result.out == str(machine.cache / "cpython-3.14.7-t/bin/python3")


# uv python install


def uv_that_installs(machine: Machine, outcome: str) -> None:
    python = machine.python("python3.14t", directory=machine.state / "from-uv")
    machine.command(
        "uv",
        f"""\
        echo "uv $*" >>"$LOG"
        case "$2" in
            install) {outcome} ;;
            find) [ -e "$STATE/uv-installed" ] && echo {python} ;;
        esac
        """,
    )


def test_uv_installs_where_it_can(machine: Machine) -> None:
    uv_that_installs(machine, 'touch "$STATE/uv-installed"')
    result = machine.find()
    assert result.out == str(machine.state / "from-uv" / "python3.14t")
    assert "asking uv for a free-threaded Python 3.14" in result.err


def test_without_a_network_uv_fails_and_the_next_way_is_tried(machine: Machine) -> None:
    uv_that_installs(machine, "echo 'error: failed to download' >&2; exit 2")
    machine.compiler()
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert result.out == str(machine.cache / "cpython-3.14.7-t/bin/python3")
    assert "error: failed to download" in result.err
    assert "uv could not provide one (no network?)" in result.err


def test_uv_is_not_asked_to_install_what_is_there(machine: Machine) -> None:
    uv_that_installs(machine, 'touch "$STATE/uv-installed"')
    machine.python("python3.14t")
    machine.find()
    assert not any("install" in line for line in machine.log())


# A source archive named by the user


def test_named_archive_is_built_free_threaded_outside_the_checkout(machine: Machine) -> None:
    machine.compiler()
    result = machine.find(CPYTHON_SOURCE=machine.archive("any name.tar.xz"))
    prefix = machine.cache / "cpython-3.14.7-t"
    assert result.out == str(prefix / "bin/python3")
    assert (prefix / "bin/python3").exists()
    assert machine.log()[0].startswith(f"configure --disable-gil --prefix={prefix} ")
    assert "building free-threaded Python 3.14.7" in result.err


def test_build_happens_once_per_machine(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz")
    first = machine.find(CPYTHON_SOURCE=archive)
    before = machine.log()
    assert machine.find(CPYTHON_SOURCE=archive).out == first.out
    assert machine.log() == before


def test_an_optimized_build_is_made_beside_the_plain_one_and_used_where_asked_for(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz")
    plain = machine.find(CPYTHON_SOURCE=archive)
    result = machine.find(CPYTHON_SOURCE=archive, OPTIMIZE="1")
    prefix = machine.cache / "cpython-3.14.7-t-optimized"
    assert result.out == str(prefix / "bin/python3") != plain.out
    configured = [line for line in machine.log() if line.startswith("configure")]
    assert "--enable-optimizations" not in configured[0]
    assert f"--prefix={prefix} " in configured[1]
    assert configured[1].endswith("--enable-optimizations --with-lto")
    before = machine.log()
    assert machine.find(CPYTHON_SOURCE=archive, OPTIMIZE="1").out == result.out
    assert machine.find(CPYTHON_SOURCE=archive).out == plain.out
    assert machine.log() == before


def test_two_set_ups_at_once_build_once(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz", configure="sleep 0.5")
    command = [str(machine.checkout / "tools/build-python.sh"), str(archive)]
    both = [subprocess.Popen(command, env=machine.env, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=30) for process in both]
    assert {out.strip() for out, _ in ends} == {str(machine.cache / "cpython-3.14.7-t/bin/python3")}
    assert sum("configure" in line for line in machine.log()) == 1
    assert any("waiting for another set-up" in err for _, err in ends)


def test_lock_of_a_set_up_that_was_killed_is_taken_over(machine: Machine) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    machine.cache.mkdir(parents=True)
    (machine.cache / "build-python.lock").symlink_to(str(gone.pid))
    machine.compiler()
    assert machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz")).status == 0


def test_waiting_for_another_set_up_has_an_end(machine: Machine) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        machine.cache.mkdir(parents=True)
        (machine.cache / "build-python.lock").symlink_to(str(other.pid))
        machine.compiler()
        archive = machine.archive("Python-3.14.7.tar.xz")
        result = machine.find(CPYTHON_SOURCE=archive, RTSYNC_LOCK_SECONDS=2)
    finally:
        other.kill()
        other.wait()
    assert result.status == 1
    assert f"gave up waiting for process {other.pid}" in result.err


def test_named_archive_that_is_missing_is_an_error(machine: Machine) -> None:
    machine.python("python3", "gil", 13)
    machine.distribution()
    result = machine.find(CPYTHON_SOURCE="/nowhere/Python-3.14.7.tar.xz")
    assert (result.status, result.out) == (1, "")
    assert "the source archive /nowhere/Python-3.14.7.tar.xz does not exist" in result.err


def test_known_archive_with_the_wrong_checksum_is_an_error(machine: Machine) -> None:
    machine.compiler()
    machine.python("python3", "gil", 13)
    archive = machine.archive("python3.14_3.14.7.orig.tar.xz")
    result = machine.find(CPYTHON_SOURCE=archive)
    assert (result.status, result.out) == (1, "")
    assert f"{archive} is damaged or not what it says" in result.err
    assert sha256(archive) in result.err
    assert machine.log() == []


def test_checksum_can_be_given(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz")
    wrong = machine.find(CPYTHON_SOURCE=archive, CPYTHON_SOURCE_SHA256="0" * 64)
    assert wrong.status == 1
    assert "its sha256 is" in wrong.err
    right = machine.find(CPYTHON_SOURCE=archive, CPYTHON_SOURCE_SHA256=sha256(archive))
    assert right.status == 0


def test_archive_without_a_known_checksum_is_taken_and_said_so(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz")
    result = machine.find(CPYTHON_SOURCE=archive)
    assert f"no checksum is known for {archive.name}" in result.err
    assert sha256(archive) in result.err


def test_archive_of_something_else_is_an_error(machine: Machine) -> None:
    machine.compiler()
    archive = machine.state / "other.tar.xz"
    subprocess.run(["tar", "-cf", archive, "-C", machine.checkout, "tools"], check=True)
    result = machine.find(CPYTHON_SOURCE=archive)
    assert result.status == 1
    assert "is not a CPython source archive" in result.err


def test_failed_build_shows_the_end_of_its_log_and_leaves_nothing(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.14.7.tar.xz", configure="echo no luck today; exit 1")
    result = machine.find(CPYTHON_SOURCE=archive)
    assert (result.status, result.out) == (1, "")
    assert "no luck today" in result.err
    assert [path.name for path in machine.cache.iterdir()] == ["build-python.log"]


def test_after_a_failed_build_the_next_way_is_tried(machine: Machine) -> None:
    machine.compiler()
    machine.python("python3", "gil", 13)
    archive = machine.archive("Python-3.14.7.tar.xz", configure="exit 1")
    result = machine.find(CPYTHON_SOURCE=archive)
    assert result.out == str(machine.bin / "python3")
    assert "no apt-get here" in result.err


def test_build_that_is_not_free_threaded_is_not_kept(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("Python-3.12.7.tar.xz", minor=12, kind="gil")
    result = machine.find(CPYTHON_SOURCE=archive)
    assert result.status == 1
    assert "does not build a free-threaded Python" in result.err
    assert not list(machine.cache.glob("cpython-*"))


def test_cache_that_cannot_be_made_is_an_error(machine: Machine) -> None:
    machine.compiler()
    (machine.home / "file").touch()
    archive = machine.archive("Python-3.14.7.tar.xz")
    result = machine.find(CPYTHON_SOURCE=archive, XDG_CACHE_HOME=machine.home / "file")
    assert result.status == 1
    assert "set XDG_CACHE_HOME" in result.err


# Build packages


def test_without_a_compiler_and_without_root_the_packages_are_named(machine: Machine) -> None:
    machine.distribution()
    machine.python("python3", "gil", 13)
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert "cannot build Python here, for want of: gcc" in result.err
    assert "apt-get install gcc make" in result.err
    assert result.out == str(machine.bin / "python3"), "the last resort is left"
    assert machine.log() == []


def test_root_installs_the_packages_that_are_missing_and_no_others(machine: Machine) -> None:
    machine.root(True)
    machine.compiler()
    machine.headers("stdio.h", "zlib.h", "ffi.h", "sqlite3.h", "bzlib.h", "lzma.h", "zstd.h")
    machine.distribution()
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert "apt-get install libssl-dev libreadline-dev uuid-dev" in machine.log()
    assert "installing the build packages: libssl-dev" in result.err


def test_failed_installation_of_packages_is_a_clear_message(machine: Machine) -> None:
    machine.root(True)
    machine.distribution(installs=False)
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert result.status == 1
    assert "E: Unable to fetch" in result.err
    assert "cannot build Python here, for want of: gcc" in result.err


def test_packages_of_optional_modules_are_not_needed(machine: Machine) -> None:
    machine.compiler()
    machine.headers("stdio.h", "zlib.h", "ffi.h", "openssl/ssl.h")
    assert machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz")).status == 0


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    machine.root(True)
    result = machine.find(CPYTHON_SOURCE=machine.archive("Python-3.14.7.tar.xz"))
    assert result.status == 1
    assert "cannot build Python here, for want of: gcc make xz-utils" in result.err


# The distribution's source package


def test_source_package_of_the_index_is_fetched_checked_and_built(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("python3.14_3.14.9.orig.tar.xz")
    machine.distribution({archive.name: archive}, {archive.name: sha256(archive)})
    result = machine.find()
    assert result.out == str(machine.cache / "cpython-3.14.7-t/bin/python3")
    assert "download mirror:/debian/pool/main/p/python3.14/" + archive.name in machine.log()
    assert "3.14.9.orig.tar.xz: checksum is right" in result.err


def test_release_that_is_gone_from_the_pool_is_passed_over(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("python3.14_3.14.9.orig.tar.xz")
    machine.distribution(
        {archive.name: archive},
        {archive.name: sha256(archive), "python3.14_3.14.10.orig.tar.xz": "1" * 64},
    )
    result = machine.find()
    assert result.status == 0
    assert "3.14.10.orig.tar.xz: not to be had (E: 404  Not Found)" in result.err


def tried(machine: Machine) -> list[str]:
    return [line.split("/")[-1] for line in machine.log() if line.startswith("download")]


def test_order_of_trial(machine: Machine) -> None:
    machine.compiler()
    names = ["3.13_3.13.9", "3.13_3.13.18", "3.14_3.14.9", "3.14_3.14.10", "3.15_3.15.1"]
    machine.distribution(index={f"python{name}.orig.tar.xz": "1" * 64 for name in names})
    result = machine.find()
    assert result.status == 1
    assert "no source package of Python could be downloaded" in result.err
    assert tried(machine) == [
        "python3.14_3.14.10.orig.tar.xz",
        "python3.14_3.14.9.orig.tar.xz",
        "python3.14_3.14.7.orig.tar.xz",
        "python3.15_3.15.1.orig.tar.xz",
        "python3.13_3.13.18.orig.tar.xz",
        "python3.13_3.13.9.orig.tar.xz",
        "python3.13_3.13.5.orig.tar.xz",
    ]


def test_download_with_the_wrong_checksum_is_thrown_away(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("python3.13_3.13.18.orig.tar.xz", minor=13)
    machine.distribution(
        {archive.name: archive, "python3.14_3.14.9.orig.tar.xz": archive},
        {archive.name: sha256(archive), "python3.14_3.14.9.orig.tar.xz": "1" * 64},
    )
    result = machine.find()
    assert "3.14.9.orig.tar.xz: wrong checksum, thrown away" in result.err
    assert result.out == str(machine.cache / "cpython-3.13.7-t/bin/python3")
    kept = {path.name for path in (machine.cache / "source").iterdir()}
    assert kept == {archive.name}


def test_pinned_release_is_checked_too(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("python3.14_3.14.7.orig.tar.xz")
    machine.distribution({archive.name: archive})
    result = machine.find()
    assert result.status == 1
    assert "3.14.7.orig.tar.xz: wrong checksum, thrown away" in result.err


def test_archive_is_kept_for_the_next_try(machine: Machine) -> None:
    machine.compiler()
    archive = machine.archive("python3.14_3.14.9.orig.tar.xz", configure="exit 1")
    machine.distribution({archive.name: archive}, {archive.name: sha256(archive)})
    assert machine.find().status == 1
    result = machine.find()
    assert "3.14.9.orig.tar.xz: kept from an earlier run" in result.err
    assert tried(machine) == [archive.name]


def test_nothing_is_downloaded_for_a_machine_that_cannot_build(machine: Machine) -> None:
    machine.distribution()
    result = machine.find()
    assert result.status == 1
    assert "cannot build Python here" in result.err
    assert tried(machine) == []


def test_without_a_network_the_distribution_is_given_up(machine: Machine) -> None:
    machine.compiler()
    machine.command("apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100\n")
    machine.command("apt-cache", "exit 100\n")
    machine.command("apt-helper", "exit 100\n")
    result = machine.find()
    assert (result.status, result.out) == (1, "")
    assert "apt knows of no Debian or Ubuntu archive" in result.err


def test_unreadable_indexes_are_reported_and_known_releases_still_tried(machine: Machine) -> None:
    machine.compiler()
    machine.distribution()
    script = (machine.bin / "apt-get").read_text().removeprefix("#!/bin/sh\n")
    failing = "case $* in *update*) echo 'E: Temporary failure resolving'; exit 100 ;; esac\n"
    machine.command("apt-get", failing + script)
    result = machine.find()
    assert "indexes could not be read (E: Temporary failure resolving)" in result.err
    assert "python3.14_3.14.7.orig.tar.xz" in tried(machine)


# The last resorts


def test_free_threaded_3_13_is_better_than_a_gil(machine: Machine) -> None:
    machine.python("python3.14", "gil")
    python = machine.python("python3.13t", minor=13)
    result = machine.find()
    assert result.out == str(python)
    assert "NOTICE" not in result.err


def test_last_resort_is_a_gil_build_with_a_notice(machine: Machine) -> None:
    python = machine.python("python3", "gil", 13)
    result = machine.find()
    assert (result.status, result.out) == (0, str(python))
    assert "NOTICE: everything works, but threads take turns on one core" in result.err


def test_with_nothing_at_all_the_ways_out_are_named(machine: Machine) -> None:
    machine.python("python3", "gil", 11)
    result = machine.find()
    assert (result.status, result.out) == (1, "")
    for way in ("PYTHON=", "install uv", "CPYTHON_SOURCE="):
        assert way in result.err


# A build with the GIL, for `make test-gil`


def test_gil_build_is_found_beside_a_free_threaded_one(machine: Machine) -> None:
    machine.python("python3.14t")
    python = machine.python("python3.13", "gil", 13)
    assert machine.find("--gil").out == str(python)


def test_without_a_gil_build_it_says_so(machine: Machine) -> None:
    machine.python("python3.14t")
    machine.python("python3", "gil", 12)
    result = machine.find("--gil")
    assert result.status == 1
    assert "no Python with the GIL, 3.13 or newer" in result.err


# Time limits


def test_command_that_hangs_is_ended(machine: Machine) -> None:
    script = machine.command("try", ". $1/tools/common.sh; limit 1 sleep 40 || echo ended\n")
    start = time.monotonic()
    result = machine.run(str(script), str(machine.checkout))
    assert result.out == "ended"
    assert time.monotonic() - start < 20
