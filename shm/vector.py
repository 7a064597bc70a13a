"""Vectors of a fixed length in a segment that processes share.

A vector is a segment and a typed view of it. Reading and writing an element is one machine access, so
an element is never seen half written; what more than that is to be consistent needs a lock or a channel,
as with any memory that threads share. For loops over many elements take a view of your own first,
``memoryview(v)`` or ``numpy.asarray(v)``: it is the same memory, without a check by Python for each element.

Whatever does not fit is refused before anything is written.

Source: Racket Reference 4.3.3 (``make-shared-flvector``), 4.3.4, 4.4.1 (``make-shared-bytes``), and 11.5.
"""

from __future__ import annotations

from array import array
from collections.abc import Buffer, Callable, Iterable, Iterator, Sequence
from operator import ge, gt, index, le, lt
from typing import Any, ClassVar, Self, overload

from .segment import Segment, check_size, refuse

_BLOCK = 1 << 16  # elements that are written at a time to fill a vector
_SHOWN = 20  # elements that repr shows


class SharedVector[T: (int, float), Slice: Sequence[Any]](Sequence[T]):
    """What the three kinds have in common.

    ``Kind(length, fill=0)`` is a new vector of that length; ``Kind(values)`` one with these values, from an
    iterable or a buffer. Its length is fixed. It indexes, slices, iterates and compares as Python's own
    sequences do; a slice is a copy, and only as many values as it has can be assigned to it.

    It supports the buffer protocol: ``memoryview(v)``, ``numpy.asarray(v)`` and ``file.readinto(v)`` are or
    use the same memory. It pickles by name: the copy shares the memory, also in a process that has nothing
    to do with this one but the host and the user; hold ``v`` until the other side has it. (In messages
    between places it can be dropped at once.) `copy.copy` and `copy.deepcopy` make a vector of its own.

    Errors: ``IndexError`` for an index out of range, ``ValueError`` for a value out of range or values
    of another number than the slice, ``TypeError`` for what is no index or no value, ``OSError`` when the
    shared memory is full.
    """

    __slots__ = ("__weakref__", "_segment", "_view")

    _segment: Segment
    _view: memoryview[T]
    _format: ClassVar[str]
    _alike: ClassVar[frozenset[str]]  # buffer formats with the same bits
    _expected: ClassVar[str]

    def __init__(self, length_or_values: int | Iterable[T] | Buffer, fill: T | None = None) -> None:
        given: Any = length_or_values
        countable = hasattr(given, "__index__") and not isinstance(given, Iterable)  # not a numpy array
        if not countable and isinstance(given, (Iterable, Buffer)):
            if fill is not None:
                raise refuse(self._who, "fill", "left out when there are values", fill, TypeError)
            self._hold(Segment.copy_of(self._packed("values", given)))
            return
        length = index(given) if countable and not isinstance(given, bool) else given
        check_size(self._who, "length", length)
        self._hold(self._filled(length, 0 if fill is None else fill))

    @classmethod
    def from_segment(cls, segment: Segment) -> Self:
        """The vector that fills ``segment``, which may be shared with others already."""
        if not isinstance(segment, Segment):
            raise refuse(f"{cls.__name__}.from_segment", "segment", "a Segment", segment, TypeError)
        if segment.nbytes % cls._itemsize():
            expected = f"of a size divisible by {cls._itemsize()}"
            raise refuse(f"{cls.__name__}.from_segment", "segment", expected, segment, ValueError)
        vector = cls.__new__(cls)
        vector._hold(segment)
        return vector

    def _hold(self, segment: Segment) -> None:
        view: Any = segment.view()
        self._segment = segment
        # memoryview refuses to cast nothing.
        self._view = view.cast(self._format) if segment.nbytes else memoryview(array[Any](self._format))

    @classmethod
    def _filled(cls, length: int, fill: Any) -> Segment:
        one = cls._one("fill", fill)
        nbytes = length * one.itemsize
        if not any(one.tobytes()):
            return Segment(nbytes)
        block: Any = memoryview(one * min(length, _BLOCK))
        blocks = (block[: length - start].cast("B") for start in range(0, length, _BLOCK))
        return Segment.written(blocks, nbytes)

    @classmethod
    def _itemsize(cls) -> int:
        return array(cls._format).itemsize

    @property
    def _who(self) -> str:
        return type(self).__name__

    @classmethod
    def _one(cls, argument: str, value: Any) -> array[Any]:
        """``value`` as an array of one element, or the refusal of it."""
        try:
            return array(cls._format, (value,))
        except (TypeError, ValueError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise refuse(cls.__name__, argument, cls._expected, value, kind) from None

    @classmethod
    def _packed(cls, argument: str, values: Any) -> memoryview[T]:
        """All of ``values`` in our format, contiguous: their own buffer if it is of our kind."""
        try:
            view: Any = memoryview(values)
        except TypeError:
            pass
        else:
            if view.ndim == 1 and view.format in cls._alike:
                if not view.contiguous:
                    flat: Any = memoryview(view.tobytes())
                    view = flat.cast(cls._format)
                elif view.nbytes and view.format != cls._format:
                    view = view.cast("B").cast(cls._format)
                packed: memoryview[T] = view
                return packed
        try:
            items = values if isinstance(values, (list, tuple)) else list(values)
        except TypeError:
            raise refuse(cls.__name__, argument, "an iterable of values", values, TypeError) from None
        try:
            # A list, because array takes bytes for the machine's representation of its elements.
            return memoryview(array(cls._format, items))
        except (TypeError, ValueError, OverflowError):
            for place, value in enumerate(items):
                cls._one(f"{argument}[{place}]", value)
            raise

    # -- elements ------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, where: int, /) -> T: ...
    @overload
    def __getitem__(self, where: slice, /) -> Slice: ...
    def __getitem__(self, where: Any, /) -> Any:
        if type(where) is slice:
            return self._copied(self._view[where])
        try:
            return self._view[where if type(where) is int else index(where)]
        except (IndexError, TypeError) as error:
            raise self._no_index(where, error) from None

    @overload
    def __setitem__(self, where: int, value: T, /) -> None: ...
    @overload
    def __setitem__(self, where: slice, value: Iterable[T] | Buffer, /) -> None: ...
    def __setitem__(self, where: Any, value: Any, /) -> None:
        view: Any = self._view
        if type(where) is slice:
            values = self._packed("values", value)
            there = view[where]
            if len(values) != len(there):
                expected = f"as many as the slice has, {len(there)}"
                raise refuse(self._who, "the number of values", expected, len(values), ValueError)
            if len(there):
                view[where] = values
            return
        try:
            view[where if type(where) is int else index(where)] = value
        except IndexError as error:
            raise self._no_index(where, error) from None
        except (TypeError, ValueError) as error:
            if not hasattr(where, "__index__"):
                raise self._no_index(where, error) from None
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise refuse(self._who, "value", self._expected, value, kind) from None

    def __delitem__(self, where: Any, /) -> None:
        raise TypeError(f"{self._who}: its length is fixed, so nothing can be deleted")

    def _no_index(self, where: object, error: Exception) -> Exception:
        length = len(self)
        if not isinstance(error, IndexError):
            return refuse(self._who, "index", "an integer or a slice", where, TypeError)
        if not length:
            return refuse(self._who, "index", "within the vector, which is empty", where, IndexError)
        return refuse(self._who, "index", f"from {-length} to {length - 1}", where, IndexError)

    def _copied(self, view: memoryview[T]) -> Slice:
        """The elements of a slice, as what Python has for such."""
        copied: Any = view.tolist()
        return copied  # type: ignore[no-any-return]

    def tolist(self) -> list[T]:
        """The elements, copied."""
        values: list[Any] = self._view.tolist()
        return values

    def __len__(self) -> int:
        return len(self._view)

    def __iter__(self) -> Iterator[T]:
        return iter(self._view)

    # -- as a whole ----------------------------------------------------------------------------------

    @property
    def segment(self) -> Segment:
        """The memory, to be sent to another process by a descriptor of its own."""
        return self._segment

    def __buffer__(self, flags: int, /) -> memoryview[T]:
        return memoryview(self._view)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SharedVector):
            return bool(self._view == other._view)
        if isinstance(other, (list, tuple)):
            return self.tolist() == list(other)
        return self._view.__eq__(other)  # for any buffer; NotImplemented for the rest

    __hash__ = None  # type: ignore[assignment]

    def _compared(self, order: Callable[[Any, Any], bool], other: Any) -> bool:
        comparable = isinstance(other, (SharedVector, list, tuple, array, bytes, bytearray))
        return order(self.tolist(), [*other]) if comparable else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._compared(lt, other)

    def __le__(self, other: object) -> bool:
        return self._compared(le, other)

    def __gt__(self, other: object) -> bool:
        return self._compared(gt, other)

    def __ge__(self, other: object) -> bool:
        return self._compared(ge, other)

    def __copy__(self) -> Self:
        return type(self).from_segment(Segment.copy_of(self._segment))

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        return _restored, (type(self), self._segment)

    def __repr__(self) -> str:
        if len(self) <= _SHOWN:
            return f"{self._who}({self[:]!r})"
        shown = ", ".join(map(repr, self._view[: _SHOWN // 2]))
        return f"<{self._who} of {len(self)}: {shown}, ...>"


def _restored[V: SharedVector[Any, Any]](kind: type[V], segment: Segment) -> V:
    return kind.from_segment(segment)


class SharedBytes(SharedVector[int, bytes]):
    """Bytes, 0 to 255, in memory that processes share. A slice is a `bytes`.

    Source: Racket Reference, ``make-shared-bytes``, ``shared-bytes``.
    """

    __slots__ = ()

    _format = "B"
    _alike = frozenset("B")
    _expected = "an integer from 0 to 255"

    def _copied(self, view: memoryview[int]) -> bytes:
        return view.tobytes()


class SharedFlvector(SharedVector[float, list[float]]):
    """Doubles in memory that processes share. A slice is a list.

    Source: Racket Reference, ``make-shared-flvector``, ``shared-flvector``.
    """

    __slots__ = ()

    _format = "d"
    _alike = frozenset({"d", "@d"})
    _expected = "a number that a double can hold"


class SharedFxvector(SharedVector[int, list[int]]):
    """Signed 64-bit integers in memory that processes share. A slice is a list.

    Source: Racket Reference, ``make-shared-fxvector``, ``shared-fxvector``.
    """

    __slots__ = ()

    _format = "q"
    _alike = frozenset({"q", "@q"} | ({"l", "@l"} if array("l").itemsize == 8 else set()))
    _expected = "an integer from -2**63 to 2**63 - 1"
