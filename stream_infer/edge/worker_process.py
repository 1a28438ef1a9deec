"""edge.worker_process: a process that runs models for another. lane_process ⇄ *worker_process* → models.

`python -m stream_infer.edge.worker_process PASSES MODELS`: descriptors of two sockets (worker_words). It loads what it is told to, from
bytes that it hashes itself; answers passes one after the other; and ends with whoever started it: when the sockets close, and on Linux
by the kernel's signal, also in the middle of a pass.

It does not listen to SIGINT and SIGTERM: they reach whole groups of processes, and its parent needs it to finish what is in flight.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import pickle
import signal
import socket
import sys
import time
from threading import Thread

import numpy as np

from stream_infer.edge import worker_words as words
from stream_infer.edge.registry import model_classes
from stream_infer.edge.slabs import Slab
from stream_infer.errors import StreamInferError
from stream_infer.models.base import Model, Registry, out_of_memory
from stream_infer.models.load import load_model

log = logging.getLogger("stream_infer.workers")
REASON_CHARS_MAX = 200
_PR_SET_PDEATHSIG = 1


class WorkerProcess:
    """models: by number and version, as they were loaded."""

    def __init__(self, passes: socket.socket, loads: socket.socket) -> None:
        self._passes, self._loads = passes, loads
        self._models: dict[tuple[int, int], Model] = {}
        self._registry: Registry = {}

    def run(self) -> None:
        """Until the other side is gone."""
        first = words.receive(self._loads)
        if first is None:
            return
        set_up: words.SetUp = pickle.loads(first[1])  # noqa: S301 — our own words, through a socket that only our parent has
        _end_with(set_up.parent)
        try:
            self._registry = model_classes(set_up.admitted)
        except StreamInferError as error:
            words.send(self._loads, words.Header(words.FAILED), str(error).encode())
            return
        words.send(self._loads, words.Header(words.READY))
        Thread(target=self._load_beside, name="loads", daemon=True).start()
        self._answer()

    # -- models ----------------------------------------------------------------------------------------------------------------

    def _load_beside(self) -> None:
        with contextlib.suppress(OSError):  # the other side is gone
            self._load_what_is_told()
        os._exit(0)

    def _load_what_is_told(self) -> None:
        while (told := words.receive_file(self._loads)) is not None:
            header, text, file = told
            if header.kind == words.FORGET:
                self._models.pop((header.number, header.version), None)
                continue
            wanted: words.ToLoad = pickle.loads(text)  # noqa: S301 — as above
            began = time.perf_counter()
            try:
                data = None if wanted.size is None or file is None else _bytes_of(file, wanted.size)
                model = load_model(wanted.settings, data, self._registry)
                if not self._models:  # the first pass of a process is slow, whatever the model: memory, threads, caches
                    model.forward(np.zeros((1, len(model.columns)), dtype=np.float32))
                self._models[wanted.number, wanted.version] = model
                ready = words.Loaded(tuple(model.columns), model.outputs, model.digest, getattr(model, "mean", None))
                answer = words.Header(words.READY, wanted.number, wanted.version, seconds=time.perf_counter() - began)
                words.send(self._loads, answer, pickle.dumps(ready))
                if wanted.settings.compile:
                    self._compile(model, wanted.settings.name)
            except Exception as error:  # noqa: BLE001 — a file or a class of the user's: told to whoever wants the model
                text = (str(error) if isinstance(error, StreamInferError) else f"{type(error).__name__}: {error}").encode()
                words.send(self._loads, words.Header(words.FAILED, wanted.number, wanted.version), text[: words.WORDS_BYTES_MAX])

    def _compile(self, model: Model, name: str) -> None:
        """While it answers. A net that cannot be compiled goes on as it is."""
        try:
            getattr(model, "compile", lambda: None)()
        except Exception as error:  # noqa: BLE001 — compilers raise anything
            log.warning("model %s could not be compiled: %s", name, str(error).splitlines()[:1])

    # -- passes ----------------------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        first = words.receive_file(self._passes)
        if first is None or first[2] is None:
            return
        slab = Slab(first[2], int(first[1]))
        memory = memoryview(slab.memory)
        while (told := words.receive(self._passes)) is not None:
            header = told[0]
            began = time.perf_counter()
            kind, text = self._pass(header, memory)
            answer = words.Header(kind, header.number, header.version, header.rows, seconds=time.perf_counter() - began)
            words.send(self._passes, answer, text.encode())

    def _pass(self, header: words.Header, memory: memoryview) -> tuple[int, str]:
        try:
            model = self._models[header.number, header.version]
            x = words.inputs_in(memory.toreadonly(), header.rows, len(model.columns))
            out = model.forward(x)
            if out.shape != (header.rows, model.outputs):
                return words.RAISED, f"got an answer of shape {out.shape}, expected ({header.rows}, {model.outputs})"
            words.outputs_in(memory, header.rows, len(model.columns), model.outputs)[:] = out
        except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows, not the worker
            first = (str(error).splitlines() or [""])[0][:REASON_CHARS_MAX]
            return words.NO_MEMORY if out_of_memory(error) else words.RAISED, f"{type(error).__name__}: {first}"
        return words.DONE, ""


def _bytes_of(file: int, size: int) -> bytes:
    slab = Slab(file, max(size, 1))
    try:
        return slab.memory[:size]
    finally:
        slab.close()


def _end_with(parent: int) -> None:
    """The kernel kills this process when the thread that started it ends, which is when the lane does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it was asked for
        os._exit(0)


def main(passes: int, loads: int) -> None:
    """The whole life of the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()  # a segmentation fault tells where
    with socket.socket(fileno=passes) as one, socket.socket(fileno=loads) as other:
        try:
            WorkerProcess(one, other).run()
        except OSError as error:  # the other side is gone
            log.debug("%s", error)
    os._exit(0)  # nothing is to be tidied up, and torch's own threads abort an interpreter that ends while they run


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
