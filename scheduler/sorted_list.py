"""`SortedList`, without what its library imports beside it.

That is, of the library's own, a sorted set and dictionary; ``traceback``, for what it prints when it finds
itself broken; and ``textwrap``, for how its docstrings are indented: with what those import and compile, a
good third of the time in which a place starts. So the one file of the library that we need is loaded, as a
module of ours, with stand-ins for the two modules, which get the real ones when something else in them is
asked for, or by somebody else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from os.path import isfile, join
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sortedcontainers import SortedList

__all__ = ["SortedList"]

_OURS = "scheduler.sorted_list.library"


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
    if sys._getframe(1).f_globals.get("__name__") == _OURS:
        return text
    _remove(_textwrap)  # another OS thread has imported it just now
    return import_module("textwrap").dedent(text)  # type: ignore[no-any-return]


_traceback = _stand_in("traceback")
_textwrap = _stand_in("textwrap")
_textwrap.dedent = _dedent  # type: ignore[attr-defined]


def _load() -> Any:
    library = find_spec("sortedcontainers")
    for folder in (library and library.submodule_search_locations) or ():
        file = join(folder, "sortedlist.py")
        spec = spec_from_file_location(_OURS, file) if isfile(file) else None
        if spec is None or spec.loader is None:
            continue
        for module in (_traceback, _textwrap):
            if sys.modules.setdefault(module.__name__, module) is module:
                module.__spec__ = None
        try:
            loaded: Any = module_from_spec(spec)
            spec.loader.exec_module(loaded)
        finally:
            _remove(_traceback)
            _remove(_textwrap)
        return loaded.SortedList
    from sortedcontainers import SortedList as found  # in an archive, say

    return found


if not TYPE_CHECKING:
    SortedList = _load()
