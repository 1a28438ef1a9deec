"""codec: our columns beside fastavro, the avro package, orjson and json, record by record in the same run. µs of CPU per record.

    python -m benchmarks.codec

Ours gives columns and checks every record; the others give a dict for each record and check less. All are first shown to agree. Cases are
interleaved: each round runs all of them once. `floor` is numpy's view of records of one fixed layout, without any check.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import fastavro
import numpy as np
import orjson

from benchmarks.harness.bench import RESULTS, machine
from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.avro_encode import AvroEncoder
from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.json_encode import JsonEncoder
from stream_infer.codec.number_text import floats_of_texts
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Column, Text

AVRO = {
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
JSON = {
    "type": "record",
    "name": "Point",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "k", "type": "int"},
        {"name": "x", "type": {"type": "array", "items": "double"}},
        {"name": "ts", "type": "long"},
    ],
}
FIXED = np.dtype([("id", "S14"), ("user", "S8"), ("at", "<i8"), ("count", "<i4"), ("quantity", "<i8"), ("delta", "<i4")])
SIZES = (1, 16, 64, 256, 1024, 8192)
RECORDS_PER_ROUND = 2048  # a round of a case works through so many, in batches of its size
NUMBERS = 784  # in a row of text: an image of 28 x 28, as Crayfish sends it


@dataclass
class Case:
    """work: on `rows` records; taken: µs of CPU per record, by round."""

    group: str
    name: str
    rows: int
    records: int  # the work's own; less than `rows` where one alone takes long, for its cost does not depend on the batch
    work: Callable[[], object]
    taken: list[float] = field(default_factory=list)

    def run(self) -> None:
        turns = max(1, RECORDS_PER_ROUND // self.records) if self.records > 64 or self.name != "avro" else 2
        begin = time.process_time()
        for _ in range(turns):
            self.work()
        self.taken.append((time.process_time() - begin) / turns / self.records * 1e6)


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


def points(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    numbers = rng.random((count, 8)).round(5).tolist()
    return [{"user": f"u{i % 977}", "k": i % 9, "x": x, "ts": 1_700_000_000_000 + i} for i, x in enumerate(numbers)]


def avro_cases() -> list[Case]:
    parsed, slow, schema = fastavro.parse_schema(AVRO), avro.schema.parse(json.dumps(AVRO)), parse_schema(json.dumps(AVRO))
    decoder, encoder, rows = AvroDecoder(schema), AvroEncoder(schema), events(max(SIZES))
    slow_reader, slow_writer = avro.io.DatumReader(slow, slow), avro.io.DatumWriter(slow)

    def write_fast(row: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        return out.getvalue()

    def write_slow(row: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        slow_writer.write(row, avro.io.BinaryEncoder(out))
        return out.getvalue()

    def read_fast(data: bytes) -> object:
        return fastavro.schemaless_reader(io.BytesIO(data), parsed, None)

    def read_slow(data: bytes) -> object:
        return slow_reader.read(avro.io.BinaryDecoder(io.BytesIO(data)))

    raw = [write_fast(row) for row in rows]
    columns, rejected = decoder.decode(Text.of(raw, is_bytes=True))
    assert not rejected
    assert rows_of(columns) == rows
    assert encoder.encode(columns).raw() == raw
    assert [read_slow(data) for data in raw[:50]] == rows[:50]
    assert [write_slow(row) for row in rows[:50]] == raw[:50]
    out = []
    for size in SIZES:
        values, some, given, few = Text.of(raw[:size], is_bytes=True), raw[:size], rows[:size], min(size, 64)
        part, _ = decoder.decode(values)
        fixed = bytes(FIXED.itemsize * size)
        out += [
            Case("avro decode", "ours", size, size, lambda v=values: decoder.decode(v)),  # type: ignore[misc]
            Case("avro decode", "fastavro", size, size, lambda some=some: list(map(read_fast, some))),  # type: ignore[misc]
            Case("avro decode", "avro", size, few, lambda some=some[:few]: list(map(read_slow, some))),  # type: ignore[misc]
            Case("avro decode", "floor", size, size, lambda raw=fixed: read_fixed(raw)),  # type: ignore[misc]
            Case("avro encode", "ours", size, size, lambda p=part: encoder.encode(p)),  # type: ignore[misc]
            Case("avro encode", "fastavro", size, size, lambda given=given: list(map(write_fast, given))),  # type: ignore[misc]
            Case("avro encode", "avro", size, few, lambda given=given[:few]: list(map(write_slow, given))),  # type: ignore[misc]
        ]
    return out


def read_fixed(raw: bytes) -> list[Any]:
    table = np.frombuffer(raw, dtype=FIXED)
    return [np.ascontiguousarray(table[name]) for name in FIXED.names or ()]


def json_cases() -> list[Case]:
    schema = parse_schema(json.dumps(JSON))
    decoder, encoder, rows = JsonDecoder(schema), JsonEncoder(schema), points(max(SIZES))
    raw = [orjson.dumps(row) for row in rows]
    columns, rejected = decoder.decode(Text.of(raw, is_bytes=True))
    assert not rejected
    assert rows_of(columns) == rows == [json.loads(data) for data in raw]
    assert encoder.encode(columns).raw() == raw
    out = []
    for size in SIZES:
        values, some, given = Text.of(raw[:size], is_bytes=True), raw[:size], rows[:size]
        part, _ = decoder.decode(values)
        out += [
            Case("json decode", "ours", size, size, lambda v=values: decoder.decode(v)),  # type: ignore[misc]
            Case("json decode", "orjson", size, size, lambda some=some: list(map(orjson.loads, some))),  # type: ignore[misc]
            Case("json decode", "json", size, size, lambda some=some: list(map(json.loads, some))),  # type: ignore[misc]
            Case("json encode", "ours", size, size, lambda p=part: encoder.encode(p)),  # type: ignore[misc]
            Case("json encode", "orjson", size, size, lambda given=given: list(map(orjson.dumps, given))),  # type: ignore[misc]
            Case("json encode", "json", size, size, lambda given=given: list(map(json.dumps, given))),  # type: ignore[misc]
        ]
    return out


def text_cases() -> list[Case]:
    numbers = np.random.default_rng(3).random((64, NUMBERS)).round(8).tolist()
    raw = [",".join(f"{one:.8f}" for one in row).encode() for row in numbers]
    column = Text.of(raw, is_bytes=True)
    assert floats_of_texts(column, ord(","))[0].to_list() == numbers
    return [
        Case(f"{NUMBERS} numbers", "ours", 64, 64, lambda: floats_of_texts(column, ord(","))),
        Case(f"{NUMBERS} numbers", "float()", 64, 64, lambda: [list(map(float, row.split(b","))) for row in raw]),
    ]


def rows_of(columns: dict[str, Column]) -> list[dict[str, Any]]:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]


def starting() -> dict[str, float]:
    """CPU seconds until every kernel of the codec has run once: in a process that compiles them all, and in the next one."""
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            command = [sys.executable, "-c", "from benchmarks.codec import first_use; print(first_use())"]
            said = subprocess.run(command, env=os.environ | {"NUMBA_CACHE_DIR": folder}, capture_output=True, text=True, check=True)
            told[name] = float(said.stdout)
    return told


def first_use() -> float:
    begin = time.process_time()
    avro_cases()
    json_cases()
    text_cases()
    first = time.process_time() - begin
    begin = time.process_time()
    avro_cases()
    json_cases()
    text_cases()
    return first - (time.process_time() - begin)


def tables(cases: list[Case]) -> str:
    lines = []
    for group in dict.fromkeys(case.group for case in cases):
        mine = [case for case in cases if case.group == group]
        names = list(dict.fromkeys(case.name for case in mine))
        lines += [f"\n| {group}, n | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for size in dict.fromkeys(case.rows for case in mine):
            figures = [f"{statistics.median(case.taken):.3f}" for name in names for case in mine if (case.name, case.rows) == (name, size)]
            lines.append(f"| {size} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--out", type=Path, default=RESULTS / "codec.json")
    wanted = options.parse_args()
    cases = avro_cases() + json_cases() + text_cases()
    for round_number in range(wanted.rounds + 1):
        for case in cases:
            case.run()
            if round_number == 0:
                case.taken.clear()  # the first round warms up
    start = starting()
    print(f"µs of CPU per record, medians of {wanted.rounds} rounds\n{tables(cases)}\n")
    print(f"kernels, CPU seconds before the first record: {start['cold']:.1f} when compiled, {start['warm']:.2f} when loaded")
    runs = [{"group": c.group, "name": c.name, "n": c.rows, "us_per_record": [round(one, 4) for one in c.taken]} for c in cases]
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps({"benchmark": "codec", "machine": machine(), "start_cpu_s": start, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
