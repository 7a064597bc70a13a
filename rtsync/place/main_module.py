"""The program's main module in a place.

In the process that the user started the main module is ``__main__``. In a place it is not: that runs our
code. When a message or a start function mentions it there, it is loaded a second time under the name
``__mp_main__``, as `multiprocessing` does (so that ``if __name__ == "__main__":`` is false in it), and is
``__main__`` too from then on. That works for a script, whatever its file is called, for ``-m`` and for an
archive; not for what was typed in, for ``-c`` and for standard input, which a place cannot have."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from threading import RLock
from types import ModuleType
from typing import Any, Final

MAIN_NAMES: Final = ("__main__", "__mp_main__")

_lock = RLock()
_creators: list[tuple[str, str | None] | None] = []
"""In a place, as its one item: what `main_origin` gave in its creator."""
_loading: list[str] = []
"""In a place: the files (for those without, the names) of the modules that are being loaded to find its
function."""


@contextmanager
def loading(module: str) -> Iterator[None]:
    """While ``module`` is loaded to find the function of this place."""
    _loading.append(module)
    try:
        yield
    finally:
        _loading.remove(module)


def is_loading(module: str) -> bool:
    """Whether ``module`` is loaded just now to find the function of this place. A place of it that is created
    meanwhile would load it too, and create the next, without end."""
    return module in _loading


def main_origin() -> tuple[str, str | None] | None:
    """The file of the program's main module, and its full name if it was found by that (``-m``), or ``None``
    if another process cannot load it."""
    if _creators:
        return _creators[0]
    module: Any = sys.modules.get("__main__")
    file = getattr(module, "__file__", None)
    spec = getattr(module, "__spec__", None)
    name = None if spec is None else spec.name
    if not isinstance(file, str) or _spec(file, name) is None:
        return None
    return file, name


def set_main_origin(origin: tuple[str, str | None] | None) -> None:
    """In a new place: what `main_origin` gave in its creator."""
    _creators[:] = [origin]


def main_module() -> ModuleType:
    """The program's main module; in a place it is loaded now if it has not been. Raises what loading
    raises."""
    if not _creators:
        return sys.modules["__main__"]
    with _lock:
        module = sys.modules.get("__mp_main__")
        if module is not None:
            return module
        spec = None if _creators[0] is None else _spec(*_creators[0])
        if spec is None:
            raise ImportError("the main module of the program has no file, so a place cannot import it")
        loader: Any = spec.loader
        module = module_from_spec(spec)
        module.__name__ = "__mp_main__"
        if _creators[0][1] is None:  # type: ignore[index]
            module.__spec__ = None  # as in the script itself: `multiprocessing` looks there for a name
        old = sys.modules["__main__"]
        sys.modules["__mp_main__"] = sys.modules["__main__"] = module
        try:
            with loading(_creators[0][0]):  # type: ignore[index]
                # Not exec_module: that knows the module by the name of its spec only.
                exec(loader.get_code(spec.name), module.__dict__)
        except BaseException:
            del sys.modules["__mp_main__"]
            sys.modules["__main__"] = old
            raise
        return module


def _spec(file: str, name: str | None) -> ModuleSpec | None:
    """How to load the main module from ``file``, which may be in an archive; ``None`` if there is no such
    file."""
    if os.path.isfile(file):
        name = name or "__mp_main__"
        found = spec_from_file_location(name, file)  # by its suffix: it may be compiled
        return found or spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
    folder = os.path.dirname(file)
    if name is None or not folder or os.path.isdir(folder):
        return None
    from pkgutil import get_importer  # rarely needed

    archive: Any = get_importer(folder)
    spec: ModuleSpec | None = None if archive is None else archive.find_spec(name)
    return spec
