"""A schema of all kinds that JSON rows can hold, and rows of it, for the tests of both ways."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from stream_infer.codec.schema import parse_schema

SCHEMA = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "Row",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "n", "type": "int"},
                {"name": "big", "type": "long", "default": 7},
                {"name": "x", "type": ["null", "double"]},
                {"name": "y", "type": "float", "default": 0.5},
                {"name": "flag", "type": "boolean", "default": False},
                {"name": "c", "type": {"type": "enum", "name": "C", "symbols": ["A", "B"]}, "default": "A"},
                {"name": "raw", "type": ["null", "bytes"], "default": None},
                {"name": "v", "type": {"type": "array", "items": "long"}, "default": [1]},
                {"name": "in", "type": {"type": "record", "name": "In", "fields": [{"name": "z", "type": ["null", "long"]}]}},
            ],
        }
    )
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.text(),
        "n": st.integers(-(2**31), 2**31 - 1),
        "big": st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "y": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "flag": st.booleans(),
        "c": st.sampled_from(["A", "B"]),
        "raw": st.none() | st.binary(),
        "v": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "in": st.fixed_dictionaries({"z": st.none() | st.integers(-(2**63), 2**63 - 1)}),
    }
)
