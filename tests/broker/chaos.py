"""Workers as processes, killed, stopped and joined by others while events come in; and the ledger that is read when all is quiet.

The ledger shares nothing with the product: inputs and outputs are read back by fastavro, what a row must be answered with is summed up
in a dict, in the order of the log.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from stream_infer.codec.internal import PREDICTION, REJECT
from tests.support import Row, admin, read_all, wait_until
from tests.support_run import EVENT, Case, Running, address, event, event_row, unframed

SPENT = {
    "model": "{kind: linear, artifact: spent.safetensors, inputs: [{name: spent, missing: 0}]}",
    "more_stages": "  before: {kind: features, from: events, group_by: user, values: {spent: {sum: amount}}}\n",
    "scored": "before",
}
USERS = tuple(f"user-{n}" for n in range(40))
SESSION_S = 2.0
WAIT_S = 90.0  # for what a killed worker left open: its transaction ends with the next worker of its slot, or after the timeout
JUNK = b"\x00\x00\x00\x00\x07no such schema"


@dataclass
class Ledger:
    """Everything that is on the broker when all is quiet. problems: what a read_committed consumer must not see."""

    case: Case
    inputs: list[Row] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> Ledger:
        self.inputs = read_all(self.case.bootstrap, self.case.topic("events"))
        rows = read_all(self.case.bootstrap, self.case.topic("predictions"))
        self.predictions = [unframed(PREDICTION, row.value) | {"_partition": row.partition} for row in rows]
        self.rejects = [unframed(REJECT, row.value) for row in read_all(self.case.bootstrap, self.case.topic("rejects"))]
        return self

    def problems(self) -> list[str]:
        return [*self.counts(), *self.wrong_answers(), *self.disorder(), *self.offsets()]

    def counts(self) -> list[str]:
        """Each input is answered or rejected once."""
        seen = Counter(address(record) for record in (*self.predictions, *self.rejects))
        places = [(self.case.topic("events"), row.partition, row.offset) for row in self.inputs]
        found = [f"{place} is answered {seen[place]} times" for place in places if seen[place] != 1]
        return found + [f"{place} is answered and was never written" for place in sorted(set(seen) - set(places))]

    def wrong_answers(self) -> list[str]:
        """2 · (what the user spent before) + 1, in the order of the log."""
        given = {address(record): record for record in self.predictions}
        refused = {address(record) for record in self.rejects}
        spent: dict[str, float] = defaultdict(float)
        found = []
        for row in self.inputs:
            place = (self.case.topic("events"), row.partition, row.offset)
            if row.value == JUNK:
                if place not in refused:
                    found.append(f"{place} cannot be read, and was not rejected")
                continue
            sent = unframed(EVENT, row.value)
            answer, right = given.get(place), 2 * spent[sent["user"]] + 1
            spent[sent["user"]] += sent["amount"]
            if answer is not None and (answer["answer"] != right or answer["prediction_id"] != sent["event_id"]):
                found.append(f"{place} {sent['event_id']} is answered {answer['answer']} as {answer['prediction_id']}, right is {right}")
        return found

    def disorder(self) -> list[str]:
        """The answers to one input partition stand in its order."""
        last: dict[tuple[int, int], int] = {}
        found = []
        for record in self.predictions:
            _, partition, offset = address(record)
            where = (record["_partition"], partition)
            if offset <= last.get(where, -1):
                found.append(f"offset {offset} of partition {partition} is answered after {last[where]}")
            last[where] = offset
        return found

    def offsets(self) -> list[str]:
        """The group has committed every input."""
        last: dict[int, int] = {}
        for row in self.inputs:
            last[row.partition] = row.offset + 1
        asker = Consumer({"bootstrap.servers": self.case.bootstrap, "group.id": self.case.name, "enable.auto.commit": False})
        try:
            found = asker.committed([TopicPartition(self.case.topic("events"), partition) for partition in last], timeout=20)
        finally:
            asker.close()
        return [
            f"partition {p.partition}: committed {p.offset}, written {last[p.partition]}" for p in found if p.offset != last[p.partition]
        ]


class Stream(threading.Thread):
    """A producer that goes on until it is told to stop. sent: records so far."""

    def __init__(self, case: Case, rows_per_s: float, *, burst: int = 20) -> None:
        super().__init__(daemon=True)
        self._case, self._pause_s, self._burst = case, burst / rows_per_s, burst
        self._over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self._case.bootstrap, "enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}
        )
        topic = self._case.topic("events")
        while not self._over.wait(self._pause_s):
            for _ in range(self._burst):
                row = event_row(event(self.sent, float(self.sent % 97), user=USERS[self.sent * 7 % len(USERS)]))
                producer.produce(topic, JUNK if self.sent % 101 == 100 else row.value, row.key, timestamp=row.timestamp_ms)
                self.sent += 1
            producer.poll(0)
        assert producer.flush(30) == 0
        producer.close()

    def stop(self) -> int:
        self._over.set()
        self.join(60)
        return self.sent


class Chaos:
    """Workers by slot, and what befalls them. done: how often each thing was done."""

    def __init__(self, case: Case, stack: ExitStack, seed: int, *, start: Callable[..., Running] = Running) -> None:
        self.case, self._stack, self._start, self._random = case, stack, start, random.Random(seed)
        self.workers: dict[str, Running] = {}
        self.done: Counter[str] = Counter()

    def start(self, slot: str) -> None:
        process = self._start(
            self.case, "--slot", slot, "--session-timeout-s", str(SESSION_S), "--state", str(self.case.folder / "state" / slot)
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.workers[slot] = process
        self.done["start"] += 1

    def kill(self, slot: str) -> None:
        process = self.workers.pop(slot)
        process.kill()
        process.wait()
        self.done["kill -9"] += 1

    def leave(self, slot: str) -> None:
        process = self.workers.pop(slot)
        process.terminate()
        process.wait(60)
        self.done["leave"] += 1

    def stop_and_go(self, slot: str, s: float) -> None:
        process = self.workers[slot]
        process.send_signal(signal.SIGSTOP)
        time.sleep(s)
        process.send_signal(signal.SIGCONT)
        self.done["stop"] += 1

    def revive(self, slots: Sequence[str]) -> None:
        """Start whatever is not there or has ended (75: it stood still for too long)."""
        for slot in slots:
            process = self.workers.get(slot)
            if process is not None and process.poll() is not None:
                assert process.returncode == 75, f"slot {slot} ended with {process.returncode}:\n{process.stderr_text()[-3000:]}"
                self.done["fenced"] += 1
                del self.workers[slot]
            if slot not in self.workers:
                self.start(slot)

    def rage(self, slots: Sequence[str], s: float, gap_s: float) -> None:
        """Until s seconds are over, something happens to somebody every gap_s."""
        until = time.monotonic() + s
        self.revive(slots)
        while time.monotonic() < until:
            time.sleep(gap_s * self._random.uniform(0.5, 1.5))
            slot = self._random.choice(sorted(self.workers))
            what = self._random.choice(("kill", "kill", "kill", "stop", "leave"))
            if what == "kill":
                self.kill(slot)
            elif what == "leave":
                self.leave(slot)
            else:
                self.stop_and_go(slot, self._random.choice((0.3, SESSION_S + 1.5)))
            self.revive(slots)

    def quiet(self, sent: int, slots: Sequence[str]) -> Ledger:
        """When all is answered; then everyone leaves."""

        def answered() -> bool:
            self.revive(slots)
            return records(self.case, "predictions") + records(self.case, "rejects") >= sent

        until(answered, f"{sent} inputs are answered", timeout_s=WAIT_S)
        for slot in list(self.workers):
            self.leave(slot)
        return Ledger(self.case).read()


def records(case: Case, topic: str) -> int:
    """Committed records of a topic; 0 where it is not there yet."""
    if case.topic(topic) not in admin(case.bootstrap).list_topics(timeout=10.0).topics:
        return 0
    return len(read_all(case.bootstrap, case.topic(topic)))


def reach(case: Case, topic: str) -> int:
    """How far a read_committed reader would come, over all partitions: grows with every commit, and costs one question. 0 as above."""
    client, name = admin(case.bootstrap), case.topic(topic)
    known = client.list_topics(timeout=10.0).topics.get(name)
    asked = {TopicPartition(name, partition): OffsetSpec.latest() for partition in (known.partitions if known else ())}
    if not asked:
        return 0
    ends: list[int] = []

    def told() -> bool:
        found = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        try:
            ends[:] = [int(future.result(10.0).offset) for future in found.values()]
        except KafkaException as problem:  # a topic that was just made may have no leader yet
            if problem.args[0].code() not in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                raise
            return False
        return True

    wait_until(told, f"where {name} ends")
    return sum(ends)


def until(true: Callable[[], bool], what: str, *, timeout_s: float = 60.0) -> None:
    """As wait_until, for questions that read whole topics: asking must not be what keeps the machine busy."""

    def seldom() -> bool:
        time.sleep(0.4)
        return true()

    wait_until(seldom, what, timeout_s=timeout_s)
