"""Columns of numbers in a matrix, against numpy column by column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.features.filling import BLOCK, Filling

NUMBERS = st.floats(allow_nan=True) | st.sampled_from([np.nan, 0.0, 1e300])


@given(st.integers(0, 2 * BLOCK + 3), st.lists(st.tuples(st.integers(0, 2), NUMBERS, st.booleans()), max_size=5), st.data())
def test_every_column_is_what_numpy_makes_of_it(rows: int, wanted: list[tuple[int, float, bool]], data: st.DataObject) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    some = draw.normal(size=rows)
    some[draw.random(rows) < 0.3] = np.nan
    apart = draw.normal(size=(rows, 2)).astype(np.float32)[:, 1]
    columns = [some, draw.integers(-5, 5, rows), apart]
    into = list(range(len(wanted)))[::-1]

    out = np.full((rows, len(wanted) + 1), 7, dtype=np.float32)
    lines = [(source, at, asks) for at, (source, _, asks) in zip(into, wanted, strict=True)]
    Filling(lines, [missing for _, missing, _ in wanted]).into(out, columns)

    with np.errstate(over="ignore"):
        for at, (source, missing, asks) in zip(into, wanted, strict=True):
            column = columns[source].astype(np.float64)
            expected = np.isnan(column) if asks else np.where(np.isnan(column), missing, column)
            assert np.array_equal(out[:, at], expected.astype(np.float32), equal_nan=True)
    assert (out[:, -1] == 7).all()


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        Filling([(0, 0, False)], [np.nan]).into(np.zeros((3, 1), dtype=np.float32), [np.zeros(2)])
