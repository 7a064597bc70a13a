"""The program's main module in a place.

In the process that the user started the main module is ``__main__``. In a place it is not: that runs our
code. When a message or a start function mentions it there, the file is loaded a second time under the name
``__mp_main__``, as `multiprocessing` does (so that ``if __name__ == "__main__":`` is false in it), and is
``__main__`` too from then on."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from threading import RLock
from types import ModuleType
from typing import Any, Final

MAIN_NAMES: Final = ("__main__", "__mp_main__")

_lock = RLock()
_creators: list[tuple[str, str | None] | None] = []
"""In a place, as its one item: what `main_origin` gave in its creator."""


def main_origin() -> tuple[str, str | None] | None:
    """The file of the program's main module and its package, or ``None`` if it has no file (typed in,
    ``-c``)."""
    if _creators:
        return _creators[0]
    module: Any = sys.modules.get("__main__")
    file = getattr(module, "__file__", None)
    if file is None or not str(file).endswith(".py"):
        return None
    spec = getattr(module, "__spec__", None)
    return str(file), None if spec is None else spec.parent


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
        if _creators[0] is None:
            raise ImportError("the main module of the program has no file, so a place cannot import it")
        file, package = _creators[0]
        spec = spec_from_file_location("__mp_main__", file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        if package:
            module.__package__ = package
        old = sys.modules["__main__"]
        sys.modules["__mp_main__"] = sys.modules["__main__"] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules["__mp_main__"]
            sys.modules["__main__"] = old
            raise
        return module
