"""Answers in Redis: whatever happens to Redis, to projectors and to workers, it ends as a fold over the committed answers.

Oracle: the answers' topic read back by fastavro, folded in a dict; the answers themselves are held to account by the ledger of chaos.
"""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stream_infer.cli import load_plan
from stream_infer.codec.internal import PREDICTION
from stream_infer.edge import devredis
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.devredis import DevRedis
from stream_infer.edge.projecting import Projector
from tests.broker.chaos import Ledger
from tests.support import Row, read_all, wait_until
from tests.support_redis import client_of, contents
from tests.support_run import Case, Running, event, event_row, running, score_case, twice, unframed

pytestmark = pytest.mark.broker
USERS = tuple(f"user-{n}" for n in range(7))
PARTITIONS = 2
SESSION = ("--session-timeout-s", "2")
STORE = """\
  kept:
    kind: store
    from: score
    redis: {url: {env: TEST_REDIS_URL}, timeout_ms: 300}
    key: "last:{prediction_id}"
    fields: [answer, arm, event_time]
"""
SPENT = {
    "model": "{kind: linear, artifact: spent.safetensors, inputs: [{name: spent, missing: 0}]}",
    "more_stages": "  before: {kind: features, from: events, group_by: user, values: {spent: {sum: amount}}}\n",
    "scored": "before",
    "feedback": STORE,
}


@pytest.fixture
def redis_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevRedis]:
    """A server of the test's own, for it is stopped, emptied and killed."""
    with devredis.running() as server:
        monkeypatch.setenv("TEST_REDIS_URL", server.url)
        yield server


def store_case(broker: Broker, folder: Path, name: str) -> Case:
    case = score_case(broker.bootstrap, folder, name, partitions=PARTITIONS, **SPENT)
    (folder / "spent.safetensors").write_bytes(twice(("spent",)).to_bytes())
    return case


def rows(first: int, last: int) -> list[Row]:
    """Events whose ids come again: of each id the newest answer counts."""
    made = []
    for number in range(first, last):
        user = USERS[number % len(USERS)]
        made.append(event_row(event(number, number % 5, user=user) | {"event_id": f"e{number % 11}"}, USERS.index(user) % PARTITIONS))
    return made


def fold(case: Case) -> dict[bytes, dict[bytes, bytes]]:
    newest: dict[bytes, tuple[tuple[int, int, int], dict[str, Any]]] = {}
    latest: dict[int, int] = {}
    for row in read_all(case.bootstrap, case.topic("predictions")):
        record = unframed(PREDICTION, row.value)
        latest[row.partition] = max(latest.get(row.partition, 0), row.timestamp_ms)
        key, place = f"last:{record['prediction_id']}".encode(), (latest[row.partition], row.partition, row.offset)
        if key not in newest or newest[key][0] < place:
            newest[key] = (place, record)
    return {
        key: {
            b"answer": repr(r["answer"]).encode(),
            b"arm": r["arm"].encode(),
            b"event_time": str(round(r["event_time"].timestamp() * 1000)).encode(),
            b"_from": f"{p}:{o}:{t}".encode(),
        }
        for key, ((t, p, o), r) in newest.items()
    }


def committed(case: Case) -> int:
    """Answers so far; the topic may not be there yet."""
    return len(case.predictions())


def agrees(case: Case, client: Any) -> bool:
    return contents(client, "last:*") == fold(case)


def test_answers_of_a_run_are_in_redis_and_its_metrics_say_so(broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path) -> None:
    case = store_case(broker, tmp_path, topic)
    client = client_of(redis_here)
    case.send("events", rows(0, 100))
    with running(case, "--port", "0") as process:
        wait_until(lambda: committed(case) == 100 and agrees(case, client), "the answers are in Redis")
        assert len(contents(client, "last:*")) == 11
        wait_until(lambda: 'store_lag_records{pipeline="' in metrics(process), "metrics tell of the store")
        wait_until(lambda: value(metrics(process), "store_lag_records") == 0, "nothing is behind")
        assert process.drained() == 0
    client.close()


