"""A module that an operator admits in tests: nets that misbehave in known ways. answer = 2 · amount + 1 where they do not."""

from __future__ import annotations

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


STREAM_INFER_MODELS = {
    "twice": lambda _: Twice(),
    "moody": lambda _: Moody(),
    "squeezed": lambda _: Squeezed(),
    "blocking": lambda _: Blocking(),
}
