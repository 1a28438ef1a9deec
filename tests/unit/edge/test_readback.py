"""What a run wrote, read back as columns. Oracles: the records as fastavro reads them, and the rows that were sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from stream_infer.cli import load_plan
from stream_infer.edge.readback import Outcome, read_outcome
from stream_infer.edge.workers import load_models
from stream_infer.errors import EnvironmentMissing
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.play import make_broker, run_to_end, send
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import Plan
from tests.support_run import BEGIN_MS, FEEDBACK, OUTCOMES, event, score_case

Row = tuple[str, float, float | None, str]  # event, seconds after the beginning, label, name
FIRST: list[Row] = [
    ("e1", 2.0, 5.0, "a"),
    ("e1", 2.5, 99.0, "a"),  # the same row again
    ("e1", 3.0, 7.0, "b"),
    ("e1", 4.0, 6.0, "c"),
    ("e2", 3.0, None, "d"),  # says nothing
    ("e2", 12.0, 1.0, "e"),  # the last moment that counts
    ("e3", 13.001, 1.0, "f"),  # too late
    ("e99", 13.5, 1.0, "g"),
]


def plan_of(folder: Path, feedback: str = FEEDBACK) -> Plan:
    return load_plan(score_case("", folder, "read", topics=False, partitions=2, more_streams=OUTCOMES, feedback=feedback).path)


def played(plan: Plan, events: int = 5) -> SimBroker:
    broker = make_broker(plan)
    send(broker, plan.streams["events"], [event(number, user=f"u{number}") for number in range(events)])
    rows = [
        {"event_id": name, "user": f"u{name[1:]}", "at_ms": BEGIN_MS + round(1000 * at), "label": label, "outcome_id": own}
        for name, at, label, own in FIRST
    ]
    send(broker, plan.streams["outcomes"], rows)
    run_to_end(plan, broker, load_models(plan, {}))
    return broker


def outcome_of(plan: Plan, broker: SimBroker) -> Outcome:
    return read_outcome(plan, SimTransport(broker, "reader", "reader.0"))  # type: ignore[arg-type]  # reading is all it does


def by_id(outcome: Outcome, column: np.ndarray) -> dict[str, float]:
    assert outcome.predictions.prediction_id is not None
    return dict(zip([str(name) for name in outcome.predictions.prediction_id.to_list()], column.tolist(), strict=True))


def test_predictions_are_what_was_answered(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    found = outcome_of(plan, played(plan)).predictions
    assert len(found) == 5
    assert sorted(found.answer.tolist()) == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert sorted(found.event_time.tolist()) == [BEGIN_MS + 1000 * number for number in range(5)]
    assert (found.arms, found.propensities.tolist(), found.shadows.shape) == (("twice",), [[1.0]] * 5, (5, 0))


def test_the_digest_is_over_the_bytes_by_address_whatever_partition_they_lie_in(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    broker = played(plan)
    values = []
    for partition in (0, 1):
        for fetched in SimTransport(broker, "reader", "reader.1").read(("read-predictions", partition), 0):
            values += [(partition, offset, (value or b"")[5:]) for offset, value in enumerate(fetched.values.raw())]
    # One event of a partition after the other is answered into the same partition: its order there is the order of addresses.
    whole = hashlib.sha256()
    for _, _, value in sorted(values):
        whole.update(len(value).to_bytes(4, "big") + value)
    assert outcome_of(plan, broker).sha256 == whole.hexdigest()


@pytest.mark.parametrize(
    ("take", "label", "known_at_s"), [("first", 5.0, 2.0), ("last", 6.0, 4.0), ("sum", 18.0, 4.0), ("max", 7.0, 4.0)]
)
def test_labels_are_those_of_the_join(tmp_path: Path, take: str, label: float, known_at_s: float) -> None:
    plan = plan_of(tmp_path, FEEDBACK.replace("    reward:", f"    take: {take}\n    reward:"))
    outcome = outcome_of(plan, played(plan))
    wanted = {"e0": np.nan, "e1": label, "e2": 1.0, "e3": np.nan, "e4": np.nan}
    assert by_id(outcome, outcome.labels.label) == pytest.approx(wanted, nan_ok=True)
    assert by_id(outcome, outcome.labels.feedback_time)["e1"] == BEGIN_MS + 1000 * known_at_s


def test_where_no_word_is_a_word_it_is_the_label(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, FEEDBACK.replace("    reward:", "    absent: 0\n    reward:"))
    outcome = outcome_of(plan, played(plan))
    assert by_id(outcome, outcome.labels.label) == {"e0": 0.0, "e1": 5.0, "e2": 1.0, "e3": 0.0, "e4": 0.0}
    assert by_id(outcome, outcome.labels.feedback_time)["e3"] == BEGIN_MS + 13_000


def test_without_feedback_there_are_no_labels(tmp_path: Path) -> None:
    plan = load_plan(score_case("", tmp_path, "read", topics=False).path)
    broker = make_broker(plan)
    send(broker, plan.streams["events"], [event(1)])
    run_to_end(plan, broker, load_models(plan, {}))
    assert np.isnan(outcome_of(plan, broker).labels.label).all()


def test_no_predictions_are_told_with_what_to_do(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(EnvironmentMissing) as found:
        outcome_of(plan, make_broker(plan))
    assert str(found.value).splitlines() == [
        "topic read-predictions holds no predictions",
        "    fix:      run the topology first, and send it events that pass `where`",
    ]
