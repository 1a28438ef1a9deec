"""edge.lane_process: a lane whose passes run in a process of its own. workers → *lane_process* ⇄ worker_process.

The process is started anew, never forked: a fork would share CUDA, threads and sockets with us. A process that ends, or whose pass takes
longer than pass_s_max and which is killed for it, is started again at once, then with growing pauses; after restarts_max starts without
one answer in between this process gives up, for then it is the model or the machine and not a row.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from threading import Event, Lock

from stream_infer.batching.curve import ROWS_MAX
from stream_infer.edge import worker_words as words
from stream_infer.edge.enduring import Crashed, NoMemory, Raised
from stream_infer.edge.lanes import PROCESS, LaneSettings, LaneStatus
from stream_infer.edge.passes import Waiting
from stream_infer.edge.shelf import Shelf
from stream_infer.edge.slabs import Slab
from stream_infer.errors import EnvironmentMissing, ModelError
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix

log = logging.getLogger("stream_infer.workers")
SLAB_BYTES_MAX = 64 << 20  # of a lane: 4096 rows of 4,000 inputs; of models with wider rows a pass has fewer
END_S_MAX = 1.0  # for a process to end by itself once its sockets are closed
AGAIN_S = 0.02  # between two looks whether a process is there again to load a version
PAUSE_S_MAX = 5.0  # between two starts; the first follows at once, the second after 0.1 s, then twice as long each time


class Closing(BaseException):
    """Not an Exception: nothing is concluded from it about rows."""


class ProcessLane:
    """models: settings of those it serves; shelf: their artifacts; admitted: modules of the user's model classes."""

    def __init__(self, settings: LaneSettings, models: Mapping[str, ModelSettings], shelf: Shelf, admitted: Sequence[str]) -> None:
        self.status = LaneStatus(settings.name, PROCESS, settings.models)
        self._settings, self._models, self._shelf, self._admitted = settings, models, shelf, tuple(admitted)
        self._process: subprocess.Popen[bytes] | None = None
        self._passes: socket.socket | None = None
        self._loads: socket.socket | None = None
        self._loading = Lock()  # one version at a time is spoken of on that socket
        self._slab: Slab | None = None
        self._closing = Event()
        self._there = False  # the process has loaded all that it had to
        self._fruitless = 0  # starts since the last answer

    # -- the process -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process and load everything that the shelf has for it; the slab stays the same from the first start to the last."""
        passes, theirs = socket.socketpair()
        loads, other = socket.socketpair()
        name = self._settings.name
        threads = max(self._models[model].workers.threads for model in self._settings.models)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "stream_infer.edge.worker_process", str(theirs.fileno()), str(other.fileno())]
        with theirs, other:
            self._process = subprocess.Popen(  # noqa: S603 — our own interpreter and module
                command, stdin=subprocess.DEVNULL, env=environment, pass_fds=(theirs.fileno(), other.fileno())
            )
        self._passes, self._loads = passes, loads
        self.status.process = self._process.pid
        with self._loading:
            loads.settimeout(max(self._models[model].workers.start_s_max for model in self._settings.models))
            self._tell(words.Header(words.SET_UP), pickle.dumps(words.SetUp(name, os.getpid(), self._admitted)))
            # A version that is only being published must not keep a process from coming back: it may be one that cannot be loaded.
            for entry in self._shelf.of(self._settings.models, loaded=self._slab is not None):
                self._load(entry)
            if self._slab is None:
                self._slab = Slab.reserve(name, self._slab_bytes())
                self.status.bytes_shared = self._slab.size
            words.send(passes, words.Header(words.SLAB), str(self._slab.size).encode(), self._slab.descriptor)
            self._there = True

    def _slab_bytes(self) -> int:
        wanted = [
            words.pass_bytes(_rows_most(self._models[entry.model]), len(entry.says.columns), entry.says.outputs)
            for entry in self._shelf.of(self._settings.models)
            if entry.says is not None
        ]
        return min(max(wanted, default=0) or SLAB_BYTES_MAX, SLAB_BYTES_MAX)

    def load(self, entry: Shelf.Entry) -> None:
        """Load one more version, from any thread, beside the passes; waits for a process that is starting again. ModelError likewise."""
        until = time.monotonic() + max(self._models[model].workers.start_s_max for model in self._settings.models)
        while not self._closing.wait(AGAIN_S):
            with self._loading:
                if self._there:
                    try:
                        self._load(entry)
                        return
                    except EnvironmentMissing:
                        self._there = False
                        if time.monotonic() > until:
                            raise
        raise Closing

    def forget(self, entry: Shelf.Entry) -> None:
        """A version is not needed any more."""
        with self._loading, contextlib.suppress(OSError, EnvironmentMissing):
            self._tell_only(words.Header(words.FORGET, entry.number, entry.version))

    def _load(self, entry: Shelf.Entry) -> None:
        settings = entry.settings if not self._settings.device else entry.on(self._settings.device)
        told = words.ToLoad(entry.number, settings, entry.version, entry.size)
        header, text = self._tell(words.Header(words.LOAD, entry.number, entry.version), pickle.dumps(told), entry.descriptor)
        assert (header.number, header.version) == (entry.number, entry.version)
        entry.says = pickle.loads(text)  # noqa: S301 — our own words, from our own process

    def _tell(self, header: words.Header, text: bytes, descriptor: int | None = None) -> tuple[words.Header, bytes]:
        assert self._loads is not None
        try:
            words.send(self._loads, header, text, descriptor)
            answer = words.receive(self._loads)
        except TimeoutError:
            answer = None
            self._kill()
        except OSError:
            answer = None
        if answer is None:
            raise EnvironmentMissing(
                f"worker {self._settings.name}: its process does not start",
                got=self._how_it_ended(f"nothing within {self._loads.gettimeout():g} s"),
                expected="a process that loads its models",
                fix="look at its words on standard error; for a large model on a slow disk, raise `workers: {start_s_max: …}`",
            )
        if answer[0].kind == words.FAILED:
            raise ModelError(answer[1].decode(errors="replace"))
        return answer

    def _tell_only(self, header: words.Header) -> None:
        if self._loads is not None:
            words.send(self._loads, header)

    def look(self) -> None:
        """While nothing is to do: a process that ended is started again, before the next rows need it."""
        if self._process is not None and self._process.poll() is not None:
            log.warning("worker %s ended while it had nothing to do: %s", self._settings.name, self._how_it_ended())
            self._start_again()

    def _start_again(self) -> None:
        """Until it is there, or is given up."""
        while True:
            self._clear_away()
            limit = max(self._models[model].workers.restarts_max for model in self._settings.models)
            if self._fruitless >= limit:
                raise EnvironmentMissing(
                    f"worker {self._settings.name} ended {self._fruitless} times in a row without one answer",
                    expected="a model that answers",
                    fix="look at what it wrote to standard error: it is the model or the machine, not a row",
                )
            self.status.state = "restarting"
            if self._closing.wait(min(0.1 * 2 ** (self._fruitless - 1), PAUSE_S_MAX) if self._fruitless else 0.0):
                raise Closing
            self._fruitless += 1
            self.status.restarts += 1
            try:
                self.start()
                self.status.state = "working"
                return
            except (ModelError, EnvironmentMissing, OSError) as error:
                if self._closing.is_set():
                    raise Closing from None
                log.error("worker %s could not be started again: %s", self._settings.name, error)

    # -- passes ----------------------------------------------------------------------------------------------------------------

    def run(self, asked: Waiting, matrix: Matrix) -> Floats:
        """Rows there, answers back. Crashed when the process ended within, or did not answer in time."""
        if self._process is None or self._process.poll() is not None:
            self._start_again()
        assert self._passes is not None
        assert self._slab is not None
        command = asked.command
        entry = self._shelf.entry(command.model, command.version)
        assert entry.says is not None, "asked for what was never loaded"
        rows, columns, outputs = len(matrix), len(entry.says.columns), entry.says.outputs
        if matrix.ndim != 2 or matrix.shape[1] != columns:
            raise Raised(f"the input matrix has another width: got {matrix.shape}, expected (n, {columns})")
        if words.pass_bytes(rows, columns, outputs) > self._slab.size:
            raise NoMemory(f"a pass of {rows} rows of {columns} inputs is more than the {self._slab.size} bytes that worker processes get")
        memory = memoryview(self._slab.memory)
        words.inputs_in(memory, rows, columns)[:] = matrix
        seconds = self._models[command.model].workers.pass_s_max
        try:
            self._passes.settimeout(seconds)
            words.send(self._passes, words.Header(words.RUN, entry.number, entry.version, rows))
            answer = words.receive(self._passes)
        except TimeoutError:
            self._kill()
            raise Crashed(f"no answer in {seconds:g} s") from None
        except OSError:
            answer = None
        if self._closing.is_set():
            raise Closing
        if answer is None:
            raise Crashed(self._how_it_ended())
        self._fruitless = 0
        header, text = answer
        if header.kind != words.DONE:
            raise (NoMemory if header.kind == words.NO_MEMORY else Raised)(text.decode(errors="replace"))
        return words.outputs_in(memory, rows, columns, outputs).copy()

    def _how_it_ended(self, otherwise: str = "it closed its socket") -> str:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(END_S_MAX)
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        self._kill()
        return otherwise

    def _kill(self) -> None:
        """And wait: one that is only about to end would take the next rows with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> None:
        """An idle process ends by itself; one within a pass is killed by close()."""
        self._closing.set()
        for end in (self._passes, self._loads):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _clear_away(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(END_S_MAX if self._closing.is_set() else 0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with self._loading:
            for end in (self._passes, self._loads):
                if end is not None:
                    end.close()
            self._process = self._passes = self._loads = None
            self._there = False

    def close(self) -> None:
        """End the process, give the memory back."""
        self.interrupt()
        self._clear_away()
        if self._slab is not None:
            self._slab.close()
            self._slab, self.status.bytes_shared = None, 0


def _rows_most(settings: ModelSettings) -> int:
    batch = settings.batch
    return min(max(batch.sizes, default=0) or batch.rows_max or ROWS_MAX, ROWS_MAX)
