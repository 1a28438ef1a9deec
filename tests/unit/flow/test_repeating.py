"""What is on record of who was late. Oracle: the rows themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.repeating import NOT_ASKED, LateTold, Told, late_told


@given(st.lists(st.booleans(), max_size=20), st.lists(st.booleans(), max_size=20))
def test_stretches_of_rows_are_told_and_read_back(rows: list[bool], others: list[bool]) -> None:
    late = late_told(7, 0, np.array(rows, dtype=np.bool_)) + late_told(7, 1, np.array(others, dtype=np.bool_))
    told = Told({}, [*late, LateTold(3, NOT_ASKED, 0, 0)])
    assert told.without(7, 0, len(rows)).tolist() == rows
    assert told.without(7, 1, len(others)).tolist() == others
    assert not told.without(8, 0, 5).any()
    assert (told.not_asked(3), told.not_asked(7)) == (True, False)
    assert all(one.rows for one in late), "no empty stretch"
