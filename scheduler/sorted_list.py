"""`SortedList`, without the modules that its library imports for what it prints when it finds itself broken.

That is ``traceback``, which imports a dozen others: a third of the time in which a place starts. The library
is given a module instead that gets the real one when something in it is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def _stand_in(name: str) -> ModuleType:
    """A module called ``name`` that gives what is in the real one."""
    module = ModuleType(name)

    def load(attribute: str) -> Any:
        _remove(module)  # it may not have been yet, if another OS thread imports it just now
        return getattr(import_module(name), attribute)

    module.__getattr__ = load  # type: ignore[method-assign]
    return module


def _remove(module: ModuleType) -> None:
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


_module = _stand_in("traceback")
if sys.modules.setdefault("traceback", _module) is _module:
    _module.__spec__ = None

from sortedcontainers import SortedList  # noqa: E402

_remove(_module)

__all__ = ["SortedList"]
