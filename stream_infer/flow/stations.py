"""flow.stations: the way of chunks through the steps of a section. merge → *stations* → answering.

A station is begun by one chunk after the other, in their order. Where models or calls are to be waited for, a later chunk may stand at a
station beside an earlier one, waiting as well, but never beyond it: what a step keeps or asks has the order of the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.explaining import Explained
from stream_infer.flow.merge import Chunk
from stream_infer.flow.notices import CallDone
from stream_infer.flow.rows import Bad
from stream_infer.flow.shadowing import Shadowed
from stream_infer.records import Floats, Text


class Asker(Protocol):
    """Who asks models: the step that decides, or one that does beside it."""

    def asked(self, job: int) -> bool:
        """Whether it asked for that pass."""

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """A pass ended. place: as notices.ForwardDone has it."""

    def failed(self, job: int, reason: str) -> list[Command]:
        """A pass raised."""

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on."""

    def forget(self) -> None:
        """The task begins again from its last checkpoint."""


@dataclass(slots=True)
class Refused:
    """Rows that a step did not let pass: reasons[i] says why row i did not."""

    stage: str
    rows: Flowing
    reasons: list[str]

    def bad(self, stream: str, ids: Text) -> list[Bad]:
        """As rejected rows, keyed by their ids."""
        rows = self.rows
        places = zip(rows.partition.tolist(), rows.offsets.tolist(), self.reasons, ids.raw(), strict=True)
        return [Bad(stream, rows.topic, partition, offset, reason, key, None) for partition, offset, reason, key in places]


@dataclass(slots=True)
class Begun:
    """A chunk on its way. flowing: its rows so far; station: the next one; call: the job it waits for, and what to do when that comes back.

    choice: None where no row is answered; left_out: rows that are not to be answered; refused: rows that a call did not let pass;
    spoilt: row of the choice → the stage that spoilt its answer, if that was not the decide step; explained: None where no answer is;
    shadowed: what models in the shadow are asked, by stage.
    """

    chunk: Chunk
    flowing: Flowing | None = None
    station: int = 0
    call: tuple[int, Callable[[CallDone], None]] | None = None
    choice: Choice | None = None
    left_out: Flowing | None = None
    refused: list[Refused] = field(default_factory=list)
    spoilt: dict[int, str] = field(default_factory=dict)
    explained: Explained | None = None
    shadowed: dict[str, Shadowed] = field(default_factory=dict)

    def waits(self) -> bool:
        """Whether a call or a model still owes something."""
        if self.shadowed and any(shadowed.choice.waits for shadowed in self.shadowed.values()):
            return True
        asks = self.choice is not None and self.choice.waits
        return asks or self.call is not None or (self.explained is not None and self.explained.waits)


Station = Callable[[Begun], list[Command]]


class Line:
    """The stations of a section, and the chunks on their way, the first begun first."""

    def __init__(self) -> None:
        self.stations: list[Station] = []
        self._begun: list[Begun] = []

    def begin(self, begun: Begun) -> list[Command]:
        """One more chunk comes."""
        self._begun.append(begun)
        return self.go_on()

    def go_on(self) -> list[Command]:
        """Every chunk goes as far as it may."""
        commands: list[Command] = []
        ahead = len(self.stations)
        for begun in self._begun:
            while begun.station < ahead and not begun.waits():
                station = self.stations[begun.station]
                begun.station += 1
                commands += station(begun)
            ahead = begun.station
        return commands

    def called(self, notice: CallDone) -> list[Command]:
        """A call came back: its chunk goes on."""
        for begun in self._begun:
            if begun.call is not None and begun.call[0] == notice.job:
                then, begun.call = begun.call[1], None
                then(notice)
                return self.go_on()
        raise AssertionError(f"job {notice.job} came back and was never asked")

    def first_before(self, station: int) -> Chunk | None:
        """The first chunk with rows that has not been at this station yet."""
        return next((begun.chunk for begun in self._begun if begun.station <= station and begun.flowing is not None), None)

    def choices(self) -> list[Choice]:
        """Of the chunks on their way, and of what models in the shadow are asked about them."""
        aside = [shadowed.choice for begun in self._begun for shadowed in begun.shadowed.values()]
        return [begun.choice for begun in self._begun if begun.choice is not None] + aside

    def waiting(self) -> bool:
        """Whether the first chunk is still on its way."""
        return bool(self._begun) and (self._begun[0].station < len(self.stations) or self._begun[0].waits())

    def take(self) -> Begun:
        """The first chunk; it is over now."""
        assert self._begun, "finish without start"
        return self._begun.pop(0)

    def clear(self) -> None:
        """No chunk is on its way any more."""
        self._begun.clear()
