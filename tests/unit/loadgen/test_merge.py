from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import fastavro
import numpy as np
import pytest

from loadgen import flights
from loadgen.merge import MergedLog
from loadgen.tables import Table, in_order, numbers, text
from loadgen.wiring import Wire, read_wires
from stream_infer.records import Numbers

TOPOLOGY = Path("topologies/flights/flights.yaml")
SCHEMA = '{"type": "record", "name": "Row", "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": "long"}]}'


def table(*rows: tuple[int, str, int]) -> Table:
    times = np.array([time for time, _, _ in rows], dtype=np.int64)
    values = np.array([value for _, _, value in rows], dtype=np.int64)
    return Table(times, {"key": text([key for _, key, _ in rows]), "value": Numbers(values)}, "key")


def wire(stream: str, *, compacted: bool = False, framing: str = "bare") -> Wire:
    return Wire(stream, f"topic-{stream}", SCHEMA, 1, framing=framing, compacted=compacted)


def test_rows_of_one_time_come_in_the_order_of_the_tables_and_then_in_their_own() -> None:
    log = MergedLog(
        {"b": table((5, "x", 1), (7, "x", 2), (7, "x", 3)), "a": table((5, "y", 4), (6, "y", 5))}, {"a": wire("a"), "b": wire("b")}
    )
    piece = log.piece(0, len(log))
    assert piece.timestamps == [5, 5, 6, 7, 7]
    assert piece.topics == ["topic-b", "topic-a", "topic-a", "topic-b", "topic-b"]
    # zigzag of 1, 4, 5, 2, 3 behind a text of one byte
    assert [value[2:] for value in piece.values if value] == [bytes([2 * value]) for value in (1, 4, 5, 2, 3)]


def test_tables_do_not_set_the_clock() -> None:
    tables = {"dim": table((5, "x", 1)), "events": table((900, "x", 1))}
    assert MergedLog(tables, {"dim": wire("dim", compacted=True), "events": wire("events")}).begin_ms == 900


def test_records_with_header_framing_carry_the_schemas_guid() -> None:
    piece = MergedLog({"a": table((5, "x", 1))}, {"a": wire("a", framing="header")}).piece(0, 1)
    assert [name for name, _ in piece.headers[0]] == ["__value_schema_id"]


def test_equal_times_go_by_id_and_absent_numbers_are_marked() -> None:
    assert in_order(np.array([2, 1, 2]), np.array([b"b", b"z", b"a"])).tolist() == [1, 2, 0]
    assert numbers(np.array([1.0, np.nan])).to_list() == [1.0, None]
    assert text(["ab", "", "c"]).to_list() == ["ab", None, "c"]


@pytest.fixture(scope="module")
def march() -> tuple[dict[str, Table], MergedLog]:
    """Two days with a change of the clocks between, and all planes."""
    begin, end = (int(np.datetime64(day, "ms").astype(np.int64)) for day in ("2013-03-09", "2013-03-11"))
    tables = {name: table if name == "planes" else table.between(begin, end) for name, table in flights.tables().items()}
    return tables, MergedLog(tables, read_wires(TOPOLOGY))


def test_the_flights_as_fastavro_reads_them(march: tuple[dict[str, Table], MergedLog]) -> None:
    tables, log = march
    wires = read_wires(TOPOLOGY)
    stream_of = {wires[name].topic: name for name in tables}
    schemas = {name: fastavro.schema.load_schema(f"{TOPOLOGY.parent}/schemas/{name.removesuffix('s')}.avsc") for name in tables}
    read: dict[str, list[dict[str, object]]] = {name: [] for name in tables}
    for piece in log.pieces(1_000):
        for topic, key, value in zip(piece.topics, piece.keys, piece.values, strict=True):
            assert value is not None
            assert key is not None
            name = stream_of[topic]
            row = fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas[name], None)
            assert isinstance(row, dict)
            assert row[tables[name].key] == key.decode()
            read[name].append(row)
    for name, table in tables.items():
        assert len(read[name]) == len(table)
        for column, values in table.columns.items():
            shown = [row[column] for row in read[name]]
            if column.endswith("_at_ms"):  # fastavro makes datetimes of them
                shown = [round(value.timestamp() * 1000) for value in shown if hasattr(value, "timestamp")]
            assert shown == values.to_list(), (name, column)


def test_pieces_of_any_size_make_the_same_log_in_event_time_order(march: tuple[dict[str, Table], MergedLog]) -> None:
    _, log = march
    whole = log.piece(0, len(log))
    assert whole.timestamps == sorted(whole.timestamps)
    pieces = list(log.pieces(997))
    assert [value for piece in pieces for value in piece.values] == whole.values
    assert [key for piece in pieces for key in piece.keys] == whole.keys
    assert Counter(whole.topics)["flights-planes"] == 3_322
