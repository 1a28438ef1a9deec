"""`stream-infer run` as people run it: live, in a process of its own, told to stop and started again.

Oracle: the answer to an event is 2 · (what its user spent before it) + 1, whoever answers it, and in whatever pieces.
"""

from __future__ import annotations

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream_infer.cli import main
from stream_infer.edge import devbroker, kafka_watchdog
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.host import Host
from tests.support import Row, admin, read_all, wait_until
from tests.support_run import Case, Running, address, answers, event, event_row, running, score_case, twice

pytestmark = pytest.mark.broker
SPENT = {
    "model": "{kind: linear, artifact: spent.safetensors, inputs: [{name: spent, missing: 0}]}",
    "more_stages": "  before: {kind: features, from: events, group_by: user, values: {spent: {sum: amount}}}\n",
    "scored": "before",
}
USERS = ("ann", "bob", "cyd", "dan", "eve")


def spent_case(broker: Broker, folder: Path, name: str, **parts: Any) -> Case:
    case = score_case(broker.bootstrap, folder, name, **(SPENT | parts))
    (folder / "spent.safetensors").write_bytes(twice(("spent",)).to_bytes())
    return case


def events(first: int, last: int) -> list[dict[str, Any]]:
    return [event(number, number % 7, user=USERS[number % len(USERS)]) for number in range(first, last)]


def rows(found: Sequence[dict[str, Any]], partitions: int = 1) -> list[Row]:
    return [event_row(row, USERS.index(row["user"]) % partitions) for row in found]


