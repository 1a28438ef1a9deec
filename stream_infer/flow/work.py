"""flow.work: what a section does with its chunks, as a task asks for it. *work* → task; answering, learning do it."""

from __future__ import annotations

from typing import Protocol

from stream_infer.flow.commands import Command
from stream_infer.flow.merge import Chunk
from stream_infer.flow.notices import CallDone, Installed, InstallFailed
from stream_infer.records import Floats
from stream_infer.state import Store


class Work(Protocol):
    """What a section does with its chunks."""

    stores: dict[str, Store]

    def start(self, chunk: Chunk) -> list[Command]:
        """Begin to work through a chunk; waiting() tells whether models or calls are still at it."""

    @property
    def held(self) -> bool:
        """Whether no chunk may begin for now: a version must be there first."""

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A published version is there, or is not to be had."""

    def waiting(self) -> bool:
        """Whether the chunk begun first waits for models or calls."""

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """A model answered. place: as ForwardDone has it."""

    def failed(self, job: int, reason: str) -> list[Command]:
        """A model raised."""

    def called(self, notice: CallDone) -> list[Command]:
        """A call came back."""

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on: models that are waited for only so long are late."""

    def finish(self) -> list[Command]:
        """The chunk is through: everything it leads to."""

    @property
    def hears_time(self) -> bool:
        """Whether advance() does anything: else how far time has come need not be found out for each chunk."""

    def advance(self, reached: int) -> list[Command]:
        """No later row has a lower order key than this."""

    def at_checkpoint(self) -> list[Command]:
        """Records that waited for it."""

    def extra(self) -> object:
        """Small state beside the stores, as JSON can hold it."""

    def restore(self, extra: object) -> list[Command]:
        """Undo extra(), after the stores were restored."""
