"""Oracle: the Shapley kernel counted coalition by coalition."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.attribution.coalitions import draws, near_masks, shapley_masks, subsets


@pytest.mark.parametrize("groups", [2, 3, 4, 5, 8, 9])
def test_all_coalitions_with_the_kernel_s_weights(groups: int) -> None:
    masks, weights = shapley_masks(groups, 2**groups - 2, 1, 0)
    expected = {
        mask: (groups - 1) / (comb(groups, sum(mask)) * sum(mask) * (groups - sum(mask)))
        for mask in product([False, True], repeat=groups)
        if 0 < sum(mask) < groups
    }
    found = dict(zip(map(tuple, masks.tolist()), weights.tolist(), strict=True))
    assert len(masks) == len(found) == 2**groups - 2
    assert found == pytest.approx(expected)


@given(st.integers(2, 40), st.integers(2, 400), st.integers(0, 2**64 - 1))
def test_no_more_than_the_samples_and_none_trivial(groups: int, samples: int, key: int) -> None:
    masks, weights = shapley_masks(groups, samples, key, 0)
    assert len(masks) == len(weights) <= samples
    assert ((masks.sum(axis=1) > 0) & (masks.sum(axis=1) < groups)).all()
    if samples >= 2:
        whole = (groups - 1) * sum(1 / (size * (groups - size)) for size in range(1, groups))
        assert weights.sum() == pytest.approx(whole) or not len(weights)


def test_every_coalition_that_is_drawn_brings_its_complement() -> None:
    masks, _ = shapley_masks(20, 200, 7, 3)
    rows = {tuple(mask) for mask in masks.tolist()}
    assert all(tuple(not member for member in row) in rows for row in rows)


def test_sizes_are_drawn_as_the_kernel_weighs_them() -> None:
    groups = 12
    masks, weights = shapley_masks(groups, 4000, 5, 0)
    by_size = np.bincount(masks.sum(axis=1), weights=weights, minlength=groups)[1:groups]
    sizes = np.arange(1, groups)
    assert by_size == pytest.approx((groups - 1) / (sizes * (groups - sizes)), rel=0.15)


def test_draws_are_a_function_of_key_seed_and_place() -> None:
    whole = draws(9, 1, (10, 4)).reshape(-1)
    assert (draws(9, 1, (5, 4)).reshape(-1) == whole[:20]).all()
    assert not np.isin(draws(10, 1, (10, 4)), whole).any()
    assert not np.isin(draws(9, 2, (10, 4)), whole).any()
    many = draws(3, 0, (100, 200)).reshape(-1)
    assert np.histogram(many, bins=10, range=(0, 1))[0] == pytest.approx(2000, rel=0.1)


def test_subsets_have_the_sizes_asked_for_and_members_evenly() -> None:
    sizes = np.arange(4000) % 6
    picked = subsets(sizes, draws(4, 0, (4000, 5)))
    assert (picked.sum(axis=1) == sizes).all()
    assert picked.mean(axis=0) == pytest.approx(0.5, abs=0.03)


def test_rows_nearby_keep_any_number_of_inputs_but_the_first_keeps_all() -> None:
    masks = near_masks(6, 6001, 8, 0)
    assert masks[0].all()
    assert np.bincount(6 - masks[1:].sum(axis=1), minlength=7)[1:] == pytest.approx(1000, rel=0.15)
