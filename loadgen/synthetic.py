"""loadgen.synthetic: seeded events whose true answer is known. *synthetic* → send, tests, benchmarks.

A payment has a card, an amount and a few numbers; its true chance of being fraud is a logistic function of these numbers.
The outcome follows after a delay that is longer for frauds, as in life; some outcomes never come. Everything is a function of
the settings, so a test can say what a model, a join or a feature should have found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadgen.tables import Table, in_order
from stream_infer.records import Column, Floats, Ints, Numbers, Text

BEGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
ID_WIDTH = 10


@dataclass(frozen=True)
class PaymentSettings:
    """rate: payments per second of event time, evenly spaced on average; cards_zipf: 0 makes all cards equal, 1.1 a few busy ones.

    inputs: how many numbers x0, x1 … a payment has; delay_s_mean: of the outcome, doubled for frauds; never_share: of outcomes
    that never come.
    """

    rate: float = 1000.0
    duration_s: float = 60.0
    cards: int = 10_000
    cards_zipf: float = 0.0
    inputs: int = 8
    delay_s_mean: float = 600.0
    never_share: float = 0.03
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Payments:
    """tables: payments and outcomes. truth: float64[payments], the chance of fraud; weights: float64[inputs], bias: what it is made of.

    fraud: bool[payments], what came of it, known or not.
    """

    tables: dict[str, Table]
    truth: Floats
    fraud: np.ndarray[tuple[int], np.dtype[np.bool_]]
    weights: Floats
    bias: float


def payments(settings: PaymentSettings) -> Payments:
    """The events of one run; the same settings give the same events."""
    draw = np.random.default_rng(settings.seed)
    count = round(settings.rate * settings.duration_s)
    paid_at = BEGIN_MS + np.sort(draw.integers(0, max(1, round(settings.duration_s * 1000)), count))
    x = draw.standard_normal((count, settings.inputs))
    weights = draw.standard_normal(settings.inputs) / np.sqrt(settings.inputs)
    bias = -2.0
    truth: Floats = 1.0 / (1.0 + np.exp(-(x @ weights + bias)))
    fraud = draw.random(count) < truth
    cards = zipf_keys(draw, count, settings.cards, settings.cards_zipf)
    ids = names("p", np.arange(count, dtype=np.int64))
    columns: dict[str, Column] = {"payment_id": ids, "card_id": names("c", cards), "paid_at_ms": Numbers(paid_at)}
    columns["amount"] = Numbers(np.round(draw.lognormal(3.0, 1.0, count), 2))
    columns |= {f"x{i}": Numbers(x[:, i].copy()) for i in range(settings.inputs)}
    delay_ms = (draw.exponential(settings.delay_s_mean * 1000, count) * np.where(fraud, 2.0, 1.0)).astype(np.int64)
    told = np.flatnonzero(draw.random(count) >= settings.never_share)
    known_at = (paid_at + delay_ms)[told]
    known: dict[str, Column] = {"payment_id": ids.take(told), "card_id": columns["card_id"].take(told), "known_at_ms": Numbers(known_at)}
    known["fraud"] = Numbers(fraud[told].astype(np.int64))
    outcomes = Table(known_at, known, "card_id").take(in_order(known_at, told))
    return Payments({"payments": Table(paid_at, columns, "card_id"), "outcomes": outcomes}, truth, fraud, weights, bias)


def zipf_keys(draw: np.random.Generator, count: int, keys: int, exponent: float) -> Ints:
    """int64[count] in [0, keys): key i has a share proportional to (i + 1) ** -exponent; 0 makes all equal."""
    shares = np.cumsum(np.arange(1, keys + 1, dtype=np.float64) ** -exponent)
    drawn: Ints = np.searchsorted(shares, draw.random(count) * shares[-1], side="right").astype(np.int64)
    return np.minimum(drawn, keys - 1)


def names(prefix: str, values: Ints) -> Text:
    """Text[n] such as p0000000042: a letter and ten digits, made without a Python object per row. values: int64[n] ≥ 0, below 1e10."""
    digits = values[:, None] // 10 ** np.arange(ID_WIDTH - 1, -1, -1, dtype=np.int64) % 10 + ord("0")
    blob = np.concatenate([np.full((len(values), 1), ord(prefix), dtype=np.int64), digits], axis=1).astype(np.uint8)
    width = ID_WIDTH + 1
    return Text(blob.reshape(-1), np.arange(len(values), dtype=np.int64) * width, np.full(len(values), width, dtype=np.int64))
