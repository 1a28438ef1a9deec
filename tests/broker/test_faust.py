"""The bridge in a real Faust app on a real broker: a crash repeats predictions and loses none; a hosted worker is exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream_infer.edge.devbroker import Broker
from tests.support import create_topics, read_all, wait_until
from tests.support_run import Case, event, event_row, score_case

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("faust_app.py")
WAIT_S = 90.0


@contextmanager
def app(case: Case, hosted: str = "alone") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(APP), case.bootstrap, case.name, str(case.path), str(case.folder / "faust"), hosted]
    with (case.folder / "faust.txt").open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def told(case: Case) -> list[dict[str, float]]:
    return [json.loads(record.value or b"") for record in read_all(case.bootstrap, case.topic("told"))]


def until(case: Case, process: subprocess.Popen[bytes], count: int) -> None:
    """Until so many different rows are answered."""

    def there() -> bool:
        assert process.poll() is None, (case.folder / "faust.txt").read_text()[-3000:]
        return len({row["number"] for row in told(case)}) >= count

    wait_until(there, f"{count} rows are told", timeout_s=WAIT_S)


def asked(case: Case, first: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": case.bootstrap})
    for number in range(first, first + count):
        producer.produce(case.topic("asked"), value=json.dumps({"number": number, "amount": number / 2}).encode())
    assert producer.flush(30.0) == 0


@pytest.mark.slow
def test_a_crash_of_an_app_repeats_predictions_and_loses_none(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    create_topics(broker.bootstrap, {case.topic("asked"): 1, case.topic("told"): 1})
    asked(case, 0, 3000)
    with app(case) as process:
        until(case, process, 300)
        process.send_signal(signal.SIGSTOP)
        asked(case, 3000, 300)  # so that there is work left, however quick it was
        process.kill()  # nothing of it was announced
        process.wait()
    with app(case) as process:
        until(case, process, 3300)

    rows = told(case)
    assert {row["number"] for row in rows} == set(range(3300)), "a prediction was lost"
    assert all(row["answer"] == row["number"] + 1 for row in rows)
    assert len({row["version"] for row in rows}) == 1


@pytest.mark.slow  # half a minute, mostly Faust joining its group
def test_a_worker_in_an_app_answers_beside_its_agents_and_drains_with_it(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    create_topics(broker.bootstrap, {case.topic("asked"): 1, case.topic("told"): 1})
    case.send("events", (event_row(event(number, float(number))) for number in range(500)))
    asked(case, 0, 20)
    with app(case, "worker") as process:
        until(case, process, 20)
        wait_until(lambda: len(case.predictions()) >= 500, "500 rows are answered", timeout_s=WAIT_S)
        process.terminate()
        process.wait(30.0)

    rows = case.predictions()
    assert sorted(row["answer"] for row in rows) == [2.0 * number + 1 for number in range(500)]
