"""feedback.stored: held and early rows as changelog records. rows → *stored* → join.

Keys: b"P" + prediction id (a pending decision, packed in pending), b"D" or b"F" + u64 big-endian sequence (a waiting decision or
feedback row), b"M" (the next sequence number). A value begins with the format byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stream_infer.feedback.rows import FEEDBACK_DTYPE, Rows, no_rows, objects
from stream_infer.state import StateError, pack_rows, unpack_rows

FORMAT = 1
META = b"M"


def pack_waiting(rows: Rows) -> dict[bytes, bytes]:
    """Values by key: the fixed part, then the prediction id, then the address."""
    kind = b"F" if rows.fixed.dtype == FEEDBACK_DTYPE else b"D"
    keys = [kind + sequence.to_bytes(8, "big") for sequence in rows.fixed["sequence"].tolist()]
    fixed = pack_rows(FORMAT, rows.fixed)
    return {key: value + name + address for key, value, name, address in zip(keys, fixed, rows.ids, rows.address, strict=True)}


def unpack_waiting(values: Mapping[bytes, bytes | None], dtype: np.dtype[np.void]) -> Rows:
    """The inverse of pack_waiting for rows of one kind. StateError for another format."""
    texts = [value for value in values.values() if value is not None]
    if not texts:
        return no_rows(dtype)
    size = 1 + dtype.itemsize
    fixed: Any = unpack_rows(FORMAT, [text[:size] for text in texts], dtype)
    ends = (size + fixed["id_size"]).tolist() if dtype == FEEDBACK_DTYPE else [len(text) for text in texts]
    ids = [text[size:end] for text, end in zip(texts, ends, strict=True)]
    return Rows(fixed, objects(ids), objects([text[end:] for text, end in zip(texts, ends, strict=True)]))


def number_of(key: bytes) -> int:
    """The sequence number in a key of a waiting row."""
    return int.from_bytes(key[1:], "big")


def pack_meta(sequence: int) -> bytes:
    """The next sequence number."""
    return bytes([FORMAT]) + sequence.to_bytes(8, "big")


def unpack_meta(value: bytes) -> int:
    """The inverse of pack_meta. StateError for another format."""
    if len(value) != 9 or value[0] != FORMAT:
        raise StateError(f"the join's sequence: got {len(value)} bytes, expected format {FORMAT}, 9 bytes")
    return int.from_bytes(value[1:], "big")
