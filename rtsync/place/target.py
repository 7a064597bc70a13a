"""What a new place is to run: a function of a module, or a function that is sent along.

Source: Racket Reference 11.5.1 (``dynamic-place``, ``place``, ``place/context``).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from rtsync.errors import ContractError, check_body, refuse

from . import message
from .main_module import MAIN_NAMES, is_loading, loading, main_module, main_origin
from .packet import Packet

type Target = tuple[str, str, str | None, str]
"""``("module", name, file or None, function)``, ``("file", path, name or None, function)`` or, for one that
is sent along, ``("value", name of its module, file or None, function)``: what the creator knows."""


def named(operation: str, module: Any, start: Any) -> Target:
    """The target ``start`` in ``module``, a name or the path of a file."""
    if not isinstance(module, (str, os.PathLike)):
        raise refuse(operation, "module", "the name of a module or the path of a file", module, TypeError)
    if not isinstance(start, str):
        raise refuse(operation, "start", "the name of a function", start, TypeError)
    if not start or not all(part.isidentifier() for part in start.split(".")):
        raise refuse(operation, "start", "the name of a function", start, ValueError)
    path = os.fspath(module)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(module, str) or os.sep in path or path.endswith(".py"):
        file = os.path.abspath(path)
        return _checked(operation, ("file", file, _name_of(file), start))
    if not path or not all(part.isidentifier() for part in path.split(".")):
        raise refuse(operation, "module", "the name of a module or the path of a file", module, ValueError)
    loaded = sys.modules.get(path)
    return _checked(operation, ("module", path, getattr(loaded, "__file__", None), start))


def of_function(operation: str, fn: Any) -> Target:
    """The target that is ``fn``, a function of a module that the place can import."""
    if not callable(fn):
        raise refuse(operation, "fn", "a function", fn, TypeError)
    check_body(operation, "fn", fn)
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split(".") if isinstance(name, str) else ():
        found = getattr(found, part, None)
    same = found == fn if isinstance(fn, MethodType) else found is fn  # each look-up makes another method
    if not same or (module in MAIN_NAMES and main_origin() is None):
        hint = "; place_context sends a function along, with what it closes over"
        raise ContractError(
            f"{operation}: {fn!r} is not a function of a module that another process can import"
            + hint * isinstance(fn, FunctionType)
        )
    assert isinstance(module, str)
    assert isinstance(name, str)
    return _checked(operation, ("module", module, getattr(sys.modules[module], "__file__", None), name))


def _name_of(file: str) -> str | None:
    """What the module in ``file`` is called here, if it is loaded: in the place it is called the same, so
    that its classes are the same in messages."""
    origin = main_origin()
    if origin is not None and origin[0] == file:
        return "__main__"
    for name, module in list(sys.modules.items()):
        try:  # not getattr: it would load a module that is to be loaded lazily
            loaded_from = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:  # some programs have other things there
            continue
        if loaded_from == file:
            return name
    return None


def _source(what: Target) -> str:
    """The file that a target is loaded from, or the module's name."""
    kind, module, other, _ = what
    return module if kind == "file" else other or module


def _checked(operation: str, what: Target) -> Target:
    if is_loading(_source(what)):
        raise ContractError(
            f"{operation}: {what[1]} is only being loaded, to find the function of this place, and may not "
            "create a place of its own functions yet, for that would go on for ever; do so in a function, or "
            'under `if __name__ == "__main__":`'
        )
    return what


def by_value(operation: str, fn: Any) -> tuple[Target, Packet]:
    """``fn`` itself, with its code and what it closes over, which must be allowed as messages; functions,
    classes and modules may be among that too."""
    if not isinstance(fn, FunctionType):
        raise refuse(operation, "fn", "a function", fn, TypeError)
    check_body(operation, "fn", fn)
    module = str(fn.__module__)  # None in code that was not executed as that of a module
    file = getattr(sys.modules.get(module), "__file__", None)
    what = _checked(operation, ("value", module, file, fn.__qualname__))
    try:
        _check_closure(fn, set())
    except message.Refused as refused:
        raise ContractError(f"{operation}: {refused}") from None
    try:
        return what, message.pack_own(fn, _context_pickler())
    except Exception as error:  # anything that a global of the function does when it is pickled
        raise ContractError(f"{operation}: {fn!r} cannot be sent: {error}") from error


