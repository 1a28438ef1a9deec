"""jit: loops over rows in machine code. Nothing lies below this module.

Numba compiles a plain Python function on its first call (some tenths of a second to a few seconds) and keeps the result beside the
source, so later processes load it in milliseconds. Kernels here let go of the interpreter lock, round as Python does (no fast-math),
and take and give arrays and numbers only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled when first called with each combination of argument types; kernels may call kernels of their own module only,
    for the kept result of one is not renewed when another module changes."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled


def _word_at(_typing: Any, data: Any, at: Any) -> Any:
    def load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, signature, args), align=1)

    return types.uint64(data, at), load


def _put_word(_typing: Any, data: Any, at: Any, _word: Any) -> Any:
    def store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(context, builder, signature, args), align=1)
        return context.get_dummy_value()

    return types.void(data, at, types.uint64), store


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The address of byte `at` of `data`, as that of a word."""
    array = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
    at = context.cast(builder, args[1], signature.args[1], types.int64)
    return builder.bitcast(builder.gep(array.data, [at]), ir.IntType(64).as_pointer())


# For kernels alone, on contiguous uint8 arrays of a little-endian machine: eight bytes as one number, wherever they lie. Nothing is
# checked: the kernel sees to 0 ≤ at ≤ len(data) - 8.
word_at: Callable[[NDArray[np.uint8], int], np.uint64] = intrinsic(_word_at)  # word_at(data, at)
put_word: Callable[[NDArray[np.uint8], int, np.uint64], None] = intrinsic(_put_word)  # put_word(data, at, word)
