"""edge.shelf: the artifacts of models that run in processes, kept where every process can read them. workers → *shelf* → lane_process.

Their bytes lie in memory once, whatever the number of processes, and a process that is started again loads the very bytes that the first
one did, whatever has become of the file. Each process hashes what it loads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from threading import Lock

from stream_infer.edge.slabs import Slab
from stream_infer.edge.worker_words import Loaded
from stream_infer.models.settings import ModelSettings


class Shelf:
    """Versions of models by (name, version). Any thread may ask."""

    @dataclass(slots=True)
    class Entry:
        """One version. number: of the model, in headers; slab: its artifact's bytes; says: what a process said when it was loaded."""

        model: str
        version: int
        number: int
        settings: ModelSettings
        slab: Slab | None
        size: int | None
        says: Loaded | None = None

        @property
        def descriptor(self) -> int | None:
            """Of the bytes."""
            return None if self.slab is None else self.slab.descriptor

        def on(self, device: str) -> ModelSettings:
            """The settings, on a device of the lane's."""
            return replace(self.settings, device=device)

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[tuple[str, int], Shelf.Entry] = {}
        self._numbers: dict[str, int] = {}

    def put(self, settings: ModelSettings, version: int, data: bytes | None) -> Entry:
        """One more version."""
        name = settings.name
        slab = None if data is None else Slab.holding(f"{name}-v{version}", data)
        with self._lock:
            number = self._numbers.setdefault(name, len(self._numbers))
            entry = Shelf.Entry(name, version, number, settings, slab, None if data is None else len(data))
            self._entries[name, version] = entry
            return entry

    def entry(self, model: str, version: int) -> Entry:
        """The version of that name; it is there."""
        return self._entries[model, version]

    def of(self, models: Collection[str], *, loaded: bool = False) -> list[Entry]:
        """All versions of these models; loaded: that some process has loaded."""
        with self._lock:
            return [e for (name, _), e in self._entries.items() if name in models and (e.says is not None or not loaded)]

    def remove(self, entry: Entry) -> None:
        """A version is not needed any more."""
        with self._lock:
            if self._entries.get((entry.model, entry.version)) is not entry:
                return
            del self._entries[entry.model, entry.version]
        if entry.slab is not None:
            entry.slab.close()

    def bytes_used(self) -> int:
        """Of all artifacts."""
        with self._lock:
            return sum(entry.slab.size for entry in self._entries.values() if entry.slab is not None)

    def close(self) -> None:
        """Give all of it back."""
        for entry in self.of({name for name, _ in list(self._entries)}):
            self.remove(entry)
