"""Snapshots, changelogs and a task that goes to and fro. Oracle: rows are answered once, with what their key spent before them."""

from __future__ import annotations

import pytest

from tests.support_flow import SPENT, Pay, payment, plan_of
from tests.support_worker import Hooked, Memory, link, seen, spent, stalled


def test_a_snapshot_does_not_cover_what_a_new_owner_wrote() -> None:
    """The worker stands still between its commit and whatever it does for its snapshot."""
    pay = Pay(plan_of())
    host = Memory()
    one = pay.worker("1", transport=Hooked, snapshots=host, snapshot_every_ms=0)
    pay.send("payments", *map(payment, range(3)))
    pay.step(one, times=2)
    two = pay.worker("2", transport=Hooked)
    committed = [False]

    def stand_still(call: str) -> None:
        if committed[0]:
            link(one).hook = lambda _: None
            pay.send("payments", *map(payment, range(3, 6)))
            stalled(pay, one, [two])
        committed[0] = committed[0] or call == "commit"

    link(one).hook = stand_still
    pay.step(one, times=3)
    pay.step(one, two, times=20)
    two.close()
    pay.step(one, times=5)
    pay.send("payments", *map(payment, range(6, 9)))
    pay.step(one, times=20)

    assert committed[0]
    assert seen(pay) == spent(*range(9))


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_task_that_comes_back_is_the_newest_there_is(comes_back: bool) -> None:
    """p0 waits; meanwhile the task goes to another worker, which answers p1 and p2, and comes back: the group's offset is still p0's."""
    stages = SPENT.replace("n: {count: true}, ", "n: {count: true}, ")
    pay = Pay(plan_of(stages, payments=", decide_at: {field: due_ms}"))
    one = pay.worker("1", transport=Hooked)
    pay.step(one, times=2)
    pay.send("payments", payment(0, due_ms=90_000), payment(1, due_ms=1_500))
    pay.step(one, times=5)
    parked = dict(one.flow.tasks)
    two = pay.worker("0", transport=Hooked)
    pay.step(one, two, times=5)
    owner, other = (one, two) if one.flow.tasks else (two, one)
    pay.send("payments", payment(2, at_ms=3_000, due_ms=3_000), payment(3, at_ms=4_000, due_ms=4_000))
    pay.step(owner, other, times=20)
    owner.close()
    if not comes_back:
        other.close()
        other = pay.worker("3")
    pay.step(other, times=5)
    pay.send("payments", payment(4, at_ms=100_000, due_ms=100_000))
    pay.step(other, times=20)

    assert parked
    assert sorted(seen(pay)) == ["p0", "p1", "p2", "p3", "p4"]
