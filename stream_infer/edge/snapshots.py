"""edge.snapshots: whole states in files, so that a restart reads only the tail of a changelog. flow → *snapshots*.

A file is one line of JSON with its own checksum, which names stores, arrays, their checksums and the changelog offset that they cover; then
the arrays, end to end. It is written by a thread of its own beside its place, flushed and renamed, so a reader sees the old one or the new
one, and nobody waits for a disk. A file that does not fit is passed over: the changelog alone is enough.
"""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
import uuid
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Snapshot

log = logging.getLogger("stream_infer.snapshots")
FORMAT = 2
HEAD_BYTES_MAX = 1 << 24
# Half of the topics' delete.retention.ms: a deletion that the changelog holds no more must not be undone by a snapshot from before it.
AGE_S_MAX = 43_200.0
LEFT_S_MAX = 3_600.0  # what a process left half written when it was killed goes after so long


class SnapshotFolder:
    """Snapshots of the tasks of one topology on one cluster. stamp: names both, and every setting that state depends on.

    Processes may share a folder: a snapshot says how far it goes, whoever wrote it.
    """

    def __init__(self, folder: Path, stamp: str) -> None:
        self._folder, self._stamp = folder, stamp
        self._pending: dict[TaskId, tuple[Snapshot, int]] = {}
        self._changed = threading.Condition()
        self._writing = False
        self._thread: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.tmp"):
            if time.time() - left.stat().st_mtime > LEFT_S_MAX:
                left.unlink(missing_ok=True)

    def _path(self, task: TaskId) -> Path:
        return self._folder / f"{task[0]}-{task[1]}.snapshot"

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        """Keep the state as of the last commit, which the changelog holds up to changelog_end. Written soon; one not begun is replaced."""
        with self._changed:
            self._pending[task] = (snapshot, changelog_end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="snapshots", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending and not self._writing)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._pending))
                task = next(iter(self._pending))
                snapshot, changelog_end = self._pending.pop(task)
                self._writing = True
            try:
                self._write(self._path(task), snapshot, changelog_end)
            except OSError as problem:  # a full disk costs a slower restart, no answers
                log.warning("the snapshot of %s[%d] could not be written: %s", *task, problem)

    def _write(self, path: Path, snapshot: Snapshot, changelog_end: int) -> None:
        arrays: list[list[object]] = []
        blocks: list[NDArray[np.generic]] = []
        for number, store in enumerate(sorted(snapshot)):
            for name, array in snapshot[store].items():
                block = np.asarray(array, order="C")
                arrays.append([number, name, _described(block), block.nbytes, zlib.crc32(_bytes(block))])
                blocks.append(block)
        head = {"format": FORMAT, "stamp": self._stamp, "stores": sorted(snapshot), "changelog_end": changelog_end, "arrays": arrays}
        line = json.dumps(head).encode()
        beside = path.with_suffix(f".{uuid.uuid4().hex[:12]}.tmp")
        try:
            with beside.open("wb") as file:
                file.write(b"%08x " % zlib.crc32(line) + line + b"\n")
                for block in blocks:
                    file.write(_bytes(block))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        """The snapshot and the changelog offset it covers; None if missing, too old, damaged, or not of this changelog."""
        path = self._path(task)
        try:
            if time.time() - path.stat().st_mtime > AGE_S_MAX:
                return None
            with path.open("rb") as file:
                head = _head(file)
                if head is None or head["stamp"] != self._stamp or head["changelog_end"] > changelog_end:
                    return None
                found = _arrays(file, head)
        except FileNotFoundError:
            return None
        return None if found is None else (found, int(head["changelog_end"]))


def _head(file: BufferedReader) -> dict[str, Any] | None:
    """The first line, if it is one of ours: a name or an offset that changed in it would be believed."""
    line = file.readline(HEAD_BYTES_MAX)
    if line[8:9] != b" " or line[-1:] != b"\n" or line[:8] != b"%08x" % zlib.crc32(line[9:-1]):
        return None
    head = json.loads(line[9:])
    return head if isinstance(head, dict) and head.get("format") == FORMAT else None


def _arrays(file: BufferedReader, head: dict[str, Any]) -> Snapshot | None:
    found: dict[str, dict[str, NDArray[np.generic]]] = {store: {} for store in head["stores"]}
    for number, name, described, size, checksum in head["arrays"]:
        data = np.empty(size, dtype=np.uint8)
        if file.readinto(data.data) != size or zlib.crc32(data.data) != checksum:
            return None
        form = io.BytesIO(bytes.fromhex(described))
        np.lib.format.read_magic(form)
        shape, _, dtype = np.lib.format.read_array_header_1_0(form)
        if dtype.hasobject:
            return None
        found[head["stores"][number]][name] = data.view(dtype).reshape(shape)
    return found if not file.read(1) else None


def _described(array: NDArray[np.generic]) -> str:
    """Shape and dtype, as numpy's own files have them."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
    return out.getvalue().hex()


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
