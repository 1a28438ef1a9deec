"""loadgen.drawn: made-up rows for any topology, as a file beside it says. topology.yaml, load.yaml → *drawn* → merge → send.

`load.yaml` says of each stream how its fields are drawn; ids, keys and times follow from the topology. Everything is a function of the
settings and the seed. Of a stream that `follows` another, such as what became of a loan, each row tells of one row of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from loadgen.synthetic import BEGIN_MS, names, zipf_keys
from loadgen.tables import Table, in_order, text
from loadgen.wiring import Wire
from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, parse_schema
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Column, Floats, Ints, Numbers

FILE = "load.yaml"
STREAM_WORDS = ("follows", "after_s_mean", "each_key")  # beside the fields of a stream
AFTER_S_MEAN = 3600.0
KEYS_ZIPF = 0.5  # some keys have more rows than others, as in life
_Draw = np.random.Generator
Drawing = Callable[[_Draw, Mapping[str, Any], Mapping[str, Column], int], NDArray[np.generic]]


@dataclass(frozen=True)
class DrawnSettings:
    """rate: rows per second of event time of each stream that follows no other; keys: how many different ones."""

    rate: float = 50.0
    duration_s: float = 600.0
    keys: int = 500
    seed: int = 7


def tables(topology: Path, wires: Mapping[str, Wire], settings: DrawnSettings) -> dict[str, Table]:
    """The rows of each stream that load.yaml names, in its order. EnvironmentMissing: it does not fit the topology, or is not there."""
    file = topology.parent / FILE
    if not file.exists():
        fix = "write one as the other topologies have it"
        raise EnvironmentMissing(f"{file}: there is no such file", expected="how the fields of each stream are drawn", fix=fix)
    found: dict[str, Table] = {}
    for number, (stream, wanted) in enumerate(yaml.safe_load(file.read_text()).items()):
        if stream not in wires:
            raise EnvironmentMissing(f"{file}: the topology has no stream {stream} with a schema", got=stream, expected=", ".join(wires))
        draw = np.random.default_rng([settings.seed, number])
        found[stream] = _Stream(file, wires[stream], wanted or {}, draw, settings).table(found)
    return found


class _Stream:
    """One stream of load.yaml."""

    def __init__(self, file: Path, wire: Wire, wanted: Mapping[str, Any], draw: _Draw, settings: DrawnSettings) -> None:
        self._file, self._wire, self._draw, self._settings = file, wire, draw, settings
        self._follows, self._each_key = str(wanted.get("follows", "")), bool(wanted.get("each_key"))
        self._after_s = float(wanted.get("after_s_mean", AFTER_S_MEAN))
        self._fields = {name: how for name, how in wanted.items() if name not in STREAM_WORDS}

    def table(self, others: Mapping[str, Table]) -> Table:
        known = self._followed(others) if self._follows else self._begun()
        schema = parse_schema(self._wire.schema, self._wire.stream)
        count = len(next(iter(known.values())))
        for field in schema.fields:
            if field.name in self._fields:
                known[field.name] = self._drawn(field, known, count)
            elif field.name not in known:
                where = f"{self._file}: {self._wire.stream}.{field.name}"
                raise EnvironmentMissing(f"{where} is not drawn", expected="from and to, of, or chance", fix=f"say how in {FILE}")
        times = known[self._wire.event_time]
        assert isinstance(times, Numbers)
        order = in_order(times.values.astype(np.int64), np.arange(count))
        columns = {field.name: known[field.name] for field in schema.fields}
        return Table(times.values.astype(np.int64), columns, self._wire.key).take(order)

    def _begun(self) -> dict[str, Column]:
        """Time, id and key of rows of their own; of a stream with `each_key` one row for each key, before all others."""
        wire, settings = self._wire, self._settings
        if self._each_key:
            return {wire.event_time: Numbers(np.full(settings.keys, BEGIN_MS)), wire.key: names(wire.key[0], np.arange(settings.keys))}
        count = round(settings.rate * settings.duration_s)
        times = BEGIN_MS + np.sort(self._draw.integers(0, max(1, round(settings.duration_s * 1000)), count))
        keys = zipf_keys(self._draw, count, settings.keys, KEYS_ZIPF)
        found: dict[str, Column] = {wire.event_time: Numbers(times), wire.key: names(wire.key[0], keys)}
        if wire.id is not None:
            found[wire.id] = names(wire.id[0], np.arange(count))
        return found

    def _followed(self, others: Mapping[str, Table]) -> dict[str, Column]:
        """The columns of the rows that are told of, each some time later."""
        if self._follows not in others:
            raise EnvironmentMissing(f"{self._file}: {self._wire.stream} follows {self._follows}", expected="a stream above it")
        other = others[self._follows]
        after_ms = self._draw.exponential(1000 * self._after_s, len(other)).astype(np.int64)
        return {**other.columns, self._wire.event_time: Numbers(other.event_time + after_ms)}

    def _drawn(self, field: FieldSchema, known: Mapping[str, Column], count: int) -> Column:
        how = self._fields[field.name]
        kinds = [kind for kind in DRAWINGS if kind in how]
        if len(kinds) != 1:
            expected = "one of: " + ", ".join(DRAWINGS)
            raise EnvironmentMissing(f"{self._file}: {self._wire.stream}.{field.name}", got=", ".join(how) or "nothing", expected=expected)
        values = DRAWINGS[kinds[0]](self._draw, how, known, count)
        valid = self._draw.random(count) >= float(how.get("missing", 0))
        if field.kind not in NUMBER_DTYPES:
            return text([str(value) if there else "" for value, there in zip(values.tolist(), valid.tolist(), strict=True)])
        numbers = values.astype(NUMBER_DTYPES[field.kind])
        return Numbers(numbers) if valid.all() else Numbers(np.where(valid, numbers, 0), valid)


def _between(draw: _Draw, how: Mapping[str, Any], _: Mapping[str, Column], count: int) -> NDArray[np.generic]:
    low, high = float(how["from"]), float(how["to"])
    return np.round(low + (high - low) * draw.random(count), int(how.get("digits", 2)))


def _of(draw: _Draw, how: Mapping[str, Any], _: Mapping[str, Column], count: int) -> NDArray[np.generic]:
    choices: NDArray[np.generic] = np.array(how["of"])
    return choices[draw.integers(len(choices), size=count)]


def _chance(draw: _Draw, how: Mapping[str, Any], known: Mapping[str, Column], count: int) -> NDArray[np.generic]:
    """1 with a probability that is logistic in columns of the row, and in `bias`; else 0."""
    score: Floats = np.full(count, float(how["chance"].get("bias", 0.0)))
    for name, weight in how["chance"].items():
        if name != "bias":
            column = known[name]
            assert isinstance(column, Numbers), name
            score += float(weight) * column.floats()
    came: Ints = (draw.random(count) < 1.0 / (1.0 + np.exp(-score))).astype(np.int64)
    return came


DRAWINGS: dict[str, Drawing] = {"from": _between, "of": _of, "chance": _chance}
