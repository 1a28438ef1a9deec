"""A cache before models changes no answer: what a linear model says of a row is the same from memory, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.answer_cache import AnswerCache
from stream_infer.edge.workers import InProcess
from stream_infer.flow.commands import Forward, Install, Together
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.models.answer_table import CacheSettings
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix
from stream_infer.sim.forwarding import SimForwarder
from tests.support_flow import Pay, payment, plan_of


def linear(seed: int) -> LinearModel:
    draw = np.random.default_rng(seed)
    return LinearModel(draw.normal(size=(3, 2)), draw.normal(size=2), draw.normal(size=3), draw.uniform(1, 2, 3), "logistic")


class Odd:
    """A model that is at fault for rows with a 7, and answers for too many where there is a 9."""

    columns, outputs, digest = ("a", "b", "c"), 1, ""

    def __init__(self) -> None:
        self.asked = 0

    def forward(self, x: Matrix) -> Floats:
        self.asked += len(x)
        if (x == 7).any():
            raise ValueError("a seven")
        return np.zeros((len(x) + int((x == 9).any()), 1))


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=30), min_size=1, max_size=10), st.integers(1, 40))
def test_answers_are_those_of_the_model_itself(chunks: list[list[int]], rows_max: int) -> None:
    models = {"plain": linear(1), "kept": linear(2)}
    cache = AnswerCache(InProcess(models), {"kept": CacheSettings(rows_max)})
    table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    for number, chunk in enumerate(chunks):
        name = "plain" if number % 4 == 3 else "kept"
        cache.submit(Forward(number, name, 0, table[chunk], Together(4096, "full")))
        if number % 2:
            for answer in cache.finished(1000):
                assert isinstance(answer, ForwardDone)
                which = "plain" if answer.job % 4 == 3 else "kept"
                np.testing.assert_array_equal(answer.outputs, models[which].forward(table[chunks[answer.job]]))
    cache.finished(0)
    stats = cache.stats["kept"]
    assert stats.hits + stats.repeats + stats.misses == sum(len(c) for n, c in enumerate(chunks) if n % 4 != 3)
    cache.close()


def done(cache: AnswerCache, job: int, rows: Any) -> ForwardDone | ForwardFailed:
    cache.submit(Forward(job, "odd", 0, np.array(rows, dtype=np.float32)))
    found = cache.finished(10_000)
    assert [answer.job for answer in found] == [job]
    return found[0]


@pytest.mark.filterwarnings("error")
def test_faults_reach_whoever_asked_and_are_not_remembered() -> None:
    model = Odd()
    cache = AnswerCache(InProcess({"odd": model}), {"odd": CacheSettings(100)})
    try:
        one, seven, nine = [1, 1, 1], [7, 1, 1], [9, 1, 1]
        assert isinstance(done(cache, 1, [one, seven, one]), ForwardFailed)
        assert isinstance(done(cache, 2, [seven]), ForwardFailed)
        answer = done(cache, 3, [one, one])
        assert isinstance(answer, ForwardDone)
        assert answer.outputs.tolist() == [[0.0], [0.0]]
        assert answer.passed is not None
        assert answer.passed.rows == 1
        asked = model.asked
        assert isinstance(done(cache, 4, [one]), ForwardDone)
        assert model.asked == asked
        assert isinstance(done(cache, 5, [one, nine]), ForwardFailed)
        assert isinstance(done(cache, 6, [one, one]), ForwardDone)
        assert model.asked == asked + 1
    finally:
        cache.close()


def test_a_version_answers_for_itself_only() -> None:
    old, new = linear(1), linear(2)
    cache = AnswerCache(InProcess({"m": old}), {"m": CacheSettings(100)})
    rows = np.ones((1, 3), dtype=np.float32)
    cache.install(Install("m", 1, new.to_bytes()))
    for job, (version, model) in enumerate([(0, old), (1, new), (0, old), (1, new)]):
        cache.submit(Forward(job, "m", version, rows))
        (answer,) = cache.finished(1000)
        assert isinstance(answer, ForwardDone)
        np.testing.assert_array_equal(answer.outputs, model.forward(rows))
    assert (cache.stats["m"].hits, cache.stats["m"].misses) == (2, 2)
    cache.close()


def test_perturbed_rows_are_asked_and_neither_found_nor_remembered() -> None:
    model = linear(1)
    cache = AnswerCache(InProcess({"m": model}), {"m": CacheSettings(100)})
    rows = np.ones((1, 3), dtype=np.float32)
    for job in range(3):
        cache.submit(Forward(job, "m", 0, rows, perturbed=job < 2))
        (answer,) = cache.finished(1000)
        assert isinstance(answer, ForwardDone)
        np.testing.assert_array_equal(answer.outputs, model.forward(rows))
    assert (cache.stats["m"].hits, cache.stats["m"].misses) == (0, 1)
    cache.close()


class Closable(SimForwarder):
    def close(self) -> None:
        pass


STAGES = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount], cache: {rows_max: 100, ttl_s: 10}}
stages:
  score: {kind: model, from: payments, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_an_answer_counts_for_so_long_of_event_time() -> None:
    """A payment a second, of three amounts in turn, each in a chunk of its own: an amount is computed anew when ten seconds are over."""
    pay = Pay(plan_of(STAGES))
    settings = pay.plan.models["probe"].cache
    assert settings == CacheSettings(100, 10_000)
    pay.send("payments", *(payment(number, amount=float(number % 3)) for number in range(60)))
    worker = pay.worker(chunk_rows_max=1)
    cache = worker._forwarder = AnswerCache(Closable(pay.models, lambda _: 0), {"probe": settings})
    pay.settle(worker, done=lambda: worker.flow.stats.rows_in == 60 and worker.settled())
    pay.step(worker, times=20)
    computed: dict[int, int] = {}
    for number in range(60):
        if number - computed.get(number % 3, -100) > 10:
            computed[number % 3] = number
            computed[-1] = computed.get(-1, 0) + 1
    assert (cache.stats["probe"].misses, cache.stats["probe"].hits) == (computed[-1], 60 - computed[-1])
    assert {name: found[0] for name, found in pay.outputs().items()} == {f"p{number}": float(number % 3) for number in range(60)}
