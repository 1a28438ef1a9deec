"""flow.intake: which stream a record belongs to, and how it is read. edge → *intake* → merge."""

from __future__ import annotations

from stream_infer.flow.blocks import PLACE_BITS, BlockIntake, Sourced
from stream_infer.flow.channel import BEGIN, CHANGES, TOLD, VERSIONS
from stream_infer.flow.rollouts import read_changes
from stream_infer.flow.rows import Intake, Rows
from stream_infer.flow.versions import read_versions
from stream_infer.records import Fetched
from stream_infer.topology.plan import Plan


class Intakes:
    """One intake per stream that any section reads; a topic belongs to one stream.

    at_once: versions and changes take effect when read; changes_end: where the changes ended when a deterministic run began.
    """

    def __init__(self, plan: Plan, *, at_once: bool, changes_end: int | None = None) -> None:
        inputs = [i for section in plan.sections for i in section.inputs]
        self._by_topic = {plan.streams[i.stream].topic: i.stream for i in inputs}
        self._blocks = {i.stream: BlockIntake(plan.streams[i.stream]) for i in inputs if i.sources}
        users = {i.stream for i in inputs if not i.sources and i.stream not in TOLD}
        self._intakes = {name: Intake(plan.streams[name]) for name in sorted(users)}
        self._at_once, self._changes_end = at_once, changes_end

    def rows(self, fetched: Fetched) -> tuple[str, Rows | Sourced, tuple[int, ...]]:
        """(stream, rows in log order, promises of the stream's one writer)."""
        stream = self._by_topic[fetched.topic]
        if stream == VERSIONS:
            rows, promises = read_versions(fetched, at_once=self._at_once, begin=BEGIN)
            return stream, rows, promises
        if stream == CHANGES:
            return stream, read_changes(fetched, at_once=self._at_once, begin=BEGIN, end=self._changes_end), ()
        blocks = self._blocks.get(stream)
        return stream, self._intakes[stream].rows(fetched) if blocks is None else blocks.rows(fetched), ()

    def read_to(self, fetched: Fetched) -> int:
        """The place after the last record: its offset, or where rows share an offset, the first place beyond it."""
        after = int(fetched.offsets[-1]) + 1
        return after << PLACE_BITS if self._by_topic[fetched.topic] in self._blocks else after
