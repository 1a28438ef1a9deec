"""edge.calls: runs the calls of the core: each stage as its settings say. flow → *calls* → flow.

A stage is an answerer, which works in the worker's own thread within finished(), or an executor, which works elsewhere and tells when it
is done. Nothing is started where no stage calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone


@dataclass(slots=True)
class Tally:
    """What one call, or all of a stage, took. rejected: rows that the function would not let pass; failed: rows for which it failed …

    … of which defaulted went on with defaults. timeouts, retries: of tries; refused: tries that an open breaker did not let through.
    """

    calls: int = 0
    rows: int = 0
    seconds: list[float] = field(default_factory=list)  # of each call
    rejected: int = 0
    failed: int = 0
    defaulted: int = 0
    timeouts: int = 0
    retries: int = 0
    refused: int = 0

    def add(self, other: Tally) -> None:
        """Both together."""
        self.seconds += other.seconds
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def outcomes(self) -> dict[str, int]:
        """Rows by what became of them."""
        good, failed = self.rows - self.rejected - self.failed, self.failed - self.defaulted
        return {"good": good, "rejected": self.rejected, "failed": failed, "defaulted": self.defaulted}

    def tries(self) -> dict[str, int]:
        """Tries that did not simply go well."""
        return {"retry": self.retries, "timeout": self.timeouts, "refused": self.refused}


COUNTS = ("calls", "rows", "rejected", "failed", "defaulted", "timeouts", "retries", "refused")
Done = tuple[CallDone, Tally]
Answer = Callable[[Call], Done]  # takes its time in the thread that asks


class Executor(Protocol):
    """What runs the calls of one stage elsewhere. begin() returns at once; done is called from any thread, once per call."""

    def begin(self, call: Call, done: Callable[[Done | BaseException], None]) -> None:
        """Start a call."""

    def breaker(self) -> str | None:
        """The state of its breaker, if it has one."""

    def close(self) -> None:
        """End what it started; what is under way is dropped."""


class Calls:
    """A Caller. answers, executors: by stage."""

    def __init__(self, answers: Mapping[str, Answer], executors: Mapping[str, Executor]) -> None:
        self._answers, self._executors = answers, executors
        self._here: deque[Call] = deque()
        self._elsewhere = 0
        self._done: SimpleQueue[Done | BaseException] = SimpleQueue()
        self._figures = {stage: Tally() for stage in (*answers, *executors)}
        self._stages: dict[int, str] = {}

    def submit(self, command: Call) -> None:
        """Start a call."""
        self._stages[command.job] = command.stage
        if command.stage in self._answers:
            self._here.append(command)
        else:
            self._elsewhere += 1
            self._executors[command.stage].begin(command, self._done.put)

    def finished(self, wait_ms: int) -> list[CallDone]:
        """Calls that came back since the last call; waits only when none has."""
        ready: list[CallDone] = []
        while self._here:
            call = self._here.popleft()
            ready.append(self._counted(self._answers[call.stage](call)))
        while self._elsewhere:
            try:
                came = self._done.get(timeout=0 if ready else wait_ms / 1000)
            except Empty:
                break
            if isinstance(came, BaseException):
                raise came
            self._elsewhere -= 1
            ready.append(self._counted(came))
        return sorted(ready, key=lambda notice: notice.job)  # in the order of asking, which can be repeated

    def _counted(self, done: Done) -> CallDone:
        notice, tally = done
        self._figures[self._stages.pop(notice.job)].add(tally)
        return notice

    def take_figures(self) -> dict[str, Tally]:
        """By stage, what calls took that came back since the last time."""
        taken, self._figures = self._figures, {stage: Tally() for stage in self._figures}
        return taken

    def breakers(self) -> dict[str, str]:
        """The states of breakers, by stage."""
        return {stage: state for stage, one in self._executors.items() if (state := one.breaker()) is not None}

    def executor(self, stage: str) -> Executor | None:
        """What runs the calls of a stage elsewhere, if something does."""
        return self._executors.get(stage)

    def close(self) -> None:
        """End all executors."""
        for executor in self._executors.values():
            executor.close()
