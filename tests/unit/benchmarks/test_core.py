"""What a turn of the loop costs, as a count: a topology that does not use a feature must not pay for it.

A turn of few rows costs what its Python calls cost (some 0.4 µs each), whatever the rows: that is the latency at low load. Calls are
counted, not timed, so the machine does not matter; Python's version does a little (from 3.12 on comprehensions are no calls). Whoever
needs more than the bound should see it here, and put it where only those pay who use it.
"""

from __future__ import annotations

import pytest

from benchmarks.core import calls


@pytest.mark.parametrize(("topology", "bound"), [("transform", 2600), ("windows", 3800)])
def test_a_turn_makes_no_more_calls_than_it_did(topology: str, bound: int) -> None:
    assert calls(topology, 16) <= bound
