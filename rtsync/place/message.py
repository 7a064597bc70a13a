"""Messages: which values may be sent between places, and how a value becomes a packet and a packet a value.

Before anything is sent the whole value is looked at (`survey`), because a message is sent whole or not at all
and the error is to name the offending part: ``message[3]['conn'].lock: threading.Lock cannot be sent between
places``. A value of plain kinds costs a type look-up for each part, and a pickle.

What is allowed: numbers, strings, bytes, ``bool``, ``None``, members of enumerations, paths; lists, tuples,
dicts, sets and frozen sets; named tuples and frozen dataclasses that the other place can import; numpy
arrays; shared vectors; ends of place channels; sockets and files, which are then open in both places.
Everything is copied but what the last three kinds stand for; a ``bytearray`` arrives as ``bytes``, a place
descriptor as a place channel.

Source: Racket Reference 11.5.1, ``place-message-allowed?``.
"""

from __future__ import annotations

import io
import marshal
import os
import sys
import threading
from _thread import RLock
from collections.abc import Callable, Iterable
from enum import Enum
from importlib import import_module
from reprlib import Repr
from types import NoneType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from rtsync.errors import ContractError
from shm import Segment, SharedVector

try:  # what pickle takes its quick half from: a place starts sooner without the other
    import _pickle as pickle
except ImportError:
    import pickle  # type: ignore[no-redef]

from .main_module import MAIN_NAMES, main_module, main_origin
from .packet import INLINE, MARSHAL, MOST_ATTACHED, Attachment, Fd, Holder, Packet

_short_repr: Final = Repr(maxstring=100, maxother=60).repr
"""Of keys in the path to a part."""

_OUT_OF_BAND: Final = 1 << 12
"""Bytes from which a buffer goes beside the pickle."""

ATOMS: Final[frozenset[type]] = frozenset({NoneType, bool, bytes, complex, float, int, str})
"""Types of plain values without parts; up to `INLINE` bytes of one go marshalled."""

SIZED: Final[frozenset[type]] = frozenset({bytes, str})
"""Those that may well be longer, which is to be known before they are copied."""

PICKLE: Final = 0x80
"""With this every pickle begins."""

# -- kinds of values -------------------------------------------------------------------------------

# What is to be done with a value of some type: nothing, look at its parts, or remember something about it.
_ATOM: Final = 0
_ITEMS: Final = 1
_MAPPING: Final = 2
_FIELDS: Final = 3
_BYTEARRAY: Final = 4
_ARRAY: Final = 5
_ATTACHED: Final = 6
_SHARED: Final = 7  # pickles, as its class and a segment, which is attached
_REFUSED: Final = 8

# What a survey found.
SPECIAL: Final = 1
"""Something is attached."""
BYTEARRAYS: Final = 2
OF_MAIN: Final = 4
"""A class of the main module is mentioned."""
BUFFERS: Final = 8

_BUILTIN: Final[dict[type, int]] = {
    **dict.fromkeys(ATOMS, _ATOM),
    list: _ITEMS,
    tuple: _ITEMS,
    set: _ITEMS,
    frozenset: _ITEMS,
    dict: _MAPPING,
    bytearray: _BYTEARRAY,
}
_kinds: WeakKeyDictionary[type, tuple[int, str]] = WeakKeyDictionary()
"""For other types: the kind, and for a refused one why."""


class _Attachable:
    """How things of some type are attached to a message."""

    __slots__ = ("arrive", "depart", "kind", "local", "trouble")

    def __init__(
        self,
        kind: str,
        depart: Callable[[Any], tuple[Any, Holder]],
        arrive: Callable[[Any, Fd], Any],
        trouble: Callable[[Any], str | None],
        local: bool,
    ) -> None:
        self.kind = kind
        self.depart = depart
        self.arrive = arrive
        self.trouble = trouble
        self.local = local


_attachables: dict[type, _Attachable] = {}
_by_kind: dict[str, _Attachable] = {}


def attachable(
    types: Iterable[type],
    kind: str,
    depart: Callable[[Any], tuple[Any, Holder]],
    arrive: Callable[[Any, Fd], Any],
    trouble: Callable[[Any], str | None] = lambda thing: None,
    *,
    local: bool = True,
) -> None:
    """Let things of exactly these ``types`` travel beside the pickle of a message.

    ``depart(thing)`` gives what must be known of it (marshallable) and who holds its descriptor;
    ``arrive(info, fd)`` makes the thing in the receiving process; ``trouble(thing)`` says why this one cannot
    be sent, or gives ``None``. ``local``: only within one machine."""
    made = _by_kind[kind] = _Attachable(kind, depart, arrive, trouble, local)
    for one in types:
        _attachables[one] = made


