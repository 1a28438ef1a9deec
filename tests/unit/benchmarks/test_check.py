"""The judge of all benchmarks: what is right passes, and every planted fault is found."""

from __future__ import annotations

import io
import json

import fastavro
import numpy as np
import pytest

from benchmarks.harness import events, window_oracle
from benchmarks.harness.check import problem

COUNT = 300
SCHEMA = fastavro.parse_schema(json.loads(events.SCORE))
EVENT = fastavro.parse_schema(json.loads(events.EVENT))
FRAME = b"\x00" + int(str(events.spec()["schema_out_id"])).to_bytes(4, "big")


def answered(fmt: str) -> tuple[events.Events, list[bytes]]:
    """Events, and the right answers to them in another order."""
    of = events.events(COUNT, keys=20, zipf=1.1, per_second=0.05)
    rows = [{"id": f"{i:08x}", "at_ms": int(of.at_ms[i]), "score": float(score)} for i, score in enumerate(events.scores(of))]
    return of, [encoded(row, fmt) for row in rows[::-1]]


def encoded(row: dict[str, object], fmt: str) -> bytes:
    if fmt == "json":
        return json.dumps(row).encode()
    out = io.BytesIO(FRAME)
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, SCHEMA, row)
    return out.getvalue()


@pytest.mark.parametrize("fmt", ["avro", "json"])
def test_right_answers_pass_in_any_order(fmt: str) -> None:
    of, values = answered(fmt)
    assert problem(values, fmt, events.scores(of)) == ""


@pytest.mark.parametrize("fmt", ["avro", "json"])
def test_every_planted_fault_is_found(fmt: str) -> None:
    of, values = answered(fmt)
    right = events.scores(of)
    wrong = encoded({"id": f"{7:08x}", "at_ms": 0 if fmt == "json" else int(of.at_ms[7]), "score": right[7] + 1e-4}, fmt)
    place = len(values) - 1 - 7
    assert problem(values[1:], fmt, right) == f"1 of {COUNT} missing, 0 more than once"
    assert problem([*values, values[3]], fmt, right) == f"0 of {COUNT} missing, 1 more than once"
    assert (
        problem([*values, encoded({"id": f"{COUNT:08x}", "at_ms": int(of.at_ms[7]), "score": 0.0}, fmt)], fmt, right)
        == "ids that are in no input"
    )
    assert problem([*values[:place], wrong, *values[place + 1 :]], fmt, right).startswith("1 wrong scores, the first at record 7:")
    assert "cannot be read" in problem([*values[1:], b"\x00nothing"], fmt, right)


def test_one_right_way_of_several_is_enough_but_it_must_be_one_way_throughout() -> None:
    of, values = answered("avro")
    right = events.scores(of)
    assert problem(values, "avro", np.stack([right + 1, right], axis=1)) == ""
    halves = np.where(np.arange(COUNT) < COUNT // 2, right, right + 1)
    assert "wrong scores" in problem(values, "avro", np.stack([halves, 2 * right + 1 - halves], axis=1))


def test_both_formats_say_the_same_as_an_independent_reader() -> None:
    of = events.events(COUNT)
    for value, text in zip(events.avro(of, 0, COUNT), events.json_texts(of, 0, COUNT), strict=True):
        assert fastavro.schemaless_reader(io.BytesIO(value[5:]), EVENT, None) == json.loads(text)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("hops", [0, 12])
def test_the_oracle_of_windows_is_what_its_definition_says(hops: int, include: bool) -> None:
    of, _ = answered("avro")
    width = np.array(events.WINDOW_MS, dtype=np.int64)
    hop = -(-width // hops) if hops else width
    found = window_oracle.numbers(of.user, of.at_ms, of.x[:, 0].copy(), hop, np.full_like(width, hops), include)
    for row in range(COUNT):
        for window in range(len(width)):
            tiles = of.at_ms[: row + include] // hop[window]
            inside = (of.user[: row + include] == of.user[row]) & (tiles >= of.at_ms[row] // hop[window] - hops)
            values = of.x[: row + include, 0][inside]
            expected = [len(values), values.sum(), values.mean(), values.min(), values.max()] if len(values) else [0.0] * 5
            assert found[row, window * 5 : window * 5 + 5] == pytest.approx(expected)
