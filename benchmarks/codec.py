"""Avro: our column codec, fastavro and the avro package on one record of 10 fields, in one run. µs of CPU per record.

    python benchmarks/codec.py

Every figure is the median of several runs by process_time. Ours decodes to columns and checks each record; the others decode to a
list of dicts and check less. All three are first shown to agree.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import avro.io
import avro.schema
import fastavro
import numpy as np

from stream_infer.codec import avro_decode, avro_encode
from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.avro_encode import AvroEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Text

SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "user", "type": "string"},
        {"name": "at", "type": "long"},
        {"name": "count", "type": "int"},
        {"name": "quantity", "type": "long"},
        {"name": "delta", "type": "int"},
        {"name": "price", "type": "double"},
        {"name": "score", "type": "float"},
        {"name": "flag", "type": "boolean"},
        {"name": "note", "type": ["null", "string"]},
    ],
}
SIZES = (16, 64, 256, 1024, 8192)
RUNS = 9
RECORDS_PER_RUN = 4096


def events(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {
            "id": f"event-{place:08d}",
            "user": f"user{rng.integers(10_000)}",
            "at": 1_700_000_000_000 + place,
            "count": int(rng.integers(100)),
            "quantity": int(rng.integers(10**9)),
            "delta": int(rng.integers(-1000, 1000)),
            "price": float(rng.random()),
            "score": float(np.float32(rng.random())),
            "flag": bool(rng.integers(2)),
            "note": None if place % 3 else "seen before",
        }
        for place in range(count)
    ]


def per_record(work: Callable[[], object], rows: int, runs: int = RUNS) -> float:
    """Median µs of CPU per record."""
    turns = max(1, RECORDS_PER_RUN // rows)
    taken = []
    for _ in range(runs):
        begin = time.process_time()
        for _ in range(turns):
            work()
        taken.append((time.process_time() - begin) / turns / rows * 1e6)
    return statistics.median(taken)


def main() -> None:
    parsed = fastavro.parse_schema(SCHEMA)
    slow = avro.schema.parse(json.dumps(SCHEMA))
    schema = parse_schema(json.dumps(SCHEMA))
    decoder, encoder = AvroDecoder(schema), AvroEncoder(schema)
    rows = events(max(SIZES))

    def write_fast(row: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        return out.getvalue()

    def write_slow(row: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        avro.io.DatumWriter(slow).write(row, avro.io.BinaryEncoder(out))
        return out.getvalue()

    def read_slow(data: bytes) -> object:
        return avro.io.DatumReader(slow, slow).read(avro.io.BinaryDecoder(io.BytesIO(data)))

    raw = [write_fast(row) for row in rows]
    columns, rejected = decoder.decode(Text.of(raw, is_bytes=True))
    ours = [dict(zip(columns, cells, strict=True)) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]
    assert not rejected
    assert ours == rows
    assert encoder.encode(columns).raw() == raw
    assert [read_slow(data) for data in raw[:50]] == rows[:50]
    assert [write_slow(row) for row in rows[:50]] == raw[:50]

    print(f"10 fields, {len(raw[0])} bytes; µs of CPU per record, medians of {RUNS}; `together` and `one by one` are our two ways\n")
    print("| | n | ours | together | one by one | fastavro | avro | x fastavro | x avro |")
    print("|---|---|---|---|---|---|---|---|---|")
    ways: tuple[tuple[Any, int], ...] = ((avro_decode, avro_decode.ROWS_TOGETHER_MIN), (avro_encode, avro_encode.ROWS_TOGETHER_MIN))
    for name in ("decode", "encode"):
        module, least = ways[name == "encode"]
        for size in SIZES:
            values = Text.of(raw[:size], is_bytes=True)
            part, _ = decoder.decode(values)
            some, given = raw[:size], rows[:size]
            few, these = raw[: min(size, 64)], rows[: min(size, 64)]
            if name == "decode":
                work: Callable[[], object] = lambda values=values: decoder.decode(values)  # type: ignore[misc]  # noqa: E731
                fast = per_record(lambda some=some: [fastavro.schemaless_reader(io.BytesIO(data), parsed) for data in some], size)  # type: ignore[misc]
                plain = per_record(lambda few=few: [read_slow(data) for data in few], len(few), 3)  # type: ignore[misc]
            else:
                work = lambda part=part: encoder.encode(part)  # type: ignore[misc]  # noqa: E731
                fast = per_record(lambda given=given: [write_fast(row) for row in given], size)  # type: ignore[misc]
                plain = per_record(lambda these=these: [write_slow(row) for row in these], len(these), 3)  # type: ignore[misc]
            both = []
            for limit in (0, 1 << 60):
                module.ROWS_TOGETHER_MIN = limit
                both.append(per_record(work, size))
            module.ROWS_TOGETHER_MIN = least
            own = per_record(work, size)
            figures = f"{own:.3f} | {both[0]:.3f} | {both[1]:.3f} | {fast:.2f} | {plain:.1f} | {fast / own:.1f} | {plain / own:.0f}"
            print(f"| {name} | {size} | {figures} |")


if __name__ == "__main__":
    main()