_LATE: Final = {"port": ("rtsync.ports.", "rtsync.place.ports")}
"""Kinds of attachments that are known once a module of ours has been imported, with the first that is sent or
arrives; and where their types are from."""


def _how(kind: type) -> _Attachable | None:
    """How things of type ``kind`` are attached, if they are."""
    found = _attachables.get(kind)
    if found is None:
        for home, ours in _LATE.values():
            if kind.__module__.startswith(home):
                import_module(ours)
        found = _attachables.get(kind)
    return found


def type_name(kind: type) -> str:
    """The public name of a type: ``threading.Lock`` and not ``_thread.lock``."""
    module = kind.__module__
    if module == "_thread" and hasattr(threading, kind.__name__):
        return f"threading.{kind.__name__}"
    if module.startswith("_") and module != "__main__":
        for public in ("threading", module.lstrip("_")):
            for name, value in vars(sys.modules.get(public, kind)).items():
                if value is kind and not name.startswith("_"):
                    return f"{public}.{name}"
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _is_importable(kind: type) -> bool:
    found: Any = sys.modules.get(kind.__module__)
    if kind.__module__ in MAIN_NAMES and main_origin() is None:
        return False  # typed in: another process cannot have it
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def _classify(kind: type) -> tuple[int, str]:
    if _how(kind) is not None:
        return _ATTACHED, ""
    if issubclass(kind, SharedVector):
        return _SHARED, ""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if kind is numpy.ndarray:
            return _ARRAY, ""
        if issubclass(kind, numpy.generic) and not issubclass(kind, (numpy.void, numpy.object_)):
            return _ATOM, ""
    for module, name in (("decimal", "Decimal"), ("fractions", "Fraction")):
        if kind is getattr(sys.modules.get(module), name, None):
            return _ATOM, ""
    paths = sys.modules.get("pathlib")
    if paths is not None and issubclass(kind, paths.PurePath) and kind.__module__.startswith("pathlib"):
        return _ATOM, ""
    parameters = getattr(kind, "__dataclass_params__", None)
    found = _REFUSED
    if issubclass(kind, Enum):
        found = _ATOM
    elif issubclass(kind, tuple) and hasattr(kind, "_fields") and hasattr(kind, "_make"):
        found = _FIELDS
    elif parameters is not None:
        if not parameters.frozen:
            return _REFUSED, " (a dataclass that is not frozen)"
        found = _FIELDS
    if found != _REFUSED and not _is_importable(kind):
        return _REFUSED, " (a class that the other place cannot import)"
    return found, ""


def is_record_of_main(kind: type) -> bool:
    """Whether instances of ``kind``, a class of the program's main module, can be sent."""
    return kind.__module__ in MAIN_NAMES and _classify(kind)[0] in (_ATOM, _FIELDS)


def _kind(value: Any) -> tuple[int, str]:
    kind = type(value)
    known = _kinds.get(kind)
    if known is None:
        known = _kinds[kind] = _classify(kind)
    return known


