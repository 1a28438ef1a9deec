"""Functions of every sort on a real broker, with a worker killed in between. Oracle: the functions, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.edge.devbroker import Broker
from tests.admitted_functions import RAISES
from tests.support import wait_until
from tests.support_run import Case, event, event_row, running, score_case

pytestmark = pytest.mark.broker
STAGES = """\
  checked: {{kind: function, from: events, function: not_negative, per: row, reads: [amount]}}
  doubled:
    kind: function
    from: checked
    function: twice_slowly
    per: row
    reads: [amount]
    gives: {{slow: number}}
    outside: {outside}
"""
AFTER = """\
  noted: {kind: function, from: score, function: twice_batch, reads: [amount], gives: {twice: number}, workers: 2}
"""
OUTSIDE = "{timeout_ms: 5000, concurrency_max: 16, retries: 3, backoff_ms: 1, breaker: {failures: 100}}"
MODULE = ("--admit", "tests.admitted_functions")
SHORT = ("--session-timeout-s", "2")  # after it a killed process is missed


def amounts(count: int) -> list[float]:
    return [-1.0 if number % 17 == 0 else RAISES if number % 41 == 0 else float(number) for number in range(count)]


def case_of(broker: Broker, topic: str, folder: Path) -> Case:
    case = score_case(
        broker.bootstrap,
        folder,
        topic,
        model="{kind: linear, artifact: twice.safetensors, inputs: [amount]}",
        more_stages=STAGES.format(outside=OUTSIDE),
        scored="doubled",
    )
    text = case.path.read_text().replace("  out: {kind: emit, from: score", AFTER + "  out: {kind: emit, from: noted")
    case.path.write_text(text)
    return case


def test_functions_answer_each_row_once_and_in_order_whatever_is_killed(broker: Broker, topic: str, tmp_path: Path) -> None:
    case, given = case_of(broker, topic, tmp_path), amounts(600)
    case.send("events", (event_row(event(number, amount)) for number, amount in enumerate(given[:300])))
    with running(case, *MODULE, *SHORT) as process:
        wait_until(lambda: len(case.predictions()) > 50 or process.poll() is not None, "some rows are answered", timeout_s=60)
        assert process.poll() is None, process.stderr_text()
        process.kill()
        process.wait()
    case.send("events", (event_row(event(number + 300, amount)) for number, amount in enumerate(given[300:])))
    bad = [number for number, amount in enumerate(given) if amount < 0 or amount == RAISES]
    good = [number for number in range(600) if number not in bad]
    with running(case, *MODULE, *SHORT) as process:
        wait_until(lambda: len(case.predictions()) + len(case.rejects()) >= 600 or process.poll() is not None, "all rows are", timeout_s=90)
        assert process.drained() == 0, process.stderr_text()

    assert [row["answer"] for row in case.predictions()] == [2 * given[number] + 1 for number in good]
    rejects = {row["source_offset"]: (row["stage"], row["reason"]) for row in case.rejects()}
    right = {
        number: ("checked", "amount -1 is negative")
        if given[number] < 0
        else ("noted", f"ValueError: {RAISES:g} is not a number that I like")
        for number in bad
    }
    assert rejects == right
    assert len(case.rejects()) == len(bad)
