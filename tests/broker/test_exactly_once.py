"""Each input is answered exactly once, whatever is killed: processes, a real broker, a read_committed consumer, and a ledger.

Oracle: the ledger of tests/broker/chaos.py.
"""

from __future__ import annotations

import hashlib
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stream_infer.codec.internal import PREDICTION
from stream_infer.edge.devbroker import Broker
from tests.broker.chaos import SESSION_S, SPENT, USERS, Chaos, Ledger, Stream, reach, records, until
from tests.support import create_topics, read_all
from tests.support_run import (
    EVENT,
    LINEAR,
    OUTCOME,
    Case,
    Running,
    event,
    event_row,
    outcome_row,
    running,
    score_case,
    twice,
    unframed,
)

pytestmark = pytest.mark.broker
PARTITIONS = 4
SHORT = ("--session-timeout-s", str(SESSION_S))


def spent_case(broker: Broker, folder: Path, name: str, **parts: Any) -> Case:
    case = score_case(broker.bootstrap, folder, name, partitions=PARTITIONS, **(SPENT | parts))
    (folder / "spent.safetensors").write_bytes(twice(("spent",)).to_bytes())
    return case


def under_chaos(case: Case, seed: int, *, s: float, gap_s: float, rows_per_s: float) -> tuple[Chaos, Ledger]:
    with ExitStack() as stack:
        chaos = Chaos(case, stack, seed)
        chaos.revive("a")
        until(lambda: records(case, "predictions") + chaos.done["start"] > 0, "somebody is there")
        stream = Stream(case, rows_per_s)
        stream.start()
        chaos.rage("ab", s / 2, gap_s)
        chaos.rage("abc", s / 2, gap_s)  # a third joins
        return chaos, chaos.quiet(stream.stop(), "ab")


@pytest.mark.timeout(240)
def test_each_input_is_answered_once_whatever_is_killed(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic)
    chaos, ledger = under_chaos(case, 1, s=16, gap_s=1.5, rows_per_s=300)

    print(f"{len(ledger.inputs)} inputs, {len(ledger.rejects)} rejected, {dict(chaos.done)}")
    assert ledger.problems() == []
    assert len(ledger.inputs) > 2_000
    assert chaos.done["kill -9"] >= 3


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [2, 3])
def test_each_input_is_answered_once_for_minutes(broker: Broker, topic: str, tmp_path: Path, seed: int) -> None:
    case = spent_case(broker, tmp_path, topic)
    chaos, ledger = under_chaos(case, seed, s=240, gap_s=2.0, rows_per_s=500)

    print(f"{len(ledger.inputs)} inputs, {len(ledger.rejects)} rejected, {dict(chaos.done)}")
    assert ledger.problems() == []
    assert chaos.done["kill -9"] >= 20
    assert chaos.done["stop"] >= 5


def test_a_worker_that_stands_still_for_longer_than_its_session_answers_nothing_twice(broker: Broker, topic: str, tmp_path: Path) -> None:
    """SIGSTOP under load; another takes over; SIGCONT: what it has in hand is someone else's by now."""
    case = spent_case(broker, tmp_path, topic)
    with ExitStack() as stack:
        chaos = Chaos(case, stack, 1)
        chaos.revive("ab")
        stream = Stream(case, 1500)
        stream.start()
        until(lambda: records(case, "predictions") > 500, "both work")
        for slot in "ab":
            chaos.stop_and_go(slot, 4.0)
            chaos.revive("ab")
            time.sleep(1.0)
        ledger = chaos.quiet(stream.stop(), "ab")

    assert ledger.problems() == []
    assert len(ledger.inputs) > 5_000


