"""sim.ledger: watches a run after every step: who was answered, what the group committed. reading → *ledger* → world."""

from __future__ import annotations

from collections.abc import Iterable

from stream_infer.sim.broker import SimBroker
from stream_infer.sim.groups import Partition
from stream_infer.sim.history import Place
from stream_infer.sim.oracle import COMPARE, Written
from stream_infer.sim.reading import Follower, predictions_of, rejects_of, source_of
from stream_infer.topology.plan import DecideStep, Plan, RepartitionStep


class Ledger:
    """expected: places of rows that must be answered or rejected, in offset order per partition; exempt: those that `where` lets pass.

    look() returns what broke since the last call: an input answered twice, an answer out of thin air, a committed offset that went
    back, or one that passed a row without an answer. An answer may be committed and yet stand behind someone else's open transaction:
    a row is missed only when every reader has come past all that was written by then.
    """

    def __init__(self, plan: Plan, broker: SimBroker) -> None:
        self.plan, self._broker = plan, broker
        self._predictions = Follower(broker, predictions_of(plan))
        self._rejects = Follower(broker, rejects_of(plan))
        topics = {plan.streams[section.flowing].topic: section for section in plan.sections}
        self._roots = {topic: section for topic, section in topics.items() if not topic.startswith(f"{plan.name}.")}
        self._hops = {topic for topic, s in self._roots.items() if any(isinstance(step, RepartitionStep) for step in s.steps)}
        self._wheres = [step.where for s in plan.sections for step in s.steps if isinstance(step, DecideStep) and step.where is not None]
        self.expected: dict[Place, Written] = {}
        self.exempt: dict[Place, Written] = {}
        self.answered: dict[Place, int] = {}
        self._logs: dict[Partition, list[int]] = {}
        self._committed: dict[Partition, int] = {}
        self._checked: dict[Partition, int] = {}
        self._missed: list[tuple[str, Place, dict[Partition, int]]] = []  # with the high watermarks of all outputs at that time
        outputs = (predictions_of(plan), rejects_of(plan))
        self._outputs = [(stream.topic, number) for stream in outputs for number in range(stream.partitions)]

    def wrote(self, records: Iterable[Written]) -> None:
        """These were written to input topics."""
        for record in records:
            if record.place[0] not in self._roots:
                continue
            self._logs.setdefault(record.place[:2], []).append(record.place[2])
            passes = record.bad or record.row is None or all(COMPARE[w.operator](record.row[w.field], w.literal) for w in self._wheres)
            (self.expected if passes else self.exempt)[record.place] = record

    def look(self) -> list[str]:
        """One line per broken invariant."""
        found = []
        for read in (*self._predictions.new(), *self._rejects.new()):
            place = source_of(read.row)
            if place[0] not in self._roots:
                continue  # a reject of a stream that only feeds state
            self.answered[place] = self.answered.get(place, 0) + 1
            if self.answered[place] > 1:
                found.append(f"{_at(place)} is answered {self.answered[place]} times")
            if place not in self.expected:
                found.append(f"{_at(place)} is answered, but {'the topology lets it pass' if place in self.exempt else 'nobody wrote it'}")
        for partition, offset in self._broker.group(self.plan.name).committed.items():
            before = self._committed.get(partition, 0)
            if offset < before:
                found.append(f"{partition[0]}[{partition[1]}]: the committed offset went back from {before} to {offset}")
            self._committed[partition] = offset
            self._pass(partition, offset)
        return found + self._lost()

    def _pass(self, partition: Partition, offset: int) -> None:
        """Note rows below the offset that nobody answered. Rows that went on under another key are on their way."""
        log, first = self._logs.get(partition, []), self._checked.get(partition, 0)
        while first < len(log) and log[first] < offset:
            place = (*partition, log[first])
            if partition[0] not in self._hops and place in self.expected and place not in self.answered:
                line = f"{_at(place)} is not answered, yet the group committed {offset}"
                self._missed.append((line, place, {output: self._broker.log(output).high for output in self._outputs}))
            first += 1
        self._checked[partition] = first

    def _lost(self) -> list[str]:
        waiting = [missed for missed in self._missed if missed[1] not in self.answered]
        found = [line for line, _, highs in waiting if all(self._broker.log(o).stable >= high for o, high in highs.items())]
        self._missed = [] if found else waiting
        return found


def _at(place: Place) -> str:
    return f"{place[0]}[{place[1]}]@{place[2]}"
