"""flow.rollouts: which published version of each model a task answers with, and what it tells of that. rollout → *rollouts* → deciding.

(step 12 in the life of an event)

A version that is to answer is installed beside the traffic; until that is told the old one answers. The flip comes between two chunks: a
chunk has the versions that were in effect when it began. What is in effect is state of the task, so it is committed with the offsets that
were answered before it, and a restart, or another owner of the partition, answers each offset with the version committed for it.
After a restart nothing is answered before the version in effect is there again; in a deterministic run nothing is before the one that is
to come, or it would depend on how long loading takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.flow.commands import Command, Install, Produce
from stream_infer.flow.notices import Installed, InstallFailed
from stream_infer.flow.rows import GOOD, Rows
from stream_infer.models.rollout import FAILED, IN_EFFECT, Change, Standing, Told, read_record
from stream_infer.records import Fetched, Text
from stream_infer.state import pack_text


def read_changes(fetched: Fetched, *, at_once: bool, begin: int, end: int | None) -> Rows:
    """Rows of changes (column `change`: their bytes). end: those from here on came after a deterministic run began, and are not for it.

    at_once: they take effect when read, not by event time. What tasks told is for people, and for canaries of other tasks.
    """
    rows, blobs, times = [], [], []
    for index, (offset, value) in enumerate(zip(fetched.offsets.tolist(), fetched.values.raw(), strict=True)):
        record = None if value is None or (end is not None and offset >= end) else read_record(value)
        if isinstance(record, Change) or (at_once and isinstance(record, Told) and record.what not in (IN_EFFECT, FAILED)):
            rows.append(index)
            blobs.append(value)
            times.append(record.effective_ms if isinstance(record, Change) and not at_once else begin)
    effective = np.array(times, dtype=np.int64)
    offsets = fetched.offsets[np.array(rows, dtype=np.int64)]
    flags = np.full(len(rows), GOOD, dtype=np.uint8)
    return Rows(offsets, effective, effective, flags, {"change": Text.of(blobs, is_bytes=True)})


class Rollouts:
    """Store of what the changes add up to, by name. kept: model → how many versions stay in memory beside the one that answers.

    place: (topic, partition, next offset) of the rows that this task answers.
    """

    def __init__(self, kept: Mapping[str, int], section: str, changes_topic: str, *, deterministic: bool) -> None:
        self._kept, self.section, self._topic, self._deterministic = dict(kept), section, changes_topic, deterministic
        self._standings: dict[str, Standing] = {}
        self._changed: set[str] = set()
        self._awaited: set[tuple[str, int]] = set()
        self.place: Callable[[], tuple[str, int, int]] = lambda: ("", 0, 0)

    def __contains__(self, model: str) -> bool:
        return model in self._kept

    @property
    def held(self) -> bool:
        """Whether a version must be there before anything more is answered."""
        return bool(self._awaited)

    def standing(self, name: str) -> Standing:
        """What the changes of a model or stage add up to."""
        return self._standings.get(name, Standing())

    def current(self, model: str) -> tuple[int, str]:
        """(version, its label in predictions); (0, "") while the topology's own file answers."""
        found = self.standing(model)
        manifest = found.known[found.current].manifest if found.current else None
        return (found.current, f"v{found.current}-{manifest.sha256[:12]}") if manifest is not None else (0, "")

    def used(self, model: str) -> frozenset[int]:
        """The versions of a model that this task may still ask for."""
        return self.standing(model).used()

    def take(self, change: Change) -> list[Command]:
        """A change came; one that is not the next of its name never holds."""
        before = self.standing(change.name)
        if not before.holds(change):
            return []
        after = self._set(change.name, before.after(change, kept=self._kept.get(change.name, 1)))
        if change.name not in self._kept:
            return []
        if before.pending is not None:
            self._awaited.discard((change.name, before.pending))
        if after.current != before.current:
            return self._tell(change.name, IN_EFFECT, after.current, change.why)
        if after.pending is None:
            return []
        if self._deterministic:
            self._awaited.add((change.name, after.pending))
        return [self._install(change.name, after.pending)]

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A version is there, or is not to be had: what answers from the next chunk on."""
        name, version = notice.model, notice.version
        standing = self.standing(name)
        awaited = (name, version) in self._awaited
        self._awaited.discard((name, version))
        if version == standing.pending:
            return self._flip(name, notice)
        if version != standing.current or not awaited or isinstance(notice, Installed):
            return []
        if self._deterministic:
            raise ModelError(f"model {name}: v{version} is in effect, and cannot be installed again\n    got:      {notice.reason}")
        return self._fall_back(name, version, notice.reason)

    def _flip(self, name: str, notice: Installed | InstallFailed) -> list[Command]:
        standing = self.standing(name)
        if isinstance(notice, InstallFailed):
            self._set(name, standing.failed(notice.version))
            return self._tell(name, FAILED, notice.version, notice.reason)
        why = standing.known[notice.version].why
        self._set(name, standing.installed(notice.version, kept=self._kept[name]))
        return self._tell(name, IN_EFFECT, notice.version, why)

    def _fall_back(self, name: str, version: int, reason: str) -> list[Command]:
        """After a restart the version in effect is gone: the one before answers, as if this one had never been installed."""
        after = self._set(name, self.standing(name).failed(version))
        commands = self._tell(name, FAILED, version, reason)
        commands += self._tell(name, IN_EFFECT, after.current, f"v{version} could not be installed again after a restart")
        if after.current:
            self._awaited.add((name, after.current))
            commands.append(self._install(name, after.current))
        return commands

    def _install(self, name: str, version: int) -> Install:
        change = self.standing(name).known[version]
        return Install(name, version, b"", change.manifest, change.golden)

    def _set(self, name: str, standing: Standing) -> Standing:
        self._standings[name] = standing
        self._changed.add(name)
        return standing

    def _tell(self, name: str, what: str, version: int, why: str) -> list[Command]:
        return [self.tell_of(name, what, version, why)]

    def tell_of(self, name: str, what: str, version: int, why: str) -> Produce:
        """That a version is in effect from here on, or cannot be."""
        topic, partition, offset = self.place()
        told = Told(name, what, self.standing(name).number, version, self.section, topic, partition, offset, why)
        return self.tell(told)

    def tell(self, told: Told) -> Produce:
        """A record for the changes topic."""
        return Produce(self._topic, 0, Text.of([told.name.encode()], is_bytes=True), Text.of([told.to_bytes()], is_bytes=True))

    def restored(self) -> list[Command]:
        """After a restart: what is in effect must be there again, and what is pending is asked for once more."""
        self._awaited.clear()
        commands: list[Command] = []
        for name in sorted(self._kept):
            standing = self.standing(name)
            for version in sorted(standing.used() - {0}):
                if version == standing.current or (version == standing.pending and self._deterministic):
                    self._awaited.add((name, version))
                if version in (standing.current, standing.pending):
                    commands.append(self._install(name, version))
        return commands

    # -- Store -----------------------------------------------------------------------------------------------------------------

    def changes(self) -> tuple[Text, Text]:
        """Store: the standings that changed since the last call."""
        names = sorted(self._changed)
        self._changed.clear()
        values = [self._standings[name].to_bytes() for name in names]
        return pack_text([name.encode() for name in names]), pack_text(values)

    def restore(self, keys: Text, values: Text) -> None:
        """Store: undo changes()."""
        self._take_in(zip(keys.raw(), values.raw(), strict=True))

    def _take_in(self, items: Sequence[tuple[bytes | None, bytes | None]] | zip[tuple[bytes | None, bytes | None]]) -> None:
        for key, value in items:
            if key is not None and value is not None:
                self._standings[key.decode()] = Standing.from_bytes(value)
        self._changed.clear()

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Store: one block of bytes per name."""
        return {name: np.frombuffer(standing.to_bytes(), dtype=np.uint8) for name, standing in self._standings.items()}

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Store: undo snapshot()."""
        self._take_in([(name.encode(), array.tobytes()) for name, array in arrays.items()])

    def bytes_used(self) -> int:
        """Store: bytes of what versions were published with."""
        return sum(len(change.golden) for standing in self._standings.values() for change in standing.known.values())