def _fields(value: Any) -> list[tuple[str, Any]]:
    """The named parts of a named tuple or a dataclass."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        names = dict.fromkeys(value._fields)
    else:  # those of the class alone (ClassVar) do not travel
        names = {field.name: None for field in sys.modules["dataclasses"].fields(value)}
    names.update(dict.fromkeys(getattr(value, "__dict__", ())))
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]


# -- the survey ------------------------------------------------------------------------------------


class Refused(Exception):
    """A part of a value cannot be sent; the text says which and why."""


def survey(message: Any, *, remote: bool = False, name: str = "message") -> int:
    """Look at every part of ``message``: what was found, or `Refused`. ``remote``: it goes to another
    machine.

    A link of the path to a part is ``(link before, how, key)``; it is made into text only for an error.
    """
    kind = type(message)
    if kind in ATOMS:
        return 0
    found = 0
    attached = 0
    seen: set[int] = set()
    todo: list[tuple[Any, Any]] = [(message, None)]
    while todo:
        value, link = todo.pop()
        kind = type(value)
        what = _BUILTIN.get(kind)
        if what is None:
            what, why = _kind(value)
            if what == _REFUSED:
                raise Refused(f"{_path(name, link)}: {type_name(kind)} cannot be sent between places{why}")
            if kind.__module__ in MAIN_NAMES:
                found |= OF_MAIN
        if what == _ATOM:
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        if what == _ITEMS:
            if not ATOMS.issuperset(map(type, value)):
                how = "[]" if kind is list or kind is tuple else "{}"
                todo += [(part, (link, how, part if how == "{}" else number))
                         for number, part in enumerate(value) if type(part) not in ATOMS]  # fmt: skip
        elif what == _MAPPING:
            if not ATOMS.issuperset(map(type, value)):
                todo += [(key, (link, "{}", key)) for key in value if type(key) not in ATOMS]
            if not ATOMS.issuperset(map(type, value.values())):
                todo += [(part, (link, "[]", key)) for key, part in value.items() if type(part) not in ATOMS]
        elif what == _FIELDS:
            todo += [(part, (link, ".", field)) for field, part in _fields(value) if type(part) not in ATOMS]
        elif what == _BYTEARRAY:
            found |= BYTEARRAYS
        elif what == _ARRAY:
            found |= BUFFERS
            if value.dtype.hasobject:
                if value.dtype.names is not None:
                    raise Refused(f"{_path(name, link)}: an array of objects cannot be sent between places")
                todo += [(part, (link, ".flat", number)) for number, part in enumerate(value.flat)]
        else:
            found |= SPECIAL
            attached += 1
            if what == _SHARED:
                continue
            how_sent = _attachables[kind]
            trouble = how_sent.trouble(value)
            if trouble is None and remote and how_sent.local:
                trouble = "cannot be sent to a place on another machine"
            if trouble is not None:
                raise Refused(f"{_path(name, link)}: {type_name(kind)} {trouble}")
    if attached > MOST_ATTACHED:
        raise Refused(
            f"{name}: holds {attached} channels, shared vectors, sockets and files; at most "
            f"{MOST_ATTACHED} can be sent in one message"
        )
    return found


def _path(name: str, link: Any) -> str:
    steps = []
    while link is not None:
        link, how, key = link
        if how == ".":
            steps.append(f".{key}")
        elif how == "{}":
            steps.append(f"{{{_short_repr(key)}}}")
        else:
            steps.append(f"{how.rstrip(']').rstrip('[')}[{_short_repr(key)}]")
    return name + "".join(reversed(steps))


def is_place_message_allowed(value: Any) -> bool:
    """Whether ``value`` may be sent between places. Source: Racket Reference, ``place-message-allowed?``."""
    try:
        survey(value)
    except Refused:
        return False
    return True


# -- departure -------------------------------------------------------------------------------------


class Attaching:
    """The part of a pickler that puts beside the pickle what does not belong into it."""

    def __init__(self) -> None:
        self.attachments: list[Attachment] = []

    def attach(self, thing: Any) -> Any:
        """A pickler's ``reducer_override``, for what is to be attached."""
        how = _how(type(thing))
        if how is None:
            return NotImplemented
        info, holder = how.depart(thing)
        self.attachments.append(Attachment(how.kind, info, holder))
        return _arrive, (len(self.attachments) - 1,)


