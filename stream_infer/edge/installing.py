"""edge.installing: published versions become models in a thread of their own, beside the traffic. flow → *installing* → workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from stream_infer.flow.commands import Install
from stream_infer.flow.notices import Installed, InstallFailed
from stream_infer.models.base import Model

log = logging.getLogger("stream_infer.installing")
REASON_BYTES_MAX = 500


class Installer:
    """Loads one version after the other. load: an Install to a model that was warmed and checked, or it raises."""

    def __init__(self, load: Callable[[Install], Model]) -> None:
        self._load = load
        self._asked: SimpleQueue[Install | None] = SimpleQueue()
        self._made: SimpleQueue[tuple[Install, Model | str, float]] = SimpleQueue()
        self._at_work: set[tuple[str, int]] = set()
        self._thread: Thread | None = None
        self._ready: dict[tuple[str, int], Model] = {}

    def ask(self, command: Install) -> list[Installed | InstallFailed]:
        """Install this version; what is there already is told at once. Of the model's versions, those not in `keep` are let go."""
        name = (command.model, command.version)
        for old in [n for n in self._ready if n[0] == command.model and n != name and n[1] not in command.keep]:
            del self._ready[old]
        if name in self._ready:
            return [Installed(*name)]
        if name not in self._at_work:
            self._at_work.add(name)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="installs", daemon=True)  # a load that hangs must not keep the process
                self._thread.start()
            self._asked.put(command)
        return []

    def _work(self) -> None:
        while (command := self._asked.get()) is not None:
            began = time.perf_counter()
            found: Model | str
            try:
                found = self._load(command)
            except Exception as error:  # noqa: BLE001 — a version is what someone published: whatever is wrong with it, the old one goes on
                found = " ".join(str(error).split())[:REASON_BYTES_MAX] or type(error).__name__
            self._made.put((command, found, time.perf_counter() - began))

    def done(self) -> list[Installed | InstallFailed]:
        """What ended since the last call."""
        told: list[Installed | InstallFailed] = []
        while True:
            try:
                command, found, seconds = self._made.get_nowait()
            except Empty:
                return told
            name = (command.model, command.version)
            self._at_work.discard(name)
            if isinstance(found, str):
                log.warning("model %s v%d was not installed: %s", *name, found)
                told.append(InstallFailed(*name, found))
            else:
                self._ready[name] = found
                told.append(Installed(*name, seconds))

    def model(self, name: str, version: int) -> Model | None:
        """A version that is there."""
        return self._ready.get((name, version))

    def resident(self, name: str) -> list[int]:
        """The published versions of a model in memory."""
        return sorted(version for model, version in self._ready if model == name)

    def close(self) -> None:
        """Take no more; what is still being loaded is dropped."""
        self._asked.put(None)
