"""Every small topology has models and rows to try it with. Oracle: counts of what was sent, and what load.yaml says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from loadgen.drawn import FILE, DrawnSettings, tables
from loadgen.merge import MergedLog
from loadgen.tables import Table
from loadgen.wiring import read_wires
from stream_infer.cli import load_plan
from stream_infer.edge.call_setup import answerers, held_lookups
from stream_infer.edge.workers import load_models
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Numbers, Text
from stream_infer.sim.play import make_broker, read, run_to_end
from topologies.make_models import made
from topologies.rules.order_rules import STREAM_INFER_FUNCTIONS, ZONES

FOLDER = Path("topologies")
SMALL = sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))
OF_THEIR_OWN = {"bad", "flights", "payments"}  # loadgen has kinds for these
OUTPUTS = {"canary": "estimates", "cascade": "verdicts", "ensemble": "scores", "explain": "answers"}
OUTPUTS |= {"online_store": "scores", "pipeline": "alarms", "rules": "promises", "shadow": "estimates"}
SETTINGS = DrawnSettings(rate=2, duration_s=300, keys=20)


def topology(name: str) -> Path:
    (path,) = [path for path in (FOLDER / name).glob("*.yaml") if path.name != FILE]
    return path


def sent(name: str) -> dict[str, Table]:
    return tables(topology(name), read_wires(topology(name)), SETTINGS)


def test_there_is_data_for_every_topology() -> None:
    assert set(SMALL) == {path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_")} - OF_THEIR_OWN


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_small_topology_answers_its_rows(name: str) -> None:
    plan, given = load_plan(topology(name)), sent(name)
    broker = make_broker(plan)
    log = MergedLog(given, read_wires(topology(name)))
    piece = log.piece(0, len(log))
    for topic, key, value, time in zip(piece.topics, piece.keys, piece.values, piece.timestamps, strict=True):
        broker.append(topic, [key], [value], timestamps=np.array([time]))
    run_to_end(plan, broker, load_models(plan, {}), answerers(plan, STREAM_INFER_FUNCTIONS) | held_lookups(plan, {}))
    answers = read(broker, plan.streams[OUTPUTS[name]])

    assert len({row["prediction_id"] for row in answers}) == len(answers) == answered(name, given)


def answered(name: str, given: Mapping[str, Table]) -> int:
    """How many rows are answered: all, but for orders that cannot be delivered."""
    flowing = next(table for stream, table in given.items() if stream != "nightly")
    if name != "rules":
        return len(flowing)
    country, weight, km = (flowing.columns[field].to_list() for field in ("country", "weight_kg", "distance_km"))
    return sum(where in ZONES and kg is not None for where, kg, _ in zip(country, weight, km, strict=True))


def test_the_models_are_those_that_are_shipped() -> None:
    assert {path: path.read_bytes() for path in made()} == made()


def test_rows_are_as_the_file_says() -> None:
    loans = sent("explain")
    asked, repaid = loans["applications"], loans["repayments"]
    assert len(asked) == len(repaid) == 600
    ids, of = asked.columns["application_id"], repaid.columns["application_id"]
    assert isinstance(ids, Text)
    assert isinstance(of, Text)
    assert len(set(ids.raw())) == 600
    assert set(of.raw()) == set(ids.raw())
    income = asked.columns["income_k"]
    assert isinstance(income, Numbers)
    assert 10 <= income.values.min() < 13
    assert 97 < income.values.max() <= 100
    assert set(asked.columns["job"].to_list()) == {"clerk", "farmer", "nurse"}
    delays = np.sort(repaid.event_time) - np.sort(asked.event_time)
    assert 700_000 < delays.mean() < 1_100_000  # 900 s on average
    table = sent("online_store")["nightly"]
    assert len(table) == SETTINGS.keys
    keys = table.columns["user_id"]
    views = sent("online_store")["views"].columns["user_id"]
    assert isinstance(keys, Text)
    assert isinstance(views, Text)
    assert set(views.raw()) <= set(keys.raw())


def test_the_same_settings_give_the_same_rows() -> None:
    one, two = (sent("canary")["trips"] for _ in range(2))
    assert one.event_time.tolist() == two.event_time.tolist()
    assert one.columns["km"].to_list() == two.columns["km"].to_list()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claims: {amount: {from: 0, to: 1}}", "claims.country is not drawn"),
        ("orders: {}", "has no stream orders"),
        ("claims: {country: {only: [1]}}", "claims.country"),
        ("claims: {follows: trips}", "claims follows trips"),
    ],
)
def test_a_file_that_does_not_fit_is_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(EnvironmentMissing, match=words):
        tables(tmp_path / "cascade.yaml", read_wires(topology("cascade")), SETTINGS)


def test_without_a_file_it_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="there is no such file"):
        tables(tmp_path / "cascade.yaml", {}, SETTINGS)
