"""flow.ports: what the worker is given beside a transport: what runs models and calls, where to keep snapshots; and its own pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stream_infer.flow.commands import Call, Forward, Install
from stream_infer.flow.notices import CallDone, Ended, TaskId
from stream_infer.flow.task import Snapshot


class Forwarder(Protocol):
    """Runs models. submit() never blocks for long; finished() gives what has come, waiting at most wait_ms for something."""

    def install(self, command: Install) -> None:
        """Make a version ready: at once, or beside the traffic if it has a manifest."""

    def submit(self, command: Forward) -> None:
        """Start a forward pass."""

    def finished(self, wait_ms: int) -> list[Ended]:
        """Forward passes and installs that ended."""


Answerer = Callable[[Call], CallDone]  # what a stage does with a call, where nobody has to wait for it


class Caller(Protocol):
    """Takes rows outside. submit() never blocks for long; finished() gives what has come back, waiting at most wait_ms for something."""

    def submit(self, command: Call) -> None:
        """Start a call."""

    def finished(self, wait_ms: int) -> list[CallDone]:
        """Calls that came back."""


class Snapshots(Protocol):
    """Where whole states are kept, so that only the tail of a changelog has to be read back."""

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        """The last snapshot and the changelog offset it covers; None when there is none that fits this changelog."""

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        """Keep the state as of the last commit."""


@dataclass
class Pace:
    """When commits happen. interval_ms: the longest that finished work stays invisible while there is more to do."""

    interval_ms: int
    commits: int = 0
    aborts: int = 0
    restored_records: int = 0
    last_commit_ms: int = 0
    commit_ms: list[int] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)  # records that hold, by topic
    latency_ms: list[int] = field(default_factory=list)  # from the turn that took rows up to their commit …
    latency_rows: list[int] = field(default_factory=list)  # … and how many rows that was
    rebalances: int = 0
    restore_ms: int = 0

    def take_restore_ms(self) -> int:
        """Time spent restoring since the last call."""
        took, self.restore_ms = self.restore_ms, 0
        return took
