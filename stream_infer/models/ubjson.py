"""models.ubjson: universal binary JSON → what JSON would say. *ubjson* → xgboost_file.

https://ubjson.org, as far as XGBoost writes it: containers with or without a type and a count in front; numbers big-endian.
"""

from __future__ import annotations

import numpy as np

from stream_infer.models.base import model_error

DEPTH_MAX = 64
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_WORDS = {"Z": None, "T": True, "F": False}


class UbjsonReader:
    """One pass over the bytes. Lists of numbers that say their type come as arrays."""

    def __init__(self, data: bytes, file: str) -> None:
        self._data, self._file, self._place = data, file, 0

    def whole(self) -> object:
        """The one value that the bytes are; raises ModelError for anything else."""
        value = self._value(self._letter(), 0)
        if self._place != len(self._data):
            raise self._broken(f"{len(self._data) - self._place} bytes behind the end")
        return value

    def _value(self, kind: str, depth: int) -> object:
        if depth > DEPTH_MAX:
            raise self._broken("lists within lists without end")
        if kind in _NUMBERS:
            return self._numbers(_NUMBERS[kind], 1)[0].item()
        if kind in _WORDS:
            return _WORDS[kind]
        if kind in ("S", "C", "H"):
            return self._taken(1 if kind == "C" else self._size()).decode("utf-8", "replace")
        if kind == "[":
            return self._list(depth)
        if kind == "{":
            return self._object(depth)
        raise self._broken(f"byte {self._place} is of no known kind ({kind!r})")

    def _list(self, depth: int) -> object:
        of, count = self._front()
        if of in _NUMBERS:
            numbers = self._numbers(_NUMBERS[of], count or 0)
            return numbers.astype(numbers.dtype.newbyteorder("="))
        items: list[object] = []
        if count is not None:
            while len(items) < count:
                items.append(self._value(of or self._letter(), depth + 1))
            return items
        while (kind := self._letter()) != "]":
            items.append(self._value(kind, depth + 1))
        return items

    def _object(self, depth: int) -> dict[str, object]:
        of, count = self._front()
        made: dict[str, object] = {}
        left = count
        while left is None or left > 0:
            if left is None and self._data[self._place : self._place + 1] == b"}":
                self._place += 1
                break
            name = self._taken(self._size()).decode("utf-8", "replace")
            made[name] = self._value(of or self._letter(), depth + 1)
            left = None if left is None else left - 1
        return made

    def _front(self) -> tuple[str, int | None]:
        """The type and the count that a container may say of its items."""
        of, count = "", None
        if self._data[self._place : self._place + 1] == b"$":
            self._place += 1
            of = self._letter()
        if self._data[self._place : self._place + 1] == b"#":
            self._place += 1
            count = self._size()
        if of and count is None:
            raise self._broken("a container with a type but no count")
        # A type without bytes of its own would let a small file claim items without end.
        if of in ("Z", "T", "F", "N") or (count or 0) > len(self._data):
            raise self._broken(f"a container of {count} items")
        return of, count

    def _size(self) -> int:
        kind = self._letter()
        if kind not in "iUIlL":
            raise self._broken(f"a length of kind {kind!r}")
        size = int(self._numbers(_NUMBERS[kind], 1)[0])
        if not 0 <= size <= len(self._data):
            raise self._broken(f"a length of {size}")
        return size

    def _numbers(self, dtype: str, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        return np.frombuffer(self._taken(count * np.dtype(dtype).itemsize), dtype=dtype)

    def _letter(self) -> str:
        return self._taken(1).decode("latin-1")

    def _taken(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._data):
            raise self._broken("the file is cut off")
        taken = self._data[self._place : end]
        self._place = end
        return taken

    def _broken(self, got: str) -> Exception:
        return model_error("the file is no sound UBJSON", self._file, got=got, expected="the whole file", fix="copy or save it again")
