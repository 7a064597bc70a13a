"""Places of programs in every form in which Python runs one: their functions and classes are the same in both
processes, and a program without a guard does not create places for ever."""

import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

from rtsync.place import dynamic_place, place_context

from .conftest import ROOT, WORKERS
from .workers import Point

TEXT = """
    from dataclasses import dataclass
    import rtsync as rt
    from rtsync.place import dynamic_place, place, place_context

    @dataclass(frozen=True)
    class Point:
        x: int

    async def swap(channel):
        point = await channel.get()
        channel.put([isinstance(point, Point), Point(point.x + 1)])

    async def main():
        p = CREATED
        p.put(Point(1))
        print(await p.get() == [True, Point(2)], await p.wait())

    if __name__ == "__main__":
        rt.run(main)
"""


def text(created="place(swap)"):
    return textwrap.dedent(TEXT).replace("CREATED", created)


def run(folder, *args, **options):
    """Run Python with ``args``: what it wrote."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_whose_name_does_not_end_in_py(tmp_path):
    (tmp_path / "tool").write_text(text())
    assert run("/", tmp_path / "tool") == "True 0\n"


def test_a_module_of_a_package_with_relative_imports(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "other.py").write_text("value = 1\n")
    (package / "__main__.py").write_text("from .other import value\n" + text())
    assert run(tmp_path, "-m", "package") == "True 0\n"


def test_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", text())
    assert run(tmp_path, "app.zip") == "True 0\n"


def test_a_folder_with_spaces_and_other_letters(tmp_path):
    folder = tmp_path / "my földer"
    folder.mkdir()
    (folder / "__main__.py").write_text(text(), encoding="utf-8")
    assert run(tmp_path, "my földer") == "True 0\n"


@pytest.mark.parametrize("given", [["-"], ["-c"]])
def test_what_was_typed_in_cannot_be_had_by_a_place_and_is_refused_at_the_call(given, tmp_path):
    program = textwrap.dedent(TEXT.partition("async def main")[0]) + textwrap.dedent("""
        p = place_context(lambda channel: None)
        for call in lambda: place(swap), lambda: p.put(Point(1)):
            try:
                call()
            except rt.ContractError as error:
                print(error)
        rt.block_on(p.wait())
        """)
    out = run(tmp_path, *given, input=program) if given == ["-"] else run(tmp_path, *given, program)
    first, second = out.splitlines()
    assert "is not a function of a module that another process can import" in first
    assert second.startswith("put: message: __main__.Point cannot be sent between places (a class that the")


def test_a_place_of_the_programs_own_file_has_its_classes(tmp_path):
    (tmp_path / "program.py").write_text(text('dynamic_place(__file__, "swap")'))
    assert run(tmp_path, "program.py") == "True 0\n"


def test_a_function_that_is_sent_along_has_the_programs_classes(tmp_path):
    guard = 'if __name__ == "__main__":'
    program = text("created()").replace(
        guard,
        """
def created():
    point = Point(1)

    async def same(channel):
        got = await channel.get()
        channel.put([isinstance(got, Point) and got == point, Point(2)])

    return place_context(same)

"""
        + guard,
    )
    (tmp_path / "program.py").write_text(program)
    assert run(tmp_path, "program.py") == "True 0\n"


@pytest.mark.rtsync(workers=2)
async def test_a_place_of_the_file_of_a_loaded_module_has_its_classes():
    p = dynamic_place(WORKERS, "put_points")
    p.put(Point(1, 2))
    got = await p.get()
    assert type(got) is Point
    assert got == Point(2, 1)
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_module_may_be_in_a_file_of_any_name(tmp_path):
    (tmp_path / "a worker").write_text("def main(channel):\n    channel.put(__file__)\n")
    p = dynamic_place(tmp_path / "a worker", "main")
    assert await p.get() == str(tmp_path / "a worker")
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_function_of_a_module_is_that_of_its_file_whatever_else_has_its_name(tmp_path):
    import importlib.util

    for name, value in ("one", 1), ("other", 2):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twice.py").write_text(f"def main(channel):\n    channel.put({value})\n")
    spec = importlib.util.spec_from_file_location("twice", tmp_path / "other" / "twice.py")
    module = sys.modules["twice"] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(tmp_path / "one"))
    try:
        spec.loader.exec_module(module)
        p = dynamic_place("twice", "main")
    finally:
        sys.path.remove(str(tmp_path / "one"))
        del sys.modules["twice"]
    assert await p.get() == 2
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_a_function_of_a_module_that_only_its_file_leads_to_can_be_sent_along(tmp_path):
    import importlib.util

    (tmp_path / "far.py").write_text(text().partition("async def main")[0])
    spec = importlib.util.spec_from_file_location("far_away", tmp_path / "far.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        p = place_context(module.swap)
        p.put(module.Point(1))
        assert await p.get() == [True, module.Point(2)]
    finally:
        del sys.modules[spec.name]
    assert await p.wait() == 0


@pytest.mark.parametrize("created", ["place(swap)", 'dynamic_place(__file__, "swap")'])
def test_a_program_without_a_guard_does_not_create_places_for_ever(created, tmp_path):
    program = text(created).partition("if __name__")[0] + textwrap.dedent("""
        import sys
        try:
            rt.run(main)
        except rt.ContractError as error:
            print(str(error).partition(", and may not")[0].partition(": ")[2], flush=True)
        """)
    (tmp_path / "program.py").write_text(program)
    out = run(tmp_path, "program.py")
    assert out.endswith("True 0\n")
    assert "is only being loaded, to find the function of this place" in out
    assert len(out.splitlines()) == 2


@pytest.mark.rtsync(workers=2)
async def test_a_module_may_create_places_of_others_while_it_is_loaded(tmp_path):
    (tmp_path / "first.py").write_text(
        "import rtsync as rt\n"
        f"p = rt.place.dynamic_place({WORKERS!r}, 'echo')\n"
        "async def main(channel):\n"
        "    p.put(7)\n"
        "    channel.put(await p.get())\n"
    )
    p = dynamic_place(tmp_path / "first.py", "main")
    assert await p.get() == 7
    assert await p.wait() == 0


@pytest.mark.rtsync(workers=2)
async def test_what_is_no_path_in_the_path_for_imports_is_overlooked(tmp_path):
    sys.path.insert(0, tmp_path)
    try:
        p = dynamic_place(WORKERS, "returns")
    finally:
        del sys.path[0]
    assert await p.wait() == 0


def test_a_place_of_a_script_may_use_multiprocessing(tmp_path):
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing
            import rtsync as rt
            from rtsync.place import place

            def says(queue):
                queue.put("here")

            def works(channel):
                context = multiprocessing.get_context("spawn")
                queue = context.SimpleQueue()
                process = context.Process(target=says, args=(queue,))
                process.start()
                process.join()
                channel.put((process.exitcode, process.exitcode or queue.get()))

            async def main():
                print(await place(works).get())

            if __name__ == "__main__":
                rt.run(main)
            """
        )
    )
    assert run(tmp_path, "script.py") == "(0, 'here')\n"