def _check_closure(fn: FunctionType, seen: set[FunctionType]) -> None:
    if fn in seen:
        return
    seen.add(fn)
    code: CodeType = fn.__code__
    values = [
        (f"the free variable {name}", cell)
        for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True)
    ]
    for name, cell in values:
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        _check_value(name, value, seen)
    for number, value in enumerate(fn.__defaults__ or ()):
        _check_value(f"default {number} of {fn.__qualname__}", value, seen)
    for name, value in (fn.__kwdefaults__ or {}).items():
        _check_value(f"the default of {name!r}", value, seen)


def _check_value(name: str, value: Any, seen: set[FunctionType]) -> None:
    if isinstance(value, FunctionType):
        _check_closure(value, seen)
    elif not isinstance(value, (type, ModuleType)):
        message.survey(value, name=name)


@cache
def _context_pickler() -> type[Any]:
    """Cloudpickle's pickler, which also attaches what ours does."""
    import cloudpickle

    class ContextPickler(message.Attaching, cloudpickle.Pickler):  # type: ignore[misc]
        def __init__(self, file: Any, buffers: list[memoryview]) -> None:
            message.Attaching.__init__(self)
            cloudpickle.Pickler.__init__(self, file, 5, message.beside(buffers))

        def persistent_id(self, thing: Any) -> Any:
            return bytes(thing) if type(thing) is bytearray else None  # as in messages

        def reducer_override(self, thing: Any) -> Any:
            if isinstance(thing, type) and message.is_record_of_main(thing):
                return NotImplemented  # by its name: in messages it has to be the same class there
            reduced = self.attach(thing)
            return cloudpickle.Pickler.reducer_override(self, thing) if reduced is NotImplemented else reduced

    return ContextPickler


def found(what: Target) -> Callable[..., Any]:
    """In the place: the function. Raises what importing the module raises, ``AttributeError`` without it."""
    kind, module, other, start = what
    with loading(_source(what)):
        value: Any = _load_file(module, other) if kind == "file" else _load(module, other)
    for part in start.split("."):
        if not hasattr(value, part):
            raise AttributeError(f"place: the module {module} has no function {start!r}")
        value = getattr(value, part)
    if not callable(value):
        raise TypeError(f"place: {start!r} of the module {module} is no function: {value!r}")
    check_body("place", f"{start!r} of the module {module}", value)
    return value  # type: ignore[no-any-return]


def arrived(what: Target, packet: Packet) -> Callable[..., Any]:
    """In the place: the function in ``packet``, which `by_value` gave in the creator."""
    _, module, file, _ = what
    with loading(_source(what)):  # it may mention things of its module by their names
        top = module.partition(".")[0]
        known = module in MAIN_NAMES or top in sys.modules or find_spec(top) is not None
        if not known and file is not None and os.path.isfile(file):
            _load_as(module, file)  # in the creator it was not found by its path
        return message.unpack(packet)  # type: ignore[no-any-return]


def _load(name: str, file: str | None) -> ModuleType:
    if name in MAIN_NAMES:
        return main_module()
    try:
        spec = find_spec(name)
    except Exception:  # of a package that it is in, which is imported now
        spec = None
    elsewhere = file is not None and (spec is None or (spec.has_location and spec.origin != file))
    if elsewhere and os.path.isfile(file):  # type: ignore[arg-type]
        return _load_as(name, file)  # type: ignore[arg-type] # in the creator it was not found by its path
    return importlib.import_module(name)


def _load_file(path: str, name: str | None) -> ModuleType:
    sys.path.insert(0, os.path.dirname(path))  # as for a program: modules beside it
    if name is not None:
        return _load(name, path)
    return _load_as(os.path.splitext(os.path.basename(path))[0], path)


def _load_as(name: str, path: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    if spec is None:  # a file without a suffix that tells
        spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"place: {path} is not a Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
