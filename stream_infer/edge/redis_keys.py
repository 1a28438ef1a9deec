"""edge.redis_keys: columns ⇄ the texts that stand in Redis. records → *redis_keys* → redis_lookup, redis_store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import orjson

from stream_infer.online_settings import KeyTemplate
from stream_infer.records import Column, Numbers, Text

# Of several fields in one key none may hold what separates them: `a:b`, `c` and `a`, `b:c` would be one key.
_ESCAPED = ((b"%", b"%25"), (b":", b"%3A"))


def texts_of(column: Column) -> list[bytes | None]:
    """Each row as it is written: texts and bytes as they are, numbers in full (true: 1, false: 0), lists as JSON. None: absent or NaN."""
    if isinstance(column, Text):
        return column.raw()
    if isinstance(column, Numbers):
        return [_number(value) for value in column.to_list()]
    return [None if value is None else orjson.dumps(value) for value in column.to_list()]


def _number(value: object) -> bytes | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return b"%d" % value if isinstance(value, bool | int) else repr(value).encode()


def keys_of(template: KeyTemplate, columns: Mapping[str, Column], *, escaped: bool) -> list[bytes | None]:
    """The Redis key of each row, None where one of its fields is absent.

    escaped: where several fields make a key, `:` and `%` in their values become %3A and %25, so that no two rows share a key by chance.
    """
    parts = [texts_of(columns[field]) for field in template.fields]
    texts = [text.encode() for text in template.texts]
    if len(parts) == 1:
        before, after = texts
        return [None if value is None else before + value + after for value in parts[0]]
    if escaped:
        parts = [[None if value is None else _escape(value) for value in part] for part in parts]
    return [_joined(texts, row) for row in zip(*parts, strict=True)]


def _joined(texts: Sequence[bytes], row: Sequence[bytes | None]) -> bytes | None:
    key = texts[0]
    for value, text in zip(row, texts[1:], strict=True):
        if value is None:
            return None
        key += value + text
    return key


def _escape(value: bytes) -> bytes:
    for plain, written in _ESCAPED:
        value = value.replace(plain, written)
    return value
