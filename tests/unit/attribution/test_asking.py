"""Oracle: each perturbed row made and asked alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.attribution.asking import Asking
from tests.unit.attribution.support_attribution import Told, rows_of, twisted


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 12))
def test_any_numbers_of_masks_in_passes_of_any_size(counts: list[int], rows_at_once: int) -> None:
    x, chance = rows_of(len(counts), 6), np.random.default_rng(len(counts))
    baseline, starts = np.full(6, 0.5, dtype=np.float32), np.array([0, 1, 4])
    masks = [chance.random((count, 3)) < 0.5 for count in counts]
    model = Told(6, twisted)
    found = Asking(model, rows_at_once=rows_at_once).of_masks(x, baseline, masks, starts)
    assert max(model.asked, default=0) <= rows_at_once
    assert [len(answers) for answers in found] == counts
    for row, mask, answers in zip(x, masks, found, strict=True):
        whole = mask[:, [0, 1, 1, 1, 2, 2]]
        assert answers.tolist() == twisted(np.where(whole, row, baseline).astype(np.float64)).tolist()


def test_a_pass_of_the_smallest_size_where_all_are_larger_than_wanted() -> None:
    model = Told(4, twisted)
    Asking(model, rows_at_once=3, sizes=(8, 16)).of(rows_of(10, 4))
    assert model.asked == [8, 8]


def test_no_rows_are_not_asked() -> None:
    model = Told(4, twisted)
    assert Asking(model).of(rows_of(0, 4)).tolist() == []
    assert model.asked == []
