"""Functions that an operator admits in tests, which misbehave in known ways. twice = 2 · amount where they do not."""

from __future__ import annotations

import asyncio
import os

import numpy as np

from stream_infer.functions import Function, Given, Rejected, Values

RAISES = 666.0
DEADLY = 1313.0  # ends the process that meets it


def twice_row(row: Values) -> Values:
    amount = row["amount"]
    assert isinstance(amount, float)
    if amount < 0:
        raise Rejected(f"amount {amount:g} is negative")
    if amount == RAISES:
        raise ValueError(f"{RAISES:g} is not a number that I like\nand here is a long explanation")
    return {"twice": 2 * amount}


def twice_batch(rows: Values) -> Given:
    amounts = np.asarray(rows["amount"])
    if (amounts == DEADLY).any():
        os._exit(3)
    if (amounts == RAISES).any():
        raise ValueError(f"{RAISES:g} is not a number that I like\nand here is a long explanation")
    return Given({"twice": 2 * amounts}, {int(row): f"amount {amounts[row]:g} is negative" for row in np.flatnonzero(amounts < 0)})


def not_negative(row: Values) -> None:
    amount = row["amount"]
    assert isinstance(amount, float)
    if amount < 0:
        raise Rejected(f"amount {amount:g} is negative")


async def twice_slowly(row: Values) -> Values:
    """Every third row is not reached at first; none is quick."""
    amount = row["amount"]
    assert isinstance(amount, float)
    _tried[amount] = _tried.get(amount, 0) + 1
    await asyncio.sleep(0.002)
    if amount % 3 == 0 and _tried[amount] % 2:
        raise ConnectionError("busy")
    return {"slow": 2 * amount}


_tried: dict[float, int] = {}
STREAM_INFER_FUNCTIONS: dict[str, Function] = {
    "twice_row": twice_row,
    "twice_batch": twice_batch,
    "not_negative": not_negative,
    "twice_slowly": twice_slowly,
}
