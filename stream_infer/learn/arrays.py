"""learn.arrays: state that is a handful of named arrays, kept under one changelog key. *arrays* → learner, stats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_infer.records import Text
from stream_infer.state import Array, StateError, pack_text

FORMAT = 1
KEY = b"A"


class ArrayStore:
    """A Store of arrays whose names, types and shapes never change. Subclasses change `arrays` in place and call `touch`."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays: dict[str, Array] = dict(arrays)
        self._touched = False

    def touch(self) -> None:
        """The arrays have changed since they were last written."""
        self._touched = True

    def changes(self) -> tuple[Text, Text]:
        """One key with everything, if anything changed; see Store."""
        if not self._touched:
            return pack_text([]), pack_text([])
        self._touched = False
        value = bytes([FORMAT]) + b"".join(np.ascontiguousarray(array).tobytes() for array in self.arrays.values())
        return pack_text([KEY]), pack_text([value])

    def restore(self, keys: Text, values: Text) -> None:
        """Apply changelog records; see Store."""
        for _, value in zip(keys.raw(), values.raw(), strict=True):
            size = 1 + sum(array.nbytes for array in self.arrays.values())
            if value is None or len(value) != size or value[0] != FORMAT:
                raise StateError(
                    f"state of a learner: got {len(value or b'')} bytes, expected format {FORMAT}, {size} bytes (other inputs?)"
                )
            place = 1
            for array in self.arrays.values():
                array[...] = np.frombuffer(value, dtype=array.dtype, count=array.size, offset=place).reshape(array.shape)
                place += array.nbytes

    def snapshot(self) -> dict[str, Array]:
        """Copies of the arrays; see Store."""
        return {name: array.copy() for name, array in self.arrays.items()}

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the object that gave the snapshot; see Store."""
        for name, array in self.arrays.items():
            if name not in arrays or arrays[name].shape != array.shape or arrays[name].dtype != array.dtype:
                raise StateError(f"snapshot of a learner: {name} is absent or of another shape than {array.shape} (other inputs?)")
            array[...] = arrays[name]
        self._touched = False

    def bytes_used(self) -> int:
        """Bytes of the arrays; see Store."""
        return sum(array.nbytes for array in self.arrays.values())
