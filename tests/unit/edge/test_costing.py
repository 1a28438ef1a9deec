"""What a topology's work costs. Oracles: the rows that were answered, and costs that a model was given."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from stream_infer.cli import load_plan, main
from stream_infer.codec.rows import RowDecoder
from stream_infer.codec.schema import parse_schema
from stream_infer.edge.beside import SIZES
from stream_infer.edge.costing import PARTS, ClientCosts, measure
from stream_infer.edge.made_up import BEGIN_MS, MadeUp
from stream_infer.records import Floats, Matrix, Numbers
from tests.support_flow import SCHEMAS, SPENT, models_of, plan_of
from tests.support_run import score_case

CLIENT = ClientCosts(poll_s=1e-3, read_s=1e-6, produce_s=1e-5)


def test_made_up_rows_can_be_read_by_whoever_reads_the_stream() -> None:
    plan = plan_of(SPENT)
    made = MadeUp(plan, plan.streams["payments"], keys=5, rate=1000.0)
    first, second = made.batch(100), made.batch(50)
    schema = parse_schema(SCHEMAS["payment"])
    for batch, begin in ((first, 0), (second, 100)):
        decoded = RowDecoder(schema, "avro", "confluent", {}, 10_000).decode(batch)
        columns = decoded.columns
        assert len(decoded.rows) == len(batch)
        at = columns["at_ms"]
        assert isinstance(at, Numbers)
        assert at.values.tolist() == [BEGIN_MS + number for number in range(begin, begin + len(batch))]
        assert columns["payment"].to_list() == [f"row-{number:012d}" for number in range(begin, begin + len(batch))]
        assert set(columns["card"].to_list()) <= {f"key-{number:08d}" for number in range(5)}


@dataclass
class Busy:
    """A model whose rows take 2 ms each."""

    columns: tuple[str, ...]
    outputs: int = 1
    digest: str = "b" * 64

    def forward(self, x: Matrix) -> Floats:
        end = time.perf_counter() + 2e-5 * len(x)
        while time.perf_counter() < end:
            pass
        return np.zeros((len(x), 1))


def test_every_part_is_told_and_what_is_known_of_it_is_true() -> None:
    plan = plan_of(SPENT)
    found = measure(plan, {"probe": Busy(plan.models["probe"].columns())}, CLIENT)
    assert set(found.parts) == set(PARTS)
    assert [one.servers.name for one in found.beside] == ["model probe"]
    assert all(list(curve.seconds) == sorted(curve.seconds) for curve in found.parts.values())
    for rows in SIZES:
        assert found.parts["read"].estimate(rows) == pytest.approx(1e-3 + 1e-6 * rows)
        assert found.beside[0].seconds.estimate(rows) >= 2e-5 * rows
    assert found.records >= 1, "a prediction"
    assert found.parts["produce"].estimate(4096) >= 4096 * 1e-5
    assert found.bytes_in > 30


def test_linear_models_are_no_thread_and_lookups_find_something() -> None:
    stages = SPENT.replace("from: spent, model", "from: known, model").replace(
        "  score:", "  known: {kind: lookup, from: spent, table: cards, key: card, take: {limit: -1}}\n  score:"
    )
    plan = plan_of(stages)
    found = measure(plan, models_of(plan), CLIENT, keys=50)
    assert found.beside == ()


def test_the_command_answers_and_ends_with_whether_it_can_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = score_case("", tmp_path, "planned", topics=False)
    assert load_plan(case.path).name == "planned"
    assert main(["plan", str(case.path), "--rate", "100", "--slo-ms", "1000"]) == 0
    assert "workers            1" in capsys.readouterr().out
    assert main(["plan", str(case.path), "--rate", "100", "--slo-ms", "1", "--json"]) == 1
    assert '"forecast": null' in capsys.readouterr().out
