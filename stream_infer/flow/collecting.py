"""flow.collecting: the rows of a log with features and labels, made by the code that serves them. answering → *collecting* → edge.trainset.

A training row is what the decide step would have seen at that moment; its label is what the feedback join says of it. No
decision is drawn, no model is asked, nothing is written.
"""

from __future__ import annotations

import numpy as np

from stream_infer.feedback import Decisions, Joined
from stream_infer.flow.answering import Answering
from stream_infer.flow.commands import Command
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.merge import Chunk
from stream_infer.flow.stats import Stats
from stream_infer.records import Text
from stream_infer.topology.plan import Plan, SectionPlan


class Collecting(Answering):
    """Work of a section that answers, without the answers. flowing, ids: what was seen; joined: the labels; begin, end: event time kept."""

    def __init__(self, plan: Plan, section: SectionPlan, partition: int, begin: int, end: int) -> None:
        super().__init__(plan, section, partition, {}, _no_job, Stats())
        self._begin, self._end = begin, end
        self.flowing: list[Flowing] = []
        self.ids: list[Text] = []
        self._decisions_now: Decisions | None = None

    def start(self, chunk: Chunk) -> list[Command]:
        """Enrich the rows and keep those in the wanted span that the decide step would answer."""
        flowing, _ = self.enrich(chunk)
        self._decisions_now = None
        decide = self.deciding.decider if self.deciding is not None else None
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
        self._decisions_now = Decisions(ids, kept.times, kept.keys, none, np.ones(len(kept)), none, np.zeros(len(kept)), context)
        return []

    def waiting(self) -> bool:
        """No model is asked."""
        return False

    def finish(self) -> list[Command]:
        """Feedback meets the rows; the labels are in joined()."""
        chunk = self.take_begun().chunk
        for joining in self.joins:
            joining.take(chunk, self._decisions_now, self.rejects, self.stats)
        return []

    def joined(self) -> list[Joined]:
        """Joined rows since the last call."""
        return self.stats.drain()[1]


def _no_job() -> int:
    raise AssertionError("no model is asked for a training set")
