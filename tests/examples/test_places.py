"""The examples of places."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def program(name, *options):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_echo_example_prints_what_the_reference_says():
    assert program("places_echo.py") == "Hello from place 0\nHello from place 1\n"


def test_the_example_in_the_documentation_is_the_one_in_the_folder():
    page = (ROOT / "docs" / "places.md").read_text()
    shown = page.split("```python\n# examples/places_echo.py\n")[1].split("```")[0]
    code = [line for line in shown.splitlines() if line]
    source = (ROOT / "examples" / "places_echo.py").read_text().splitlines()
    kept = [line for line in source[source.index("import rtsync as rt") :] if line and '"""' not in line]
    assert code == kept


def test_the_mandelbrot_example_draws_a_picture(tmp_path):
    out = tmp_path / "out.png"
    printed = program("places_mandelbrot.py", "--size", "40", "--places", "2", "--out", str(out))
    assert "40 rows" in printed
    data = out.read_bytes()
    assert data.startswith(b"\x89PNG")
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    pixels = zlib.decompress(data[start : start + length])
    assert len(pixels) == 40 * 41
    assert pixels[20 * 41 + 1 + 25] == 0  # inside the set
    assert pixels[1] > 200  # far outside
