"""flow.versions: which version of each model and policy a task answers with, and the topic they come by. learn → *versions* → deciding.

(step 12 in the life of an event)

The models topic is compacted: key = name, value = the version. A mark (key MARK_KEY) promises that nothing that takes effect
before next_ms will follow. A task keeps the bytes of the versions it uses in its own changelog, for the topic forgets old ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.rollouts import Rollouts
from stream_infer.flow.rows import GOOD, Rows
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings
from stream_infer.models.version import ModelVersion
from stream_infer.records import Fetched, Text
from stream_infer.state import pack_text

MARK_KEY = b"\x00mark"
NEWEST = "newest "  # no name of a model or stage holds a space


def mark(next_ms: int, end: int | None = None) -> tuple[bytes, bytes]:
    """Key and value of the promise that no version with effect before next_ms will follow, nor any in the run that ends thus."""
    return MARK_KEY, json.dumps({"next_ms": next_ms} if end is None else {"next_ms": next_ms, "end": end}).encode()


def read_versions(fetched: Fetched, *, at_once: bool, begin: int) -> tuple[Rows, tuple[int, ...]]:
    """Rows of versions (column `version`: their bytes) and the last promises. at_once: they take effect when read, not by event time."""
    keys, values = fetched.keys.raw(), fetched.values.raw()
    rows, promises = [], ()
    for index, (key, value) in enumerate(zip(keys, values, strict=True)):
        if value is None:
            continue
        if key == MARK_KEY:
            promises = tuple(json.loads(value).values())
        else:
            rows.append(index)
    picked = np.array(rows, dtype=np.int64)
    blobs = [values[i] for i in rows]
    times = [begin if at_once else ModelVersion.from_bytes(blob).effective_ms for blob in blobs if blob is not None]
    effective = np.array(times, dtype=np.int64)
    flags = np.full(len(rows), GOOD, dtype=np.uint8)
    return Rows(fetched.offsets[picked], effective, effective, flags, {"version": Text.of(blobs, is_bytes=True)}), promises


@dataclass(frozen=True, slots=True)
class Static:
    """A model as its file says: version 0 until a learned one comes. start: what a learner begins with; None for other models.

    outputs: numbers per answer; 0: not known.
    """

    digest: str
    start: LinearModel | None = None
    outputs: int = 0


def statics(settings: Mapping[str, ModelSettings], models: Mapping[str, Model]) -> dict[str, Static]:
    """What the core needs to know of loaded models."""
    found = {}
    for name, model in models.items():
        begins = settings[name].learns is not None and settings[name].artifact is not None
        found[name] = Static(model.digest, model if begins and isinstance(model, LinearModel) else None, model.outputs)
    return found


class VersionTable:
    """Store of the versions in use, by name of model or decide step."""

    def __init__(self, static: dict[str, Static]) -> None:
        self._static = static
        self._versions: dict[str, ModelVersion] = {}
        self._newest: dict[str, ModelVersion | None] = {}  # of what is pinned: the newest that came; None: none did
        self._changed: set[str] = set()
        self._written: set[str] = set()  # what the changelog says is pinned
        self.rollouts: Rollouts | None = None  # published versions, where the section follows them

    def current(self, name: str) -> tuple[int, str]:
        """(version, its label in predictions)."""
        if self.rollouts is not None and name in self.rollouts and (published := self.rollouts.current(name))[0]:
            return published
        version = self._versions.get(name)
        if version is None:
            return 0, self._static[name].digest[:12] if name in self._static else ""
        return version.version, f"v{version.version}-{version.digest[:12]}"

    def outputs(self, name: str) -> int:
        """Numbers per answer of a model; 0 where that is not known."""
        static = self._static.get(name)
        return 0 if static is None else static.outputs

    def payload(self, name: str) -> tuple[int, bytes]:
        """(version, bytes) of a policy or model; (0, b"") before the first."""
        version = self._versions.get(name)
        return (0, b"") if version is None else (version.version, version.payload)

    def apply(self, blob: bytes) -> ModelVersion | None:
        """A version takes effect; None where another is pinned: then it is kept for later."""
        version = ModelVersion.from_bytes(blob)
        self._changed.add(version.name)
        if version.name in self._newest:
            self._newest[version.name] = version
            return None
        self._versions[version.name] = version
        return version

    def pin(self, blob: bytes) -> ModelVersion:
        """This version answers, whatever comes, until unpin()."""
        version = ModelVersion.from_bytes(blob)
        self._newest.setdefault(version.name, self._versions.get(version.name))
        self._versions[version.name] = version
        self._changed.add(version.name)
        return version

    def unpin(self, name: str) -> ModelVersion | None:
        """The newest version answers again; None where that changes nothing."""
        newest, pinned = self._newest.pop(name, None), self._versions.get(name)
        self._changed.add(name)
        if newest is None or newest == pinned:
            return None
        self._versions[name] = newest
        return newest

    def put(self, versions: Iterable[ModelVersion]) -> None:
        """Have exactly these in use, as they were once."""
        self._versions = {version.name: version for version in versions}

    def installed(self) -> list[ModelVersion]:
        """All versions in use, by name."""
        return [self._versions[name] for name in sorted(self._versions)]

    def changes(self) -> tuple[Text, Text]:
        """Store: the versions that took effect since the last call; under NEWEST and the name, what came while another was pinned."""
        names = sorted(self._changed)
        self._changed.clear()
        pinned = [name for name in names if name in self._newest or name in self._written]
        kept = [_packed(self._newest[name]) if name in self._newest else None for name in pinned]
        self._written = set(self._newest)
        keys = [name.encode() for name in names if name in self._versions] + [(NEWEST + name).encode() for name in pinned]
        return pack_text(keys), pack_text([self._versions[name].to_bytes() for name in names if name in self._versions] + kept)

    def restore(self, keys: Text, values: Text) -> None:
        """Store: undo changes()."""
        for key, value in zip(keys.raw(), values.raw(), strict=True):
            name = (key or b"").decode()
            if name.startswith(NEWEST):
                name = name.removeprefix(NEWEST)
                self._newest.pop(name, None)
                if value is not None:
                    self._newest[name] = ModelVersion.from_bytes(value) if value else None
            elif value is not None:
                self._versions[name] = ModelVersion.from_bytes(value)
        self._changed.clear()
        self._written = set(self._newest)

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Store: every version as one block of bytes per name."""
        kept = {NEWEST + name: _packed(version) for name, version in self._newest.items()}
        found = {v.name: v.to_bytes() for v in self.installed()} | kept
        return {name: np.frombuffer(data, dtype=np.uint8) for name, data in found.items()}

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Store: undo snapshot()."""
        self.restore(pack_text([name.encode() for name in arrays]), pack_text([array.tobytes() for array in arrays.values()]))

    def bytes_used(self) -> int:
        """Store: bytes of the payloads."""
        kept = [version for version in self._newest.values() if version is not None]
        return sum(len(version.payload) for version in [*self._versions.values(), *kept])


def _packed(version: ModelVersion | None) -> bytes:
    return b"" if version is None else version.to_bytes()
