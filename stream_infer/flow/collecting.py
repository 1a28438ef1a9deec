"""flow.collecting: the rows of a log with features and labels, made by the code that serves them. answering → *collecting* → edge.trainset.

A training row is what the decide step would have seen at that moment; its label is what the feedback join says of it. No
decision is drawn, no model is asked, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_infer.feedback import Decisions, Joined
from stream_infer.flow.answering import Answering
from stream_infer.flow.commands import Command
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.stations import Begun
from stream_infer.flow.stats import Stats
from stream_infer.records import Text
from stream_infer.topology.plan import Plan, SectionPlan


class Collecting(Answering):
    """Work of a section that answers, without the answers. flowing, ids: what was seen; joined: the labels; begin, end: event time kept."""

    def __init__(self, plan: Plan, section: SectionPlan, partition: int, begin: int, end: int, next_job: Callable[[], int]) -> None:
        super().__init__(plan, section, partition, {}, next_job, Stats())
        self._begin, self._end = begin, end
        self.flowing: list[Flowing] = []
        self.ids: list[Text] = []
        self._seen: dict[int, Decisions] = {}  # by chunk, until it ends

    def _decide(self, begun: Begun) -> list[Command]:
        """Keep those rows in the wanted span that the decide step would answer."""
        flowing, decide = begun.flowing, self.deciding.decider if self.deciding is not None else None
        if flowing is None or decide is None:
            return []
        kept = flowing.take((flowing.times >= self._begin) & (flowing.times < self._end))
        if not len(kept):
            return []
        ids = decide.ids(kept)
        self.flowing.append(kept)
        self.ids.append(ids)
        none = np.zeros(len(kept), dtype=np.int64)
        context = np.zeros((len(kept), self.context.width), dtype=np.float32)
        decisions = Decisions(ids, kept.times, kept.keys, none, np.ones(len(kept)), none, np.zeros(len(kept)), context)
        self._seen[begun.chunk.number] = decisions
        return []

    def finish(self) -> list[Command]:
        """Feedback meets the rows; the labels are in joined()."""
        chunk = self.line.take().chunk
        decisions = self._seen.pop(chunk.number, None)
        for joining in self.joins:
            joining.take(chunk, decisions, self.rejects, self.stats)
        return []

    def joined(self) -> list[Joined]:
        """Joined rows since the last call."""
        return self.stats.drain()[1]
