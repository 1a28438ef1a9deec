"""jit: loops over rows in machine code. Nothing lies below this module.

Numba compiles a plain Python function on its first call (some tenths of a second to a few seconds) and keeps the result beside the
source, so later processes load it in milliseconds. Kernels here let go of the interpreter lock, round as Python does (no fast-math),
and take and give arrays and numbers only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled when first called with each combination of argument types; kernels may call kernels of their own module only,
    for the kept result of one is not renewed when another module changes."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled
