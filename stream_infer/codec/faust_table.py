"""codec.faust_table: the changelog of a Faust table as plain JSON rows. rows → *faust_table* → codec.rows.

Faust writes key and value as JSON each; the value need not name its key, nor be an object. Row by row in Python: tables change slowly.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from stream_infer.records import Fetched, Text

VALUE = "value"  # the field of a value that is no object, such as a count


def unwrapped(fetched: Fetched, key: str) -> Fetched:
    """The same records, each value an object in which the field `key` holds the record's key, each key as plain text.

    What is no JSON stays as it is: the decoder rejects it with a reason. A key that is no JSON is text.
    """
    keys, values = [], []
    for raw_key, raw in zip(fetched.keys.raw(), fetched.values.raw(), strict=True):
        known = _key(raw_key)
        keys.append(known if isinstance(known, str) or known is None else orjson.dumps(known).decode())
        values.append(raw if raw is None else _row(raw, key, known))
    return replace(fetched, keys=Text.of(keys, is_bytes=True), values=Text.of(values, is_bytes=True))


def _key(raw: bytes | None) -> object:
    try:
        return None if raw is None else orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace") if raw is not None else None


def _row(raw: bytes, key: str, known: object) -> bytes:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw
    row = value if isinstance(value, dict) else {VALUE: value}
    return orjson.dumps({**row, key: known})
