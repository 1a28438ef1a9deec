"""codec.avro_same: values that are the same in all rows, written once. avro_value, avro_write → *avro_same* → avro_encode.

From one batch to the next most of them stay, and so does the program that writes the rows around them: both are kept. Of a chunk of a
few rows they would cost a tenth (0.13 of 1.3 ms).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_value import value_bytes
from stream_infer.codec.avro_write import with_same
from stream_infer.codec.schema import FieldSchema
from stream_infer.records import Bytes

Given = tuple[int, FieldSchema, object]  # number of the field, the field, its value
_EXACT = (str, bytes, int)  # equal ones of a type have equal bytes; 0.0 and -0.0 have not


class SameWriter:
    """Of one schema. lines: the program of all its fields."""

    def __init__(self, lines: NDArray[np.int64]) -> None:
        self._all = lines
        self._known: dict[int, tuple[object, bytes]] = {}  # by field, the last value
        self._shape: list[tuple[int, int]] = []  # of the last program: fields, and how many bytes they take
        self._lines = lines

    def of(self, same: Sequence[Given]) -> tuple[NDArray[np.int64], Bytes]:
        """The program where these fields are the same in all rows, and what its lines point into. ValueError as of value_bytes()."""
        pieces = [self._bytes_of(*given) for given in same]
        shape = [(given[0], len(piece)) for given, piece in zip(same, pieces, strict=True)]
        if shape != self._shape:
            self._shape, self._lines = shape, with_same(self._all, shape)
        return self._lines, np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def _bytes_of(self, number: int, field: FieldSchema, value: object) -> bytes:
        known = self._known.get(number)
        if known is not None and (known[0] is value or (type(known[0]) is type(value) in _EXACT and known[0] == value)):
            return known[1]
        made = value_bytes(field, value)
        if not isinstance(value, list):  # it may change
            self._known[number] = value, made
        return made
