"""edge.snapshots: whole states in files, so that a restart reads only the tail of a changelog. flow → *snapshots*.

A file holds the arrays of all stores, the positions, the changelog offset that it covers and a checksum. It is written beside
its place, flushed, and renamed, so a reader sees the old one or the new one. A file that does not fit is passed over: the
changelog alone is enough.
"""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Snapshot

FORMAT = 1
CHECKSUM_BYTES = 9
# Half of the topics' delete.retention.ms: a deletion that the changelog holds no more must not be undone by a snapshot from before it.
AGE_S_MAX = 43_200.0


class SnapshotFolder:
    """Snapshots of the tasks of one topology on one cluster. stamp: names both, and every setting that state depends on."""

    def __init__(self, folder: Path, stamp: str) -> None:
        self._folder, self._stamp = folder, stamp
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, task: TaskId) -> Path:
        return self._folder / f"{task[0]}-{task[1]}.snapshot"

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        """Keep the state as of the last commit, which the changelog holds up to changelog_end."""
        arrays = {f"{i}/{name}": array for i, store in enumerate(sorted(snapshot)) for name, array in snapshot[store].items()}
        body = io.BytesIO()
        np.savez(body, allow_pickle=False, **arrays)
        data = body.getvalue()
        head = {"format": FORMAT, "stamp": self._stamp, "stores": sorted(snapshot), "changelog_end": changelog_end}
        content = json.dumps(head).encode() + b"\n" + data
        path = self._path(task)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        with beside.open("wb") as file:
            file.write(_checksum(content) + content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        """The snapshot and the changelog offset it covers; None if missing, too old, damaged, or not of this changelog."""
        path = self._path(task)
        if not path.is_file() or time.time() - path.stat().st_mtime > AGE_S_MAX:
            return None
        whole = path.read_bytes()
        if whole[:CHECKSUM_BYTES] != _checksum(whole[CHECKSUM_BYTES:]):
            return None
        line, _, data = whole[CHECKSUM_BYTES:].partition(b"\n")
        head = json.loads(line)
        if head["format"] != FORMAT or head["stamp"] != self._stamp or head["changelog_end"] > changelog_end:
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found: dict[str, dict[str, NDArray[np.generic]]] = {store: {} for store in head["stores"]}
            for key in arrays.files:
                number, _, name = key.partition("/")
                found[head["stores"][int(number)]][name] = arrays[key]
        return found, int(head["changelog_end"])


def _checksum(content: bytes) -> bytes:
    """Over head and arrays: a name or an offset that changed in the head would be believed."""
    return f"{zlib.crc32(content):08x} ".encode()