def test_at_least_once_loses_nothing_and_its_ids_tell_repeats(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic, out=", guarantee: at_least_once")
    with ExitStack() as stack:
        chaos = Chaos(case, stack, 1)
        chaos.revive("ab")
        stream = Stream(case, 1000)
        stream.start()
        for _ in range(3):
            until(lambda: records(case, "predictions") >= stream.sent // 2, "they work")
            chaos.kill("a")
            chaos.revive("ab")
        sent = stream.stop()
        seen: set[tuple[str, int]] = set()

        def answered() -> bool:
            chaos.revive("ab")
            ledger = Ledger(case).read()
            seen.update((str(r["source_partition"]), int(r["source_offset"])) for r in (*ledger.predictions, *ledger.rejects))
            return len(seen) >= sent

        until(answered, "every input is answered", timeout_s=60)
        for slot in "ab":
            chaos.leave(slot)
        ledger = Ledger(case).read()

    assert [line for line in ledger.counts() if "answered 0 times" in line or "never written" in line] == []
    ids = {(r["source_partition"], r["source_offset"]): r["prediction_id"] for r in ledger.predictions}
    assert all(ids[r["source_partition"], r["source_offset"]] == r["prediction_id"] for r in ledger.predictions)


# -- the same bytes --------------------------------------------------------------------------------------------------------------

LEARNING = """\
name: {name}
format: 1
streams:
  events: {{topic: {topic}-events, schema: event.avsc, key: user, id: event_id, event_time: at_ms, partitions: 2}}
  outcomes: {{topic: {topic}-outcomes, schema: outcome.avsc, key: user, event_time: at_ms, partitions: 2}}
  predictions: {{topic: {name}-predictions, partitions: 2}}
  rejects: {{topic: {name}-rejects, partitions: 1}}
models:
  twice: {model}
  online: {{kind: linear, learns: {{by: sgd, rate: 0.01}}, inputs: [{{name: spent, missing: 0}}, amount]}}
stages:
  before: {{kind: features, from: events, group_by: user, values: {{spent: {{mean: amount, window_s: 600}}}}}}
  score: {{kind: bandit, from: before, arms: [twice, online], policy: {{maillard: {{}}}}, share_min: 0.1, seed: 3}}
  outcome:
    kind: feedback
    predictions: score
    feedback: outcomes
    on: event_id
    label: label
    feedback_id: outcome_id
    wait_s_max: 100
    reward: {{closeness: {{scale: 100}}}}
  teach: {{kind: learn, from: outcome, every_s: 2000}}
  out: {{kind: emit, from: score, to: predictions, rejects: rejects}}
"""


def learning_case(case: Case, name: str) -> Case:
    folder = case.folder / name
    folder.mkdir()
    (folder / "event.avsc").write_text(EVENT)
    (folder / "outcome.avsc").write_text(OUTCOME)
    (folder / "twice.safetensors").write_bytes(twice().to_bytes())
    made = Case(case.bootstrap, folder, f"{case.name}-{name}")
    made.path.write_text(LEARNING.format(name=made.name, topic=case.name, model=LINEAR))
    return made


def digest(case: Case) -> str:
    """SHA-256 over the keys and values of all predictions, by partition and offset."""
    found = hashlib.sha256()
    for row in read_all(case.bootstrap, case.topic("predictions")):
        found.update(b"%d %b %b\n" % (row.partition, row.key or b"-", row.value or b"-"))
    return found.hexdigest()


@pytest.mark.timeout(240)
def test_a_deterministic_run_that_was_killed_gives_the_bytes_of_one_that_was_not(broker: Broker, topic: str, tmp_path: Path) -> None:
    inputs = Case(broker.bootstrap, tmp_path, topic[:30] + topic[-9:])
    create_topics(broker.bootstrap, {inputs.topic("events"): 2, inputs.topic("outcomes"): 2})
    rows = [event(number, float(number % 89), user=USERS[number * 7 % len(USERS)]) for number in range(24_000)]
    inputs.send("events", map(event_row, rows))
    told = [row for row in rows if int(row["amount"]) % 3]  # type: ignore[call-overload]
    inputs.send(
        "outcomes",
        (
            outcome_row(row["event_id"], row["at_ms"] + 9_500, 2 * row["amount"], outcome_id=f"o{row['event_id']}", user=row["user"])  # type: ignore[arg-type,operator]
            for row in told
        ),
    )
    calm, killed, shared = (learning_case(inputs, name) for name in ("calm", "killed", "shared"))

    calm.run()
    kills = 0
    for share in (0.1, 0.5):
        with running(killed, "--deterministic", *SHORT, "--state", str(killed.folder / "state")) as process:
            until(
                lambda: process.poll() is not None or reach(killed, "predictions") > share * len(rows),  # noqa: B023
                "it is in the middle",
                timeout_s=60,
            )
            kills += process.poll() is None
    killed.run(session_timeout_ms=round(1000 * SESSION_S), state=killed.folder / "state")
    with running(shared, "--deterministic", *SHORT, "--slot", "a") as one, running(shared, "--deterministic", *SHORT, "--slot", "b") as two:
        until(lambda: reach(shared, "predictions") > 0.2 * len(rows), "they share the work", timeout_s=60)
        one.kill()
        one.wait()
        with running(shared, "--deterministic", *SHORT, "--slot", "a") as again:  # ends at once what its slot left open
            assert two.wait(120) == 0, two.stderr_text()
            assert again.wait(120) == 0, again.stderr_text()

    predictions = [unframed(PREDICTION, row.value) for row in read_all(calm.bootstrap, calm.topic("predictions"))]
    assert len(predictions) == len(rows)
    assert len({p["model_version"] for p in predictions}) > 5
    assert len({p["policy_version"] for p in predictions}) > 5
    assert kills >= 1
    assert digest(killed) == digest(calm)
    assert digest(shared) == digest(calm)


# -- the ledger itself -----------------------------------------------------------------------------------------------------------

BROKEN = """\
import sys
from stream_infer.cli import main
from stream_infer.flow.committing import Committer
from stream_infer.flow.flow import Flow
from stream_infer.flow.task import Task
Committer.due = lambda committer, now, *, at_rest: True  # also in the middle of a burst, when some rows are read and not answered
Flow._chunk_rows = lambda flow, section: 50
Task.offsets = lambda task: {p: task.read_to(p) for p in task.inputs() if task.owned(p)}
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_that_commits_where_reading_stands_is_caught(broker: Broker, topic: str, tmp_path: Path) -> None:
    """The negative control: the ledger must see what this worker loses."""
    case = spent_case(broker, tmp_path, topic)
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)

    class Broken(Running):
        def __init__(self, case: Case, *arguments: str) -> None:
            interpreter, sys.executable = sys.executable, str(_wrapper(tmp_path, script))
            try:
                super().__init__(case, *arguments)
            finally:
                sys.executable = interpreter

    with ExitStack() as stack:
        chaos = Chaos(case, stack, 1, start=Broken)
        chaos.revive("a")
        lost: list[str] = []
        for _ in range(4):  # a kill may find nothing read ahead
            stream = Stream(case, 20_000, burst=2_000)
            stream.start()
            for _ in range(3):
                before = reach(case, "predictions")
                until(lambda: reach(case, "predictions") > before, "it works")  # noqa: B023
                chaos.kill("a")
                chaos.revive("a")
            stream.stop()
            until(lambda: _still(case), "it comes to rest", timeout_s=60)
            lost = [line for line in Ledger(case).read().counts() if "answered 0 times" in line]
            if lost:
                break

    assert lost


def _still(case: Case) -> bool:
    before = reach(case, "predictions")
    time.sleep(2.0)
    return reach(case, "predictions") == before


def _wrapper(folder: Path, script: Path) -> Path:
    """Stands for `python -m stream_infer`."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" "{script}" "$@"\n')
    path.chmod(0o755)
    return path
