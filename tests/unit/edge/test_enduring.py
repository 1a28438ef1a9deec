"""Passes that are run again in another way. Oracle: which rows kill, and how many rows fit, is known here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.enduring import Crashed, Killed, Known, endured
from stream_infer.edge.one_pass import answers
from stream_infer.edge.passes import PassQueue, Waiting
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.records import Floats, Matrix

SIZES = st.sampled_from([(), (2, 8), (4, 16)])


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@dataclass
class Device:
    """Answers ten times the input. holds: so many rows; killers: rows that end the worker; by_chance: passes (by number) that end it."""

    holds: int = 1000
    killers: frozenset[float] = frozenset()
    by_chance: frozenset[int] = frozenset()
    error: type[Exception] = OutOfMemoryError
    passes: list[int] = field(default_factory=list)
    crashes: int = 0

    def run(self, x: Matrix) -> Floats:
        self.passes.append(len(x))
        if len(self.passes) in self.by_chance or self.killers & set(x[:, 0].tolist()):
            self.crashes += 1
            raise Crashed("signal 9")
        if len(x) > self.holds:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB\nand more")
        return x.astype(np.float64) * 10


def column(*amounts: float) -> Matrix:
    return np.array(amounts, dtype=np.float32)[:, None]


@given(st.integers(1, 60), st.integers(1, 40), SIZES, st.sampled_from([MemoryError, OutOfMemoryError]))
def test_what_finds_no_memory_is_halved_until_it_fits_and_then_at_once(
    rows: int, holds: int, sizes: tuple[int, ...], error: type[Exception]
) -> None:
    holds = max(holds, *sizes[:1]) if sizes else holds
    device, known, x = Device(holds, error=error), Known(), column(*range(rows))
    assert endured(device.run, x, sizes, known, "net", 0)[0][:, 0].tolist() == [10.0 * row for row in range(rows)]
    fit = known.rows_fit("net")
    assert (fit == 0) == (max(device.passes) <= holds)
    assert fit <= holds
    if fit and not sizes:
        assert 2 * fit >= min(holds, rows) // 2, "not much smaller than must be"
    tried = len(device.passes)
    endured(device.run, x, sizes, known, "net", 0)
    assert max(device.passes[tried:]) <= holds, "remembered"


def test_one_row_that_finds_no_memory_is_told_and_nothing_is_concluded_from_it() -> None:
    device, known = Device(holds=0), Known()
    with pytest.raises(OutOfMemoryError):
        endured(device.run, column(1, 2, 3), (), known, "net", 0)
    assert known.rows_fit("net") == 0, "the device is full of something else"
    assert known.no_memory == {"net": 2}


def test_a_worker_that_dies_by_chance_is_asked_the_same_again() -> None:
    device, known = Device(by_chance=frozenset({1})), Known()
    assert endured(device.run, column(1, 2, 3), (), known, "net", 0)[0][:, 0].tolist() == [10, 20, 30]
    assert device.passes == [3, 3]


def test_dying_twice_by_chance_blames_no_row_and_makes_passes_smaller() -> None:
    device, known = Device(by_chance=frozenset({1, 2})), Known()
    assert endured(device.run, column(1, 2, 3, 4), (), known, "net", 0)[0][:, 0].tolist() == [10, 20, 30, 40]
    assert device.passes == [4, 4, 1, 1, 1, 1, 2, 2]
    assert known.rows_fit("net") == 2


def test_a_row_alone_that_kills_twice_is_named_without_a_third_try() -> None:
    device, known = Device(killers=frozenset({7.0})), Known()
    with pytest.raises(Killed) as found:
        endured(device.run, column(7), (), known, "net", 0)
    assert found.value.reasons == {0: "killed its worker (signal 9) twice"}
    assert device.crashes == 2


ROWS = st.lists(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=6), min_size=1, max_size=5)


@given(ROWS, st.frozensets(st.integers(0, 9).map(float), max_size=3), SIZES, st.booleans())
def test_exactly_the_rows_that_kill_are_rejected_and_each_content_kills_three_times_at_most(
    forwards: list[list[float]], killers: frozenset[float], sizes: tuple[int, ...], shared: bool
) -> None:
    """What the core does with a failed forward is done here: halve it, each half in a pass of its own, until one row is left."""
    killers -= {0.0}  # rows of nothing fill passes up
    device, known, queue = Device(killers=killers), Known(), PassQueue()
    wanted: dict[int, list[float]] = {}

    def put(amounts: list[float], together: Together | None) -> None:
        wanted[len(wanted)] = amounts
        queue.put(Forward(len(wanted) - 1, "net", 0, column(*amounts), together, sizes), device, lambda _: None)  # type: ignore[arg-type]

    for amounts in forwards:
        put(amounts, Together(64, "full") if shared else None)
    given_back: list[float] = []
    rejected: list[float] = []
    while (taken := queue.take()) is not None:
        for answer in answers(taken, lambda _, x: device.run(x), known):
            amounts = wanted[answer.job]
            if isinstance(answer, ForwardDone):
                assert answer.outputs[:, 0].tolist() == [10 * amount for amount in amounts]
                given_back += amounts
            elif len(amounts) == 1:
                assert answer == ForwardFailed(answer.job, "killed its worker (signal 9) twice")
                rejected += amounts
            else:
                put(amounts[: len(amounts) // 2], None)
                put(amounts[len(amounts) // 2 :], None)
    every = sorted(amount for amounts in forwards for amount in amounts)
    assert sorted(rejected) == [amount for amount in every if amount in killers]
    assert sorted(given_back) == [amount for amount in every if amount not in killers]
    assert device.crashes <= 3 * len(killers)


def test_rows_of_another_version_are_not_blamed() -> None:
    device, known = Device(killers=frozenset({7.0})), Known()
    with pytest.raises(Killed):
        endured(device.run, column(7, 8), (), known, "net", 0)
    assert known.killers("net", 0, column(8, 7)) == {1: "killed its worker (signal 9) twice"}
    assert known.killers("net", 1, column(8, 7)) == {}
    assert known.killers("other", 0, column(8, 7)) == {}


def test_how_many_rows_fit_is_told_with_the_pass() -> None:
    device, known, queue = Device(holds=3), Known(), PassQueue()
    asked: list[Waiting] = []
    queue.put(Forward(1, "net", 0, column(*range(8))), device, lambda _: None)  # type: ignore[arg-type]
    taken = queue.take()
    assert taken is not None
    (answer,) = answers(taken, lambda waiting, x: asked.append(waiting) or device.run(x), known)
    assert isinstance(answer, ForwardDone)
    assert answer.passed is not None
    assert answer.passed.rows_fit == 2
    assert device.passes == [8, 4, 2, 2, 2, 2]
    assert answer.place == (0, 2), "as the first row was run"