def metrics(process: Running) -> str:
    wait_until(lambda: "metrics: http://" in process.stderr_text() or process.poll() is not None, "the process tells its status page")
    found = re.search(r"http://[\d.:]+/metrics", process.stderr_text())
    assert found, process.stderr_text()
    with urllib.request.urlopen(found[0], timeout=5) as answer:
        return str(answer.read().decode())


def value(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"stream_infer_{name}{{"))


@pytest.mark.slow
def test_redis_follows_the_committed_answers_through_everything(
    broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path
) -> None:
    """Stopped, emptied, killed and made anew; the run killed and started again; a projector beside it all the time."""
    case = store_case(broker, tmp_path, topic)
    client = client_of(redis_here)
    case.send("events", rows(0, 100))
    with running(case, *SESSION):
        wait_until(lambda: committed(case) == 100 and agrees(case, client), "the first answers are in Redis")
        assert len(contents(client, "last:*")) == 11
        os.kill(redis_here.pid, signal.SIGSTOP)
        case.send("events", rows(100, 200))
        wait_until(lambda: committed(case) == 200, "answers go on while Redis stands still")
        os.kill(redis_here.pid, signal.SIGCONT)
        wait_until(lambda: agrees(case, client), "what came meanwhile is in Redis")
        client.flushall()
        wait_until(lambda: agrees(case, client), "what was lost is written again")
        client.flushall()
        case.send("events", rows(200, 210))
        wait_until(lambda: committed(case) == 210 and agrees(case, client), "also when answers come at that moment")
    case.send("events", rows(210, 300))
    with running(case, "--slot", "1", *SESSION), running(case, "--stages", "kept", *SESSION):
        wait_until(lambda: committed(case) == 300 and agrees(case, client), "killed and begun again, beside another")
        devredis.stop(redis_here)
        case.send("events", rows(300, 350))
        wait_until(lambda: committed(case) == 350, "answers go on while there is no Redis")
        with devredis.running(redis_here.port) as again:
            fresh = client_of(again)
            wait_until(lambda: agrees(case, fresh), "an empty Redis in its place is filled from the beginning")
            fresh.close()
    client.close()
    assert Ledger(case).read().offsets() == []


@pytest.mark.slow
def test_projectors_of_one_partition_at_once_and_asleep_are_fenced(
    broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path
) -> None:
    """Each in a group of its own, so that all of them write every partition; some begin anew, some late."""
    case = store_case(broker, tmp_path, topic)
    case.send("events", rows(0, 200))
    case.run()
    client = client_of(redis_here)
    with ExitStack() as stack:

        def begin(number: int) -> Projector:
            made = Projector(load_plan(case.path), load_plan(case.path).stores[0], case.bootstrap)
            made._config["group.id"] = f"{topic}-{number}"
            made.start()
            stack.callback(lambda: (made.stop(), made.join(20)))
            return made

        first, second = begin(1), begin(2)
        wait_until(lambda: agrees(case, client), "both have written")
        case.send("events", rows(200, 400))
        third = begin(3)
        every = (first, second, third)
        with running(case, *SESSION):
            wait_until(lambda: committed(case) == 400, "all are answered")
        wait_until(lambda: agrees(case, client) and all(sum(p.stats.rows.values()) >= 200 for p in every[:2]), "both have again")
        assert all(not p.stats.stopped and not p.stats.rebuilt for p in every)
    client.close()


def test_a_log_made_anew_is_told_and_nothing_is_overwritten(broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path) -> None:
    case = store_case(broker, tmp_path, topic)
    case.send("events", rows(0, 20))
    case.run()
    plan = load_plan(case.path)
    projector = Projector(plan, plan.stores[0], case.bootstrap)
    client = client_of(redis_here)
    for partition in range(PARTITIONS):
        client.hset(projector._redis.position_key(partition), mapping={"next": 10_000, "time": 1})
    projector.start()
    wait_until(lambda: bool(projector.stats.stopped), "it stops")
    assert "positions of another log" in projector.stats.stopped
    assert projector.join(20)
    assert contents(client, "last:*") == {}
    client.close()
