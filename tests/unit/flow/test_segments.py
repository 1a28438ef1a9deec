"""A bandit that learns by segment, in a running task. Oracle: from the joined rows, one policy per shop in plain Python."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from stream_infer.codec.block import Block, rows_of_block
from stream_infer.decide.policy import ArmStats, draw, propensities
from stream_infer.decide.settings import PolicySettings
from stream_infer.flow.blocks import read_blocks
from stream_infer.hashing import hash64, uniform
from stream_infer.records import Text
from stream_infer.sim.reading import all_of, joined_of
from tests.support_flow import Pay, payment, plan_of
from tests.support_worker import Hooked, link

PRIOR, MOST, EVERY_MS = 5, 3, 4_000
SHOPS = ("bath", "cork", "dover", "ely")  # one more than get a policy of their own
STAGES = """
models:
  near: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  far: {kind: linear, artifact: none.safetensors, inputs: [amount]}
stages:
  score:
    kind: bandit
    from: payments
    arms: [near, far]
    policy: {maillard: {}}
    share_min: 0.1
    seed: 5
    segment: shop
    segments_max: 3
    segment_prior_rows: 5
  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 3, reward: {value: {}}}
  teach: {kind: learn, from: outcome, every_s: 4}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1FIELDS}
"""
POLICY = PolicySettings("maillard", share_min=0.1)
Ledger = list[tuple[int, str, int, Fraction, float]]  # closed at, shop, arm, weight in thousandths, reward


def stages(fields: str = "") -> str:
    return STAGES.replace("FIELDS", fields)


def feed(pay: Pay, numbers: range) -> None:
    """The first arm earns in two shops, the other one in the others; nobody says of one shop which, before it is late."""
    for n in numbers:
        pay.send("payments", payment(n, shop=SHOPS[n * 7 % 4]))
        pay.send("told", {"payment": f"p{n}", "card": "a", "truth": (n * 31 % 10) / 10, "at_ms": n * 1000 + 500})


def shop_of(row: dict[str, Any]) -> str:
    return SHOPS[int(row["prediction_id"][1:]) * 7 % 4]


def expected(ledger: Ledger, version: int, shop: str) -> list[float]:
    """The shares of a shop under a version: all that was joined before its epoch."""
    known = [row for row in ledger if row[0] < version * EVERY_MS]
    own_shops = list(dict.fromkeys(row[1] for row in known))[:MOST]

    def sums(rows: Ledger, arm: int) -> tuple[int, int]:
        weights = [(weight, round(reward * 1e6)) for _, _, a, weight, reward in rows if a == arm]
        if not weights:
            return 0, 0
        total = sum(weight for weight, _ in weights)
        count = int(total * total / sum(weight * weight for weight, _ in weights) + Fraction(1, 2))
        return count, int(sum(weight * reward for weight, reward in weights) * count / total + Fraction(1, 2))

    found = []
    for arm in range(2):
        if shop not in own_shops:
            found.append(sums(known, arm))
            continue
        n, r = sums([row for row in known if row[1] == shop], arm)
        others, reward = sums([row for row in known if row[1] != shop], arm)
        c = min(others, PRIOR)
        found.append((n + c, r + (int(Fraction(reward * c, others) + Fraction(1, 2)) if others else 0)))
    pulls, rewards = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    return propensities(POLICY, ArmStats(pulls, rewards, rewards)).tolist()


def ledger_of(pay: Pay) -> Ledger:
    rows = [read.row for read in all_of(pay.broker, joined_of(pay.plan))]
    found: Ledger = []
    for row in rows:
        arm, propensity, closed, reward = row["arm"], row["propensity"], row["closed_at"], row["reward"]
        assert isinstance(arm, int)
        assert isinstance(propensity, float)
        assert isinstance(closed, int)
        if isinstance(reward, float):
            found.append((closed, shop_of(row), arm, Fraction(round(1000 / propensity)), reward))
    return sorted(found, key=lambda row: row[0])


def check(pay: Pay) -> set[tuple[int, str]]:
    """Every answer was drawn with the shares of its shop, and says so; which shares were met."""
    ledger, met = ledger_of(pay), set[tuple[int, str]]()
    right: dict[tuple[int, str], list[float]] = {}
    for read in pay.predictions():
        row: dict[str, Any] = dict(read.row)
        key = row["policy_version"], shop_of(row)
        met.add(key)
        if key not in right:
            right[key] = expected(ledger, *key)
        assert row["propensities"] == right[key], key
        arm = int(draw(np.array(right[key]), uniform(hash64(Text.of([row["prediction_id"]])), 5))[0])
        assert (row["arm"], row["propensity"]) == (("near", "far")[arm], right[key][arm])
    return met


def test_every_shop_is_a_bandit_of_its_own() -> None:
    pay = Pay(plan_of(stages()))
    feed(pay, range(200))
    worker = pay.worker(deterministic=True, chunk_rows_max=16)
    pay.settle(worker)
    met = check(pay)
    assert len({version for version, _ in met}) > 30
    shares: dict[int, dict[str, tuple[float, ...]]] = defaultdict(dict)
    for read in pay.predictions():
        row: dict[str, Any] = dict(read.row)
        shares[row["policy_version"]][shop_of(row)] = tuple(row["propensities"])
    assert any(len(set(by_shop.values())) >= 3 for by_shop in shares.values()), "shops differ under one version"


def test_a_run_repeats_byte_for_byte_however_it_is_read() -> None:
    found: list[list[bytes | None]] = []
    for seed, slow in ((0, 0.0), (1, 0.9), (2, 0.5)):
        pay = Pay(plan_of(stages()), seed=seed)
        feed(pay, range(120))
        pay.broker.slow_fetch_share = slow
        worker = pay.worker(deterministic=True)
        pay.settle(worker)
        records, _ = pay.broker.log(("pay.models", 0)).fetch(0, 1 << 60)
        found.append([read.value for read in pay.predictions()] + [r.value for r in records if r.key != b"\x00mark"])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("die_at", [40, 90])
def test_live_a_worker_that_dies_learns_every_reward_once(die_at: int) -> None:
    pay = Pay(plan_of(stages()))
    worker = pay.worker(transport=Hooked, chunk_rows_max=16)
    for first in range(0, 160, 10):
        if first == die_at:
            pay.step(worker, times=1)  # something is under way
            link(worker).crash()
            pay.broker.advance(600)
            worker = pay.worker(transport=Hooked, chunk_rows_max=16)
        feed(pay, range(first, first + 10))
        pay.step(worker, times=15)
    pay.settle(worker, done=lambda: len(pay.predictions()) == 160)
    assert len(check(pay)) > 20
    assert len({row[0] for row in ledger_of(pay)}) > 100


def test_the_decision_log_says_it_row_by_row_where_predictions_do_not() -> None:
    pay = Pay(plan_of(stages(", fields: [prediction_id, answer]")))
    feed(pay, range(60))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)
    blocks = [b for fetched in pay.broker.dump("pay.decisions") for b in read_blocks(fetched) if isinstance(b, Block)]
    rows = [row for block in blocks for row in rows_of_block(block)]
    ledger = ledger_of(pay)
    assert len(rows) == 60
    for row in rows:
        version, shop = row["policy_version"], shop_of(row)
        assert isinstance(version, int)
        assert row["propensities"] == expected(ledger, version, shop)


def test_a_shop_that_never_earned_is_decided_by_the_pooled_policy() -> None:
    pay = Pay(plan_of(stages()))
    feed(pay, range(40))
    pay.send("payments", *(payment(n, shop="never seen") for n in range(40, 60)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)
    ledger = ledger_of(pay)
    for read in pay.predictions()[40:]:
        row: dict[str, Any] = dict(read.row)
        assert row["propensities"] == expected(ledger, row["policy_version"], "never seen")
