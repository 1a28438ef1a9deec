"""A module that an operator admits in tests: nets that misbehave in known ways. answer = 2 · amount + 1 where they do not."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from threading import Event

import torch
from torch import nn

GIVES_NAN, RAISES, ANSWERS_ONCE_TOO_OFTEN, BLOCKS = 13.0, 666.0, 77.0, 99.0
LET_GO = Event()  # what a blocking model waits for


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + 1.0


class Moody(Twice):
    """Spoils the whole batch, or its own row, when it meets certain amounts."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (x == RAISES).any():
            raise ValueError(f"{RAISES:g} is not a number that I like\nand here is a long explanation")
        out = super().forward(x)
        if (x == ANSWERS_ONCE_TOO_OFTEN).any():
            out = torch.cat([out, out[:1]])
        return torch.where(x == GIVES_NAN, torch.nan, out)


class Blocking(Twice):
    """Does not answer a batch with a certain amount until it is let go."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (x == BLOCKS).any():
            LET_GO.wait()
        return super().forward(x)


class Squeezed(Twice):
    """The wrong shape always: one answer for the whole batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).mean(dim=0, keepdim=True)


EXITS, KILLS, SEGFAULTS, HANGS = 600.0, 601.0, 602.0, 603.0
ROWS_THAT_FIT = 100


class Deadly(Moody):
    """Ends its process, or never answers, when it meets certain amounts; finds no memory for more than ROWS_THAT_FIT rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (x == EXITS).any():
            os._exit(3)
        if (x == KILLS).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (x == SEGFAULTS).any():
            ctypes.string_at(0)
        if (x == HANGS).any():
            time.sleep(1000)
        if len(x) > ROWS_THAT_FIT:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(x)


class Wide(nn.Module):
    """A net that adds up in the order that its library likes: bits tell passes of different sizes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.sin(torch.arange(64 * 33, dtype=torch.float32)).reshape(64, 33))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.weight) @ self.weight.T[:, :3]


STREAM_INFER_MODELS = {
    "twice": lambda _: Twice(),
    "moody": lambda _: Moody(),
    "squeezed": lambda _: Squeezed(),
    "blocking": lambda _: Blocking(),
    "deadly": lambda _: Deadly(),
    "wide": lambda _: Wide(),
}
