"""edge.answer_cache: rows that were answered before are not asked again. host → *answer_cache* → workers.

It stands before whatever runs models, and has its form. A row whose bytes a model's version has answered gets that answer; of the rest
each distinct row is asked once. A pass of which nothing is left is none. An answer that is remembered is the one that was computed, to
the last bit; but a net computes a row a little otherwise in every batch (see ARCHITECTURE), so a deterministic run remembers nothing:
there each answer is a function of the log and its cuts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from stream_infer.edge.telemetry import Telemetry
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import Ended, ForwardDone, ForwardFailed
from stream_infer.flow.ports import Forwarder
from stream_infer.models.answer_table import AnswerTable, CacheSettings, distinct
from stream_infer.records import Bools, Floats, Ints, Matrix

Answer = ForwardDone | ForwardFailed


@dataclass(slots=True)
class CacheStats:
    """Rows since the start. hits: answered from memory; repeats: asked once with others of the same chunk; misses: computed."""

    hits: int = 0
    repeats: int = 0
    misses: int = 0


@dataclass(slots=True)
class _Open:
    """A pass under way. matrix: the rows asked; which: of them, each missing row is; hit, known: as AnswerTable.find() gave them."""

    model: str
    version: int
    at_ms: int
    matrix: Matrix
    which: Ints
    hit: Bools
    known: Floats


class Closing(Forwarder, Protocol):
    """A Forwarder that can be ended."""

    def close(self) -> None:
        """End it."""


class AnswerCache:
    """A Forwarder before another. settings: of the models that remember; stats: theirs."""

    def __init__(self, inner: Closing, settings: Mapping[str, CacheSettings]) -> None:
        self._inner = inner
        self._tables = {name: AnswerTable(one) for name, one in settings.items()}
        self.stats = {name: CacheStats() for name in settings}
        self._open: dict[int, _Open] = {}
        self._ready: list[Answer] = []

    def install(self, command: Install) -> None:
        """Make a version ready."""
        self._inner.install(command)

    def submit(self, command: Forward) -> None:
        """Answer from memory what can be, ask the rest."""
        table = self._tables.get(command.model)
        if table is None or command.explain is not None or command.perturbed:
            self._inner.submit(command)
            return
        at_ms, stats = command.at_ms, self.stats[command.model]
        hit, known = table.find(command.version, command.matrix, at_ms)
        hits = int(np.count_nonzero(hit))
        stats.hits += hits
        if hits == len(hit):
            self._ready.append(ForwardDone(command.job, known, 0.0))
            return
        missing = command.matrix[~hit] if hits else command.matrix
        places, which = distinct(missing)
        asked = missing if len(places) == len(missing) else missing[places]
        stats.misses += len(asked)
        stats.repeats += len(missing) - len(asked)
        self._open[command.job] = _Open(command.model, command.version, at_ms, asked, which, hit, known)
        together = command.together
        if together is not None and together.cost and len(asked) < len(hit):
            together = replace(together, cost=together.cost * len(asked) / len(hit))
        self._inner.submit(replace(command, matrix=asked, together=together))

    def finished(self, wait_ms: int) -> list[Ended]:
        """Passes that ended, and those that needed none; versions that were installed."""
        ready, self._ready = self._ready, []
        told: list[Ended] = []
        for came in self._inner.finished(0 if ready else wait_ms):
            if isinstance(came, ForwardDone | ForwardFailed):
                ready.append(self._whole(came))
            else:
                told.append(came)
        return [*told, *sorted(ready, key=lambda answer: answer.job)]

    def _whole(self, answer: Answer) -> Answer:
        """The answer to all rows that were submitted, where only some were asked."""
        asked = self._open.pop(answer.job, None)
        if asked is None or isinstance(answer, ForwardFailed):
            return answer
        outputs = answer.outputs
        if outputs.ndim != 2 or len(outputs) != len(asked.matrix):
            # As wrong as it is, for whoever asked to see; but never by chance of the length that would be right.
            return ForwardFailed(answer.job, f"got an answer of shape {outputs.shape}, expected ({len(asked.matrix)}, outputs)")
        self._tables[asked.model].put(asked.version, asked.matrix, outputs, asked.at_ms)
        if not asked.hit.any():
            return replace(answer, outputs=outputs[asked.which])
        if asked.known.shape[1] != outputs.shape[1]:
            return ForwardFailed(answer.job, f"got {outputs.shape[1]} outputs, expected {asked.known.shape[1]} as before")
        whole = asked.known
        whole[~asked.hit] = outputs[asked.which]
        return replace(answer, outputs=whole)

    def tell(self, telemetry: Telemetry) -> None:
        """Say in metrics how many rows were spared."""
        for model, stats in self.stats.items():
            for outcome, count in (("hit", stats.hits), ("repeat", stats.repeats), ("miss", stats.misses)):
                telemetry.put("answer_cache_rows_total", count, model, outcome)

    def close(self) -> None:
        """End what runs models."""
        self._open.clear()
        self._ready.clear()
        self._inner.close()
