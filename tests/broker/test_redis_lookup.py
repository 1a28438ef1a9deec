"""Predictions that know what Redis holds, and go on when it holds nothing or does not answer.

Oracle: the answer to an event is 2 · (what Redis held of its user when it was sent, else -1) + 1.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_infer.edge import devredis
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.devredis import DevRedis
from stream_infer.errors import EnvironmentMissing
from tests.support import wait_until
from tests.support_redis import client_of
from tests.support_run import Case, answers, event, event_row, running, score_case, twice

pytestmark = pytest.mark.broker
USERS = ("ann", "bob", "cyd")
SCORED = {
    "model": "{kind: linear, artifact: score.safetensors, inputs: [score], cache: {rows_max: 100}}",
    "more_stages": """\
  known:
    kind: lookup
    from: events
    redis: {url: {env: TEST_REDIS_URL}, key: "user:{user}", timeout_ms: 500, cache_s: 0}
    take: {score: -1}
""",
    "scored": "known",
}


@pytest.fixture
def redis_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevRedis]:
    with devredis.running() as server:
        monkeypatch.setenv("TEST_REDIS_URL", server.url)
        yield server


def score_by_redis(broker: Broker, folder: Path, name: str) -> Case:
    case = score_case(broker.bootstrap, folder, name, **SCORED)
    (folder / "score.safetensors").write_bytes(twice(("score",)).to_bytes())
    return case


def test_answers_follow_what_redis_holds_and_go_on_without_it(broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path) -> None:
    case, client = score_by_redis(broker, tmp_path, topic), client_of(redis_here)
    expected: dict[str, float] = {}

    def send(first: int, last: int, scores: dict[str, float]) -> None:
        made = [event(number, user=USERS[number % 3]) for number in range(first, last)]
        case.send("events", [event_row(row) for row in made])
        expected.update({str(row["event_id"]): 2 * scores.get(str(row["user"]), -1) + 1 for row in made})
        wait_until(lambda: len(case.predictions()) == len(expected), f"{len(expected)} answers")

    with running(case):
        for user, score in (("ann", 3), ("bob", 4)):
            client.hset(f"user:{user}", "score", score)
        send(0, 30, {"ann": 3, "bob": 4})
        client.hset("user:cyd", "score", 5)
        send(30, 60, {"ann": 3, "bob": 4, "cyd": 5})
        client.flushall()
        send(60, 90, {})
        client.hset("user:ann", "score", 6)
        os.kill(redis_here.pid, signal.SIGSTOP)
        send(90, 120, {})
        os.kill(redis_here.pid, signal.SIGCONT)
    assert answers(case.predictions()) == expected
    client.close()


def test_a_deterministic_run_ends_where_redis_does_not_answer(broker: Broker, redis_here: DevRedis, topic: str, tmp_path: Path) -> None:
    case = score_by_redis(broker, tmp_path, topic)
    case.send("events", [event_row(event(number)) for number in range(10)])
    devredis.stop(redis_here)
    with pytest.raises(EnvironmentMissing, match="stage known: Redis does not answer"):
        case.run()
    assert case.predictions() == []
    with devredis.running(redis_here.port) as again:
        client = client_of(again)
        client.hset("user:ann", "score", 3)
        client.close()
        case.run()
    assert list(answers(case.predictions()).values()) == [7.0] * 10