def beside(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """A pickler's ``buffer_callback``: large ones go into ``buffers``. (No method of the pickler: that would
    be a cycle, and what is pickled, ends of channels among it, would live on until it is found.)"""

    def large(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    return large


class _Pieces:
    """What a pickler writes, uncopied: large bytes objects in a message come here as they are."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.write = self.pieces.append


class _Pickler(Attaching, pickle.Pickler):
    def __init__(self, file: Any, buffers: list[memoryview]) -> None:
        Attaching.__init__(self)
        pickle.Pickler.__init__(self, file, 5, buffer_callback=beside(buffers))

    def reducer_override(self, thing: Any) -> Any:
        return self.attach(thing)


class _CoercingPickler(_Pickler):
    """Sends byte arrays as bytes. Asked about every part, so only used when there is one."""

    def persistent_id(self, thing: Any) -> Any:
        return bytes(thing) if type(thing) is bytearray else None


def pack(
    message: Any,
    operation: str = "put",
    *,
    remote: bool = False,
    private: bool = False,
    name: str = "message",
) -> Packet | bytes:
    """``message`` as a packet, or as a bare pickle. ``ContractError`` if it may not be sent, and ``OSError``
    if there is no room for it; nothing has been sent then."""
    try:
        kind = type(message)
        if kind in ATOMS:
            if kind in SIZED and len(message) > INLINE:
                return _pack(message, 0, private)
            data = marshal.dumps(message, MARSHAL)
            if len(data) <= INLINE:
                return data
        found = survey(message, remote=remote, name=name)
        if not found:
            data = pickle.dumps(message, 5)
            return data if len(data) <= INLINE else Packet.of(data, private=private)
        return _pack(message, found, private)
    except Refused as refused:
        raise ContractError(f"{operation}: {refused}") from None
    except RecursionError:
        raise ContractError(f"{operation}: {name} is nested too deeply to be sent") from None
    except (pickle.PicklingError, TypeError, AttributeError, RuntimeError) as error:
        # It was changed by another thread meanwhile, or a class of the program's own cannot be pickled.
        raise ContractError(f"{operation}: {name} cannot be pickled: {error}") from error


def _pack(message: Any, found: int, private: bool) -> Packet:
    file = _Pieces()
    buffers: list[memoryview] = []
    pickler = (_CoercingPickler if found & BYTEARRAYS else _Pickler)(file, buffers)
    pickler.dump(message)
    own_ways = bool(found & (OF_MAIN | BYTEARRAYS))
    return Packet.of(file.pieces, buffers, pickler.attachments, own_ways=own_ways, private=private)


def pack_own(message: Any, pickler_type: Any = _Pickler, *, private: bool = False) -> Packet:
    """`pack` for what the library itself sends, unchecked."""
    file = io.BytesIO()
    buffers: list[memoryview] = []
    pickler = pickler_type(file, buffers)
    pickler.dump(message)
    return Packet.of(file.getvalue(), buffers, pickler.attachments, own_ways=True, private=private)


# -- arrival ---------------------------------------------------------------------------------------

_arriving = threading.local()


class _Unpickler(pickle.Unpickler):
    """For what `pickle.loads` cannot do: it knows the main module by whatever name the sender knows it, and
    coerced values."""

    def persistent_load(self, coerced: Any) -> Any:
        return coerced

    def find_class(self, module: str, name: str) -> Any:
        if module in MAIN_NAMES:
            found: Any = main_module()
            for part in name.split("."):
                found = getattr(found, part)
            return found
        return super().find_class(module, name)


def unpack(packet: Packet | bytes) -> Any:
    """The message in ``packet``. Raises what making it here raises, such as ``ImportError``."""
    if type(packet) is bytes:
        return marshal.loads(packet) if packet[0] < PICKLE else pickle.loads(packet)
    assert isinstance(packet, Packet)
    stream, buffers = packet.parts()
    outer = getattr(_arriving, "packet", None)
    _arriving.packet = packet
    try:
        if packet.own_ways:
            return _Unpickler(io.BytesIO(stream), buffers=buffers).load()
        return pickle.loads(stream, buffers=buffers)
    finally:
        _arriving.packet = outer


attachable((Fd,), "descriptor", lambda fd: (None, fd), lambda _, fd: fd)


class _Segments(WeakValueDictionary[tuple[int, int], Segment]):
    """The segments that have come here and are still in use, by device and inode, and the lock for adding
    one. A vector that comes again and again is mapped once: to find each page anew takes a tenth of the time
    in which a processor goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = RLock()

    def arrived(self, fd: Fd) -> Segment:
        """The segment of ``fd``, which is closed if it is here already."""
        stat = os.fstat(fd.fileno())
        key = stat.st_dev, stat.st_ino  # nobody else's for as long as it is in use
        with self.lock:
            found = self.get(key)
            if found is None:
                found = self[key] = Segment.from_fd(fd.take())
        return found

    def forget_lock(self) -> None:
        """In the child of a fork."""
        self.lock = RLock()


_segments = _Segments()
os.register_at_fork(after_in_child=_segments.forget_lock)
attachable(
    (Segment,), "segment", lambda segment: (None, segment), lambda _, fd: _segments.arrived(fd), local=False
)


def _arrive(number: int) -> Any:
    """What was attached to the message that is being unpickled."""
    attachment = _arriving.packet.attachments[number]
    if attachment.kind not in _by_kind:
        import_module(_LATE[attachment.kind][1])
    return _by_kind[attachment.kind].arrive(attachment.info, attachment.holder)
