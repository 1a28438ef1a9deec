"""A module that an operator admits in tests: nets that misbehave in known ways. answer = 2 · amount + 1 where they do not."""

from __future__ import annotations

import torch
from torch import nn

GIVES_NAN, RAISES, ANSWERS_ONCE_TOO_OFTEN = 13.0, 666.0, 77.0


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


class Squeezed(Twice):
    """The wrong shape always: one answer for the whole batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).mean(dim=0, keepdim=True)


STREAM_INFER_MODELS = {"twice": lambda _: Twice(), "moody": lambda _: Moody(), "squeezed": lambda _: Squeezed()}
