from __future__ import annotations

import math

import numpy as np
import pytest

from loadgen.synthetic import PaymentSettings, names, payments, zipf_keys
from stream_infer.records import Numbers

SETTINGS = PaymentSettings(rate=2_000, duration_s=20, cards=500, cards_zipf=1.1, seed=11)


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    one, again, other = payments(SETTINGS), payments(SETTINGS), payments(PaymentSettings(rate=2_000, duration_s=20, cards=500, seed=12))
    for name, table in one.tables.items():
        assert {column: values.to_list() for column, values in table.columns.items()} == {
            column: values.to_list() for column, values in again.tables[name].columns.items()
        }
    assert one.tables["payments"].columns["amount"].to_list() != other.tables["payments"].columns["amount"].to_list()


def test_the_truth_is_the_logistic_function_of_the_inputs() -> None:
    made = payments(SETTINGS)
    columns = made.tables["payments"].columns
    for row in range(0, len(made.truth), 1_371):
        inputs = [columns[f"x{i}"].to_list()[row] for i in range(SETTINGS.inputs)]
        score = made.bias + sum(w * float(x) for w, x in zip(made.weights.tolist(), inputs, strict=True) if isinstance(x, float))
        assert made.truth[row] == pytest.approx(1 / (1 + math.exp(-score)), rel=1e-12)


def test_as_many_frauds_as_the_truth_says() -> None:
    made = payments(SETTINGS)
    spread = math.sqrt((made.truth * (1 - made.truth)).sum())
    assert abs(made.fraud.sum() - made.truth.sum()) < 4 * spread


def test_outcomes_follow_their_payment_and_some_never_come() -> None:
    made = payments(SETTINGS)
    paid = dict(zip(made.tables["payments"].columns["payment_id"].to_list(), made.tables["payments"].event_time.tolist(), strict=True))
    outcomes = made.tables["outcomes"]
    known = dict(zip(outcomes.columns["payment_id"].to_list(), outcomes.event_time.tolist(), strict=True))
    assert all(paid[payment] <= at for payment, at in known.items())
    assert 1 - len(known) / len(paid) == pytest.approx(SETTINGS.never_share, abs=4 * math.sqrt(0.03 * 0.97 / 40_000))
    assert (np.diff(outcomes.event_time) >= 0).all()
    fraud = outcomes.columns["fraud"]
    assert isinstance(fraud, Numbers)
    where = {payment: row for row, payment in enumerate(paid)}
    assert all(made.fraud[where[payment]] == value for payment, value in zip(known, fraud.values.tolist(), strict=True))


@pytest.mark.parametrize("exponent", [0.0, 1.1])
def test_keys_have_the_shares_of_their_law(exponent: float) -> None:
    drawn = zipf_keys(np.random.default_rng(3), 200_000, 50, exponent)
    shares = np.arange(1, 51) ** -exponent
    expected = 200_000 * shares / shares.sum()
    # Chi-square with 49 degrees of freedom: mean 49, spread 9.9; 100 is five spreads off.
    assert ((np.bincount(drawn, minlength=50) - expected) ** 2 / expected).sum() < 100


def test_names_are_a_letter_and_ten_digits() -> None:
    assert names("c", np.array([0, 42, 9_999_999_999])).to_list() == ["c0000000000", "c0000000042", "c9999999999"]
