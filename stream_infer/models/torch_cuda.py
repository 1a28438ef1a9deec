"""models.torch_cuda: nets on a GPU: memory pinned once, copies beside computing, a CUDA graph for each static size. load → *torch_cuda*.

A pass is begun and ended: begin() only queues work, so that the next pass may be copied to the device while this one computes there, and
end() waits for the answers of its own pass alone. SLOTS passes may be under way; forward() is one after the other.

What a graph needs: the same addresses each time (its own input and output), nothing that waits for the device, and no pinned memory made
while it is captured. Graphs share one pool of memory and one stream, so each pass' answers are on their way to the host, in that stream,
before the next graph may overwrite them. The largest size is captured first: the smaller ones fit into its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stream_infer.models.base import model_error
from stream_infer.records import Floats, Matrix

SLOTS = 2  # passes under way: one computes, one is copied; more only wait longer
WARM_RUNS = 3  # before a graph is captured: libraries choose their kernels and take their memory in the first ones
ROWS_PINNED = 4096  # of a slot; a larger pass gets memory of its own

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(slots=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    outputs: torch.Tensor


@dataclass(slots=True)
class Ticket:
    """A pass under way. rows: of it; slot: whose memory it uses."""

    slot: int
    rows: int
    host: torch.Tensor


class CudaRunner:
    """Runs a module on a device. forward: float32[n, k] there → [n, outputs] there. sizes: numbers of rows that get a graph.

    bfloat16: under autocast, which leaves to float32 what needs it. The calls of one runner come from one thread.
    """

    def __init__(
        self, forward: Forward, columns: int, outputs: int, device: torch.device, sizes: Sequence[int] = (), *, bfloat16: bool = False
    ) -> None:
        self._forward, self._device, self._bfloat16 = forward, device, bfloat16
        self._copying, self._computing = _stream(device), _stream(device)
        rows = max([ROWS_PINNED, *sizes])
        self._rows = rows
        # Pinned once: pinning a batch when it comes costs more than the faster copy saves.
        self._host_in = [torch.empty((rows, columns), dtype=torch.float32, pin_memory=True) for _ in range(SLOTS)]
        self._host_out = [torch.empty((rows, outputs), dtype=torch.float32, pin_memory=True) for _ in range(SLOTS)]
        self._there = [torch.empty((rows, columns), dtype=torch.float32, device=device) for _ in range(SLOTS)]
        self._copied = [_event() for _ in range(SLOTS)]
        self._done = [_event() for _ in range(SLOTS)]
        self._next = 0
        self._graphs: dict[int, _Graph] = {}
        self._before: dict[int, _Graph] = {}
        self.capture(forward, sizes)

    def capture(self, forward: Forward, sizes: Sequence[int]) -> None:
        """Graphs of these sizes of `forward`, which answers from then on. Also from another thread, on a stream of its own."""
        graphs: dict[int, _Graph] = {}
        stream, pool = _stream(self._device), None
        with torch.inference_mode(), torch.cuda.device(self._device):
            for size in sorted(sizes, reverse=True):
                inputs = torch.zeros((size, self._host_in[0].shape[1]), dtype=torch.float32, device=self._device)
                stream.wait_stream(torch.cuda.current_stream(self._device))
                with torch.cuda.stream(stream):
                    for _ in range(WARM_RUNS):
                        self._compute(forward, inputs)
                stream.synchronize()
                graph = torch.cuda.CUDAGraph()
                # thread_local: what other threads do on the device meanwhile (loading, another model) does not spoil the capture.
                with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                    outputs = self._compute(forward, inputs)
                pool = graph.pool()
                graphs[size] = _Graph(graph, inputs, outputs)
        self._before = self._graphs  # a pass that is under way may still be of one of them
        self._graphs, self._forward = graphs, forward

    def _compute(self, forward: Forward, x: torch.Tensor) -> torch.Tensor:
        # Casts of weights are not cached: a cache that is filled within a capture would be empty memory in the next pass.
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            out = forward(x)
        if not isinstance(out, torch.Tensor):
            raise model_error(
                "the module does not answer with one tensor", "torch model", got=type(out).__name__, expected="a tensor [n, outputs]"
            )
        return (out[:, None] if out.ndim == 1 else out).to(torch.float32)

    def begin(self, x: Matrix) -> Ticket:
        """Queue a pass of float32[n, k]. At most SLOTS may be under way: the one SLOTS before must have been ended."""
        slot, rows = self._next, len(x)
        self._next = (self._next + 1) % SLOTS
        with torch.inference_mode(), torch.cuda.device(self._device):
            if rows > self._rows:
                there = torch.from_numpy(np.array(x, dtype=np.float32, order="C")).to(self._device)
                with torch.cuda.stream(self._computing):
                    self._computing.wait_stream(torch.cuda.current_stream(self._device))
                    host = self._compute(self._forward, there).to("cpu")
                self._done[slot].record(self._computing)
                return Ticket(slot, rows, host)
            self._done[slot].synchronize()  # whoever used this slot's memory before has its answers
            here, there, host = self._host_in[slot][:rows], self._there[slot][:rows], self._host_out[slot][:rows]
            here.numpy()[:] = x
            with torch.cuda.stream(self._copying):
                there.copy_(here, non_blocking=True)
                self._copied[slot].record(self._copying)
            with torch.cuda.stream(self._computing):
                self._computing.wait_event(self._copied[slot])
                found = self._graphs.get(rows)
                if found is None:
                    outputs = self._compute(self._forward, there)
                else:
                    found.inputs.copy_(there)
                    found.graph.replay()
                    outputs = found.outputs
                if outputs.shape != host.shape:
                    raise model_error(
                        "the output's shape does not follow the batch",
                        "torch model",
                        got=str(tuple(outputs.shape)),
                        expected=str(tuple(host.shape)),
                    )
                host.copy_(outputs, non_blocking=True)
                self._done[slot].record(self._computing)
        return Ticket(slot, rows, host)

    def end(self, ticket: Ticket) -> Floats:
        """float64[n, outputs]: waits for this pass, not for those begun after it."""
        self._done[ticket.slot].synchronize()  # a copy that does not block is there only now
        return ticket.host.numpy().astype(np.float64)

    def forward(self, x: Matrix) -> Floats:
        """begin() and end()."""
        return self.end(self.begin(x))


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch ships no types for it


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]  # as above
