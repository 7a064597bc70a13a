"""`SortedList`, without the modules that its library imports for what it prints when it finds itself broken
and for how its docstrings are indented.

Those are ``traceback`` and ``textwrap``, which import and compile a dozen others: a good third of the time in
which a place starts. The library is given modules instead that get the real ones when something else in them
is asked for, or by somebody else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_LIBRARY = "sortedcontainers"


def _stand_in(name: str) -> ModuleType:
    """A module called ``name`` that gives what is in the real one."""
    module = ModuleType(name)

    def load(attribute: str) -> Any:
        if attribute == "__path__":  # asked for by the import system: it is no package
            raise AttributeError(attribute)
        _remove(module)  # it may not have been yet, if another OS thread imports it just now
        return getattr(import_module(name), attribute)

    module.__getattr__ = load  # type: ignore[method-assign]
    return module


def _remove(module: ModuleType) -> None:
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


def _dedent(text: str) -> str:
    """Stands in for `textwrap.dedent`: the library calls it while it is imported, for docstrings."""
    if sys._getframe(1).f_globals.get("__name__", "").startswith(_LIBRARY):
        return text
    _remove(_textwrap)  # another OS thread has imported it just now
    return import_module("textwrap").dedent(text)  # type: ignore[no-any-return]


_traceback = _stand_in("traceback")
_textwrap = _stand_in("textwrap")
_textwrap.dedent = _dedent  # type: ignore[attr-defined]
for _module in (_traceback, _textwrap):
    if sys.modules.setdefault(_module.__name__, _module) is _module:
        _module.__spec__ = None

from sortedcontainers import SortedList  # noqa: E402

_remove(_traceback)
_remove(_textwrap)

__all__ = ["SortedList"]
