"""A model that learns, held at one of its versions while it runs. Oracle: the version that each answer names, offset by offset."""

from __future__ import annotations

from stream_infer.flow.versions import MARK_KEY
from stream_infer.models.rollout import IN_EFFECT, PIN, UNPIN, Change, Told, read_record
from stream_infer.models.version import ModelVersion
from tests.support_flow import Pay, payment, plan_of

LEARNS = """
models:
  online: {kind: linear, learns: {by: sgd, rate: 0.01}, inputs: [amount], versions_kept: 1}
stages:
  score: {kind: model, from: payments, model: online}
  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 3, reward: {closeness: {scale: 9}}}
  teach: {kind: learn, from: outcome, every_s: 2}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def feed(pay: Pay, numbers: range) -> None:
    for n in numbers:
        pay.send("payments", payment(n, amount=float(n % 7)))
        pay.send("told", {"payment": f"p{n}", "card": "a", "truth": 3.0 * (n % 7), "at_ms": n * 1000 + 500})


def learned(pay: Pay) -> dict[int, bytes]:
    records, _ = pay.broker.log(("pay.models", 0)).fetch(0, 1 << 60)
    blobs = [record.value for record in records if record.key != MARK_KEY and record.value is not None]
    return {ModelVersion.from_bytes(blob).version: blob for blob in blobs}


def say(pay: Pay, number: int, what: str, version: int = 0, payload: bytes = b"", at_ms: int = 0) -> None:
    said = Change("online", number, what, version, "ann", "it went astray", at_ms, f"w{number}", payload=payload)
    pay.broker.append(pay.plan.changes_topic, [b"online"], [said.to_bytes()])


def told(pay: Pay) -> list[tuple[str, int, int]]:
    records = [read_record(v) for fetched in pay.broker.dump(pay.plan.changes_topic) for v in fetched.values.raw() if v is not None]
    return [(r.what, r.version, r.offset) for r in records if isinstance(r, Told)]


def by(pay: Pay) -> list[int]:
    """The version that answered, by offset."""
    rows = sorted((read.row for read in pay.predictions()), key=lambda row: int(str(row["source_offset"])))
    return [int(str(row["model_version"])[1:].split("-")[0]) if str(row["model_version"]).startswith("v") else 0 for row in rows]


def test_a_pinned_version_answers_until_it_is_let_go_and_then_the_newest_does() -> None:
    pay = Pay(plan_of(LEARNS))
    worker = pay.worker()
    for first in range(0, 60, 4):
        feed(pay, range(first, first + 4))
        pay.step(worker, times=10)
    older = sorted(learned(pay))[2]
    assert by(pay)[-1] > older
    say(pay, 1, PIN, older, learned(pay)[older])
    pay.step(worker)
    for first in range(60, 100, 4):
        feed(pay, range(first, first + 4))
        pay.step(worker, times=10)
        if first == 80:  # another owner: what is pinned is state
            worker.close()
            worker = pay.worker("1")
    ((what, version, offset),) = told(pay)
    assert (what, version) == (IN_EFFECT, older)
    assert set(by(pay)[offset:]) == {older}
    assert older not in by(pay)[offset - 10 : offset]
    assert max(learned(pay)) > 30, "it goes on learning"
    say(pay, 2, UNPIN, older)
    pay.step(worker)
    feed(pay, range(100, 104))
    pay.step(worker)
    assert told(pay)[-1][0] == IN_EFFECT
    assert min(by(pay)[100:]) > 30


def test_of_two_pins_at_once_the_first_holds() -> None:
    pay = Pay(plan_of(LEARNS))
    worker = pay.worker()
    for first in range(0, 40, 4):
        feed(pay, range(first, first + 4))
        pay.step(worker, times=10)
    one, two = sorted(learned(pay))[1:3]
    say(pay, 1, PIN, one, learned(pay)[one])
    say(pay, 1, PIN, two, learned(pay)[two])
    pay.step(worker)
    feed(pay, range(40, 44))
    pay.step(worker)
    assert set(by(pay)[40:]) == {one}


def test_a_deterministic_run_pins_at_an_event_time_and_repeats() -> None:
    first = Pay(plan_of(LEARNS))
    feed(first, range(60))
    first.settle(first.worker(deterministic=True))
    kept = learned(first)
    version = sorted(kept)[1]
    found = []
    for seed in range(3):
        pay = Pay(plan_of(LEARNS), seed=seed)
        pay.broker.slow_fetch_share = 0.4 * seed
        feed(pay, range(60))
        say(pay, 1, PIN, version, kept[version], at_ms=40_000)
        pay.settle(pay.worker(deterministic=True))
        found.append([read.value for read in pay.predictions()])
        assert set(by(pay)[41:]) == {version}
        assert by(pay)[:40] == by(first)[:40]
    assert found[0] == found[1] == found[2]
