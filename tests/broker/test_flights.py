"""The flights topology as it is shipped, on two weeks and a half of 2013 and a real broker: training set, training, predictions.

Oracle of every feature: tests/support_flights.py, which filters the whole history for one flight at a time and sees nothing later.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadgen import flights
from loadgen.merge import MergedLog
from loadgen.send import ensure_topics, send_flat_out
from loadgen.wiring import read_wires
from stream_infer.cli import load_plan, main
from stream_infer.codec.internal import PREDICTION, REJECT
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.host import RunSettings, transport_of
from stream_infer.edge.readback import read_outcome
from stream_infer.edge.topics import delete_group, delete_topics
from stream_infer.models.linear import LinearModel
from stream_infer.topology.plan import Plan
from tests.support import group_offsets
from tests.support_flights import LEAD_MS, LOOKUPS, WINDOWS, History, features
from tests.support_run import Case, address

pytestmark = pytest.mark.broker
FOLDER = Path(__file__).parents[2] / "topologies" / "flights"
SAMPLED = 50
WAIT_MS = 57_600_000


def ms(*date: int) -> int:
    return round(datetime(*date, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc]


BEGIN, ANSWERED_FROM, END = ms(2013, 6, 20), ms(2013, 7, 1), ms(2013, 7, 6)


@dataclass(frozen=True)
class Season:
    """What was sent, and the topology in a folder of its own with models trained on it."""

    case: Case
    plan: Plan
    history: History
    trainset: dict[str, NDArray[Any]]
    digests: list[str]  # of two runs
    decisions: dict[str, dict[str, Any]]
    predictions: list[dict[str, Any]]

    def sample(self, ids: list[str]) -> list[str]:
        return [ids[place] for place in np.random.default_rng(5).choice(len(ids), SAMPLED, replace=False).tolist()]


@pytest.fixture(scope="module")
def season(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Season:
    case = topology_of(broker, tmp_path_factory.mktemp("flights"))
    tables = {name: table.between(0 if name == "planes" else BEGIN, END) for name, table in flights.tables().items()}
    wires = read_wires(case.path)
    ensure_topics(broker.bootstrap, [wires[name] for name in tables])
    assert send_flat_out(broker.bootstrap, MergedLog(tables, wires)).lost == 0
    assert main(["trainset", str(case.path), "--bootstrap", broker.bootstrap, "--out", str(case.folder / "set.npz")]) == 0
    assert train(["set.npz", "--topology", "topology.yaml"], case.folder) == 0
    plan = load_plan(case.path)
    digests = []
    for _ in range(2):
        forget_what_was_written(case, plan)
        assert main(["run", str(case.path), "--bootstrap", broker.bootstrap, "--deterministic"]) == 0
        digests.append(digest(case, plan))
    with np.load(case.folder / "set.npz") as file:
        trainset = {name: file[name] for name in file.files}
    decisions = {row["prediction_id"]: row for row in case.blocks("decisions")}
    predictions = case.read("predictions", PREDICTION)
    return Season(case, plan, History.of(tables), trainset, digests, decisions, predictions)


def topology_of(broker: Broker, folder: Path) -> Case:
    """A copy whose topics no other test has."""
    case = Case(broker.bootstrap, folder, f"flights-{uuid.uuid4().hex[:8]}")
    text = (FOLDER / "flights.yaml").read_text()
    case.path.write_text(text.replace("topic: flights-", f"topic: {case.name}-").replace("name: flights", f"name: {case.name}", 1))
    shutil.copytree(FOLDER / "schemas", folder / "schemas")
    return case


def train(arguments: list[str], folder: Path) -> int:
    spec = importlib.util.spec_from_file_location("train_flights", FOLDER / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main([argument if argument.startswith("--") else str(folder / argument) for argument in arguments]))


def forget_what_was_written(case: Case, plan: Plan) -> None:
    """Predictions, internal topics and the group's offsets; the events stay."""
    inputs = {plan.streams[i.stream].topic for section in plan.sections for i in section.inputs}
    delete_topics(case.bootstrap, [topic for topic, *_ in plan.topics if topic not in inputs or topic.startswith(f"{plan.name}.")], {})
    delete_group(case.bootstrap, plan.name, {})
    assert group_offsets(case.bootstrap, plan.name) == {}


def digest(case: Case, plan: Plan) -> str:
    transport = transport_of(plan, RunSettings(case.bootstrap, slot="digest"))
    try:
        return read_outcome(plan, transport).sha256
    finally:
        transport.close()


def test_every_flight_from_july_on_is_answered_once_and_none_before(season: Season) -> None:
    departs = season.history.numbers["scheduled", "departs_at_ms"]
    wanted = season.history.texts["scheduled", "flight_id"][departs >= ANSWERED_FROM].tolist()
    assert len(wanted) > 4000
    assert sorted(p["prediction_id"] for p in season.predictions) == sorted(wanted) == sorted(season.decisions)


