"""edge.keepers: all lanes of this process, each in its thread, and the queue that they share. workers → *keepers* → lanes, passes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from threading import Thread

from stream_infer.edge.enduring import Known
from stream_infer.edge.lanes import Lane, LaneStatus, ThreadLane
from stream_infer.edge.one_pass import answers
from stream_infer.edge.passes import PassQueue, Reply, Taken
from stream_infer.flow.commands import Forward
from stream_infer.models.base import Model

LOOK_EVERY_S = 1.0  # so soon it is seen that an idle process ended
END_S_MAX = 3.0  # for processes to end; a thread ends when its pass does, and nobody waits for that


class Keepers:
    """lanes: started by start(), or by the first forward. weights: of models, for those that want the same lane."""

    def __init__(self, lanes: Sequence[Lane], weights: Mapping[str, float] | None = None) -> None:
        self.known = Known()
        self._queue = PassQueue(weights)
        self._keepers = [_Keeper(lane, self._queue, self.known) for lane in lanes]
        self._started = False

    def start(self) -> None:
        """Start all lanes at once and wait until they can run passes. Raises what keeps one from it."""
        self._started = True
        for keeper in self._keepers:
            keeper.thread.start()
        errors = [keeper.ready.get() for keeper in self._keepers]
        for error in errors:
            if error is not None:
                self.close()
                raise error

    def ask(self, command: Forward, model: Model, reply: Reply) -> None:
        """Its answer goes to reply, from another thread; or the error after which a lane has given up."""
        if not self._started:
            self.start()
        self._queue.put(command, model, reply)

    def status(self) -> list[LaneStatus]:
        """What each lane has done."""
        return [keeper.lane.status for keeper in self._keepers] if self._started else []

    def failed(self) -> BaseException | None:
        """The error after which a lane could not go on; the process should not either."""
        return next((keeper.error for keeper in self._keepers if keeper.error is not None), None)

    def rows_waiting(self) -> dict[str, int]:
        """Rows that wait for a lane, by model."""
        return self._queue.rows()

    def close(self) -> None:
        """End all; what they still compute is dropped."""
        self._queue.close()
        if not self._started:
            return
        for keeper in self._keepers:
            keeper.closing = True
            keeper.lane.interrupt()
        until = time.monotonic() + END_S_MAX
        for keeper in self._keepers:
            if not isinstance(keeper.lane, ThreadLane):
                keeper.thread.join(max(0.0, until - time.monotonic()))


class _Keeper:
    """A lane in its thread: takes passes, runs them, hands the answers over."""

    def __init__(self, lane: Lane, queue: PassQueue, known: Known) -> None:
        self.lane, self._queue, self._known = lane, queue, known
        self.thread = Thread(target=self._work, name=lane.status.name)
        self.ready: SimpleQueue[BaseException | None] = SimpleQueue()
        self.closing = False
        self.error: BaseException | None = None

    def _work(self) -> None:
        try:
            try:
                self.lane.start()
            except BaseException as error:  # noqa: BLE001 — raised again by start(), in the thread of whoever called that
                self.ready.put(error)
                return
            self.lane.status.state = "waiting"
            self.ready.put(None)
            self._take_passes()
        except BaseException as error:  # noqa: BLE001 — told to whoever waits for an answer, where it can be seen
            if not self.closing:
                self.error = error
        finally:
            self.lane.status.state = "ended"
            self.lane.close()

    def _take_passes(self) -> None:
        while not self._queue.closed:
            taken = self._queue.take(self.lane.status.models, wait_s=LOOK_EVERY_S)
            if taken is None:
                self.lane.look()
                self.lane.status.state = "waiting"
            else:
                self._run(taken)  # of its own, so that nothing of a pass is held while the next is waited for: models may be let go

    def _run(self, taken: Taken) -> None:
        status = self.lane.status
        status.state = "working"
        began = time.perf_counter()
        try:
            made = answers(taken, self.lane.run, self._known)
        except BaseException as error:
            for part in taken.parts:
                part.reply(error)
            raise
        seconds = time.perf_counter() - began
        rows = sum(len(part.command.matrix) for part in taken.parts)
        self._queue.took(taken, rows, seconds)
        status.passes, status.rows, status.busy_s = status.passes + 1, status.rows + rows, status.busy_s + seconds
        status.state = "waiting"
        for part, answer in zip(taken.parts, made, strict=True):
            part.reply(answer)
