"""What Faust's own serialisers write of a table is read as its rows. Oracle: Faust's codecs."""

from __future__ import annotations

import faust
import numpy as np
import pytest
from faust.serializers import codecs

from stream_infer.flow.rows import BAD, DEAD, GOOD, Intake
from stream_infer.records import Fetched, Text
from stream_infer.sim.scenarios import schema
from stream_infer.topology.plan import StreamPlan


class Size(faust.Record):  # type: ignore[misc, unused-ignore]
    width: float
    word: str


def intake(**fields: str) -> Intake:
    return Intake(StreamPlan("sizes", "sizes", schema("Row", **fields), 1, key="shop", format="faust", framing="bare", compacted=True))


def fetched(records: list[tuple[object, object]]) -> Fetched:
    """As a table's changelog has them; a value of None was deleted, bytes are as they are."""
    keys = [codecs.dumps("json", key) for key, _ in records]
    values = [v if v is None or isinstance(v, bytes) else codecs.dumps("json", v) for _, v in records]
    count = np.arange(len(records))
    return Fetched("sizes", 0, count, count, Text.of(keys, is_bytes=True), Text.of(values, is_bytes=True))


def test_records_scalars_and_deletions_become_rows() -> None:
    rows = intake(shop="string", width="double", word="string").rows(
        fetched([("a", Size(width=1.5, word="x")), ("b ü", {"width": 2.0, "word": "y"}), ("a", None), ("c", b"{"), ("d", {"width": "z"})])
    )
    assert rows.flags.tolist() == [GOOD, GOOD, DEAD, BAD, BAD]
    assert rows.columns["shop"].to_list()[:3] == ["a", "b ü", "a"]
    assert [rows.columns[name].to_list()[:2] for name in ("width", "word")] == [[1.5, 2.0], ["x", "y"]]
    assert rows.bad[3].value == b"{"


def test_a_count_is_the_field_value_and_a_whole_number_may_be_the_key() -> None:
    rows = intake(shop="long", value="double").rows(fetched([(7, 3), (8, 4.5)]))

    assert [column.to_list() for column in rows.columns.values()] == [[7, 8], [3.0, 4.5]]


@pytest.mark.parametrize("key", ["plain", 'with "quotes"', "12"])
def test_keys_of_any_text_come_back(key: str) -> None:
    rows = intake(shop="string", value="long").rows(fetched([(key, 1)]))

    assert rows.columns["shop"].to_list() == [key]