def test_arrivals_that_no_decision_waits_for_are_rejected_once_each_and_no_others(season: Season) -> None:
    """Of flights that were announced before the slice began; and those that came more than 16 h after the decision."""
    history = season.history
    at = dict(zip(history.texts["scheduled", "flight_id"].tolist(), history.numbers["scheduled", "departs_at_ms"].tolist(), strict=True))
    wanted: Counter[str] = Counter()
    for flight, time in zip(history.texts["arrived", "flight_id"].tolist(), history.times["arrived"].tolist(), strict=True):
        if flight not in at:
            wanted["unknown"] += 1
        elif time > at[flight] - LEAD_MS + WAIT_MS:
            wanted["late"] += 1
    rejects = season.case.read("rejects", REJECT)
    assert Counter(r["reason"].partition(":")[0] for r in rejects) == wanted
    assert {(r["source_topic"], r["stage"]) for r in rejects} == {(season.case.topic("arrived"), "outcome")}
    assert len({address(r) for r in rejects}) == len(rejects)


def test_two_runs_over_the_same_log_write_the_same_bytes(season: Season) -> None:
    assert season.digests[0] == season.digests[1]


def test_decisions_saw_what_a_filter_over_the_whole_history_sees(season: Season) -> None:
    """float32 of the exact feature, bit by bit; of means and deviations, which divide, to the last bit but one."""
    online = season.plan.models["online"]
    missing = {entry.field: entry.missing for entry in online.inputs if entry.kind == "number"}
    predictions = {row["prediction_id"]: row for row in season.predictions}
    for flight in season.sample(sorted(season.decisions)):
        saw = dict(zip(online.columns(), season.decisions[flight]["features"], strict=True))
        wanted = features(season.history, flight)
        compared = 0
        for name in (*WINDOWS, *LOOKUPS):
            if f"{name}?" in saw:
                assert saw[f"{name}?"] == math.isnan(wanted[name])
            if name in saw:
                value = missing[name] if math.isnan(wanted[name]) else wanted[name]
                assert saw[name] == pytest.approx(value, rel=2e-7, abs=1e-9), (flight, name)
                compared += 1
        assert compared == len(WINDOWS) + len(LOOKUPS) - 1, "plane_year is an input of net alone"
        assert predictions[flight]["event_time"].timestamp() * 1000 == season.history.decided_at(season.history.flight(flight))


def test_training_rows_hold_what_a_filter_over_the_whole_history_sees(season: Season) -> None:
    place = {name: row for row, name in enumerate(season.trainset["prediction_id"].tolist())}
    for flight in season.sample(sorted(place)):
        for name, value in features(season.history, flight).items():
            assert season.trainset[f"x_{name}"][place[flight]] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (flight, name)
        truth = season.history.arr_delay_min(flight)
        assert season.trainset["label"][place[flight]] == pytest.approx(math.nan if truth is None else truth, nan_ok=True)


def test_training_and_serving_saw_the_same(season: Season) -> None:
    """Every flight that was answered, every number, as float32."""
    online = season.plan.models["online"]
    place = {name: row for row, name in enumerate(season.trainset["prediction_id"].tolist())}
    ids = sorted(season.decisions)
    rows = np.array([place[flight] for flight in ids])
    saw = np.array([season.decisions[flight]["features"] for flight in ids], dtype=np.float32)
    columns = {name: number for number, name in enumerate(online.columns())}
    for entry in online.inputs:
        if entry.kind == "one_hot":
            texts = season.trainset[f"t_{entry.field}"][rows]
            for value in entry.values:
                assert np.array_equal(saw[:, columns[f"{entry.field}={value}"]], texts == value)
            continue
        trained = season.trainset[f"x_{entry.field}"][rows]
        if entry.kind == "is_missing":
            trained = np.isnan(trained).astype(np.float64)
        elif entry.missing is not None:
            trained = np.where(np.isnan(trained), entry.missing, trained)
        assert np.array_equal(saw[:, columns[entry.columns()[0]]], trained.astype(np.float32)), entry


def test_the_baseline_is_what_its_weights_say_and_each_share_that_of_the_arm_that_answered(season: Season) -> None:
    """Oracle: the weights as the file holds them, in float64."""
    static = LinearModel.from_bytes((season.case.folder / "models/static.safetensors").read_bytes())
    place = {name: row for row, name in enumerate(season.trainset["prediction_id"].tolist())}
    for prediction in season.predictions[::100]:
        row = place[prediction["prediction_id"]]
        x = []
        for column in static.columns:
            field, is_one_hot, value = column.partition("=")
            x.append(float(season.trainset[f"t_{field}"][row] == value) if is_one_hot else float(season.trainset[f"x_{field}"][row]))
        answer = float((((np.array(x) - static.mean) / static.scale) @ static.weights + static.bias)[0])
        assert prediction["shadows"] == pytest.approx([answer], rel=1e-9)
        arms = ["ridge", "net", "online"]
        assert prediction["arm"] in arms
        assert prediction["propensity"] == prediction["propensities"][arms.index(prediction["arm"])]


def test_the_topologys_own_tests_hold_with_models_of_these_weeks(season: Season, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["test", str(season.case.path)])
    out = capsys.readouterr().out
    assert code == 0, out