def expected(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    out = {}
    for row in found:
        out[row["event_id"]] = 2 * spent[row["user"]] + 1
        spent[row["user"]] += row["amount"]
    return out


def page(process: Running) -> Callable[[str], tuple[int, str]]:
    """GET of the status page of a process."""
    wait_until(lambda: "http://" in process.stderr_text() or process.poll() is not None, "the process tells its status page")
    found = re.search(r"http://[\d.]+:\d+", process.stderr_text())
    assert found, process.stderr_text()

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(found[0] + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    return get


def test_events_are_answered_as_they_come_and_a_stop_loses_nothing(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic, partitions=2)
    sent = events(0, 40)
    with running(case, "--port", "0") as process:
        get = page(process)
        wait_until(lambda: get("/readyz") == (200, "ok\n"), "ready")
        for first in range(0, 40, 10):  # no piece waits for the next
            case.send("events", rows(sent[first : first + 10], 2))
            wait_until(lambda: len(case.predictions()) == first + 10, "answered while it runs", timeout_s=10)  # noqa: B023
        assert get("/livez") == (200, "ok\n")
        assert get("/startupz") == (200, "ok\n")
        status = json.loads(get("/status")[1])
        assert status["topology"] == case.name
        assert sorted(status["tasks"]) == [f"{status['tasks'][0].partition('[')[0]}[{p}]" for p in (0, 1)]
        assert status["wrong"] == {"alive": [], "ready": [], "started": []}
        wait_until(lambda: json.loads(get("/status")[1])["rows_answered"] == 40, "counted")
        metric = f'records_out_total{{pipeline="{case.name}",topic="{case.topic("predictions")}"}} 40.0'
        wait_until(lambda: metric in get("/metrics")[1], "counted")
        more = events(40, 2040)
        sent += more
        case.send("events", rows(more, 2))
        assert process.drained() == 0
        assert "stopping: finishing what is in flight" in process.stderr_text()
    at_stop = case.predictions()
    assert answers(at_stop).items() <= expected(sent).items()
    more = events(2040, 2100)
    sent += more
    case.send("events", rows(more, 2))
    with running(case) as process:
        wait_until(lambda: len(case.predictions()) == len(sent), "the second process goes on where the first stopped")
        assert process.drained() == 0
    assert answers(case.predictions()) == expected(sent)
    assert case.rejects() == []


def test_what_brief_predictions_leave_out_can_be_looked_at(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = spent_case(broker, tmp_path, topic, out=", fields: [prediction_id, answer]")
    for command in (["show", str(case.path), "predictions"], ["explain", str(case.path), "--prediction", "e1"], ["replay", str(case.path)]):
        assert main([*command, "--bootstrap", case.bootstrap]) == 69
        assert f"topic {case.topic('predictions')} is not there" in capsys.readouterr().err
    sent = events(0, 10)
    with running(case) as process:
        wait_until(lambda: case.topic("predictions") in admin(case.bootstrap).list_topics(timeout=10.0).topics, "it works")
        case.send("events", rows(sent))
        wait_until(lambda: len(read_all(case.bootstrap, case.topic("predictions"))) == 10, "answered")
        assert process.drained() == 0
    assert main(["show", str(case.path), "decisions", "--bootstrap", case.bootstrap]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["prediction_id"] for row in found] == [row["event_id"] for row in sent]
    assert [(row["source_topic"], row["source_partition"], row["source_offset"]) for row in found] == [
        (case.topic("events"), 0, offset) for offset in range(10)
    ]
    assert main(["explain", str(case.path), "--prediction", "e3", "--bootstrap", case.bootstrap]) == 0
    assert capsys.readouterr().out.startswith("e3  identical\n")
    assert main(["show", str(case.path), "nothing", "--bootstrap", case.bootstrap]) == 69
    assert "has no rows in `nothing`" in capsys.readouterr().err


def test_what_a_killed_process_left_open_is_taken_up(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic)
    sent = events(0, 3000)
    with running(case, "--session-timeout-s", "2") as process:
        case.send("events", rows(sent[:10]))
        wait_until(lambda: len(case.predictions()) == 10, "answered")
        case.send("events", rows(sent[10:]))
        process.kill()
        process.wait()
    with running(case, "--session-timeout-s", "2"):
        wait_until(lambda: len(case.predictions()) == len(sent), "the second process goes on where the first was killed")
    assert answers(case.predictions()) == expected(sent)


def test_two_processes_share_the_partitions_and_one_takes_over_when_the_other_stops(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic, partitions=2)
    sent = events(0, 20)
    case.send("events", rows(sent, 2))
    with running(case, "--slot", "a", "--port", "0") as one, running(case, "--slot", "b", "--port", "0") as other:
        pages = page(one), page(other)

        def tasks() -> list[int]:
            return [len(json.loads(get("/status")[1])["tasks"]) for get in pages]

        wait_until(lambda: tasks() == [1, 1], "each has a partition")
        more = events(20, 40)
        sent += more
        case.send("events", rows(more, 2))
        wait_until(lambda: len(case.predictions()) == 40, "both answer")
        assert one.drained() == 0
        more = events(40, 60)
        sent += more
        case.send("events", rows(more, 2))
        wait_until(lambda: len(case.predictions()) == 60, "the other took over")
        assert other.drained() == 0
    assert answers(case.predictions()) == expected(sent)


def test_at_least_once_answers_everything_and_repeats_can_be_dropped_by_id(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic, out=", guarantee: at_least_once")
    sent = events(0, 1000)
    with running(case, "--session-timeout-s", "2") as process:
        case.send("events", rows(sent[:500]))
        wait_until(lambda: len(case.predictions()) == 500, "answered")
        case.send("events", rows(sent[500:]))
        process.kill()
        process.wait()
    with running(case, "--session-timeout-s", "2") as process:
        wait_until(lambda: len({address(p) for p in case.predictions()}) == 1000, "all answered")
        assert process.drained() == 0
    kept = {address(p): p for p in reversed(case.predictions())}  # the first of each
    assert sorted(p["prediction_id"] for p in kept.values()) == sorted(expected(sent))


def test_two_deterministic_runs_answer_together_what_one_run_over_everything_answers(broker: Broker, topic: str, tmp_path: Path) -> None:
    """Each on what the one before left on the broker alone. Oracle beside it: what each user spent before."""
    sent = events(0, 600)
    folders = {part: tmp_path / part for part in ("parts", "whole")}
    for folder in folders.values():
        folder.mkdir()
    parts, whole = (spent_case(broker, folder, f"{part}-{topic[-20:]}", partitions=2) for part, folder in folders.items())
    for first, after in ((0, 250), (250, 600)):
        parts.send("events", rows(sent[first:after], 2))
        assert parts.run().worker.stats.records_read == after - first
    assert parts.run().worker.stats.records_read == 0
    whole.send("events", rows(sent, 2))
    whole.run()

    def told(case: Case) -> list[tuple[Any, ...]]:
        fields = ("prediction_id", "event_time", "answer", "model_version", "source_partition", "source_offset")
        return [tuple(row[field] for field in fields) for row in case.predictions()]

    assert told(parts) == told(whole)
    assert answers(parts.predictions()) == expected(sent)
    assert parts.rejects() == []


def test_after_an_error_the_work_is_given_up_and_others_take_over_at_once(broker: Broker, topic: str, tmp_path: Path) -> None:
    """Not only when the session (10 s) and the transaction (30 s) have timed out."""
    case = spent_case(broker, tmp_path, topic, out=", commit_interval_ms: 60000")
    sent = events(0, 9_000)
    case.send("events", rows(sent))
    host = case.host(deterministic=False)

    def fail() -> None:
        if host.worker.stats.rows_answered > sum(host.worker.pace.latency_rows):  # a transaction is open
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        host.run(fail)
    began = time.monotonic()
    other = case.run(slot="other")
    took = time.monotonic() - began
    assert took < 8, took
    assert other.worker.stats.rows_answered > 0
    assert answers(case.predictions()) == expected(sent)


@pytest.mark.slow
@pytest.mark.skipif("STREAM_INFER_BOOTSTRAP" in os.environ, reason="STREAM_INFER_BOOTSTRAP: an outside broker is not ours to stop")
@pytest.mark.parametrize("during", ["rest", "work"])
def test_an_outage_of_the_broker_is_survived(broker: Broker, tmp_path: Path, during: str) -> None:
    """By the process itself, or where its client hangs by the next one: it ends with 75, and is started again as any supervisor would.

    Without a new producer the first commit afterwards would wait for ever (librdkafka #5511).
    """
    folder = tmp_path / "cluster"
    own = devbroker.start(folder)
    try:
        case = spent_case(own, tmp_path, "outage")
        sent = events(0, 40_000)
        case.send("events", rows(sent[:10]))
        with running(case, "--session-timeout-s", "3") as process:
            wait_until(lambda: len(case.predictions()) == 10, "answered")
            if during == "work":
                case.send("events", rows(sent[10:]))
            devbroker.stop(folder)
            time.sleep(5)  # the outage itself
            assert devbroker.start(folder).bootstrap == own.bootstrap
            if during == "rest":
                case.send("events", rows(sent[10:]))
            wait_until(lambda: len(case.predictions()) == len(sent) or process.poll() is not None, "answered after it", timeout_s=120)
            assert process.poll() in (None, kafka_watchdog.EXIT_CODE), process.stderr_text()
            assert len(process.stderr_text().splitlines()) < 60
            assert process.poll() is not None or process.drained() == 0
        if len(case.predictions()) < len(sent):
            with running(case, "--session-timeout-s", "3") as process:
                wait_until(lambda: len(case.predictions()) == len(sent), "answered by the next process", timeout_s=60)
                assert process.drained() == 0
        assert answers(case.predictions()) == expected(sent)
    finally:
        devbroker.stop(folder)


# -------------------------------------------------------------------------------------------------------------- snapshots


def live(case: Case, until: int, folder: Path | None = None) -> Host:
    """In this process, live, until so many predictions are committed."""
    host = case.host(deterministic=False, state=folder, snapshot_every_s=0.0)

    def watch() -> None:
        if host.worker.pace.written.get(case.topic("predictions"), 0) >= until:
            host.stop()

    host.run(watch)
    return host


def changelog_records(case: Case, host: Host) -> int:
    return len(read_all(case.bootstrap, host.plan.sections[0].state_topic))


def test_a_restart_reads_a_snapshot_and_only_the_changelogs_tail(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic)
    sent = events(0, 300)
    for first in range(0, 300, 100):
        case.send("events", rows(sent[first : first + 100]))
        host = live(case, 100, tmp_path / "state")
    whole = changelog_records(case, host)
    assert 0 < host.worker.pace.restored_records < whole / 2
    assert answers(case.predictions()) == expected(sent)


def test_a_snapshot_with_a_flipped_bit_is_passed_over(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = spent_case(broker, tmp_path, topic)
    sent = events(0, 20)
    case.send("events", rows(sent[:10]))
    whole = changelog_records(case, live(case, 10, tmp_path / "state"))
    (path,) = (tmp_path / "state").glob("*.snapshot")
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    case.send("events", rows(sent[10:]))
    host = live(case, 10, tmp_path / "state")
    assert host.worker.pace.restored_records == whole
    assert answers(case.predictions()) == expected(sent)
