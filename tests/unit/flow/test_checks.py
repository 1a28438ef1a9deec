"""What must fit together before work begins. Oracle: the message, or the answers where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream_infer.errors import EnvironmentMissing
from stream_infer.sim.log import PartitionLog
from tests.support_flow import Pay, payment, plan_of
from tests.support_worker import Hooked, link, seen, spent


def test_a_changelog_that_is_just_being_written_is_not_a_lost_one() -> None:
    pay = Pay(plan_of())
    one = pay.worker("1", transport=Hooked)
    two = pay.worker("2", transport=Hooked)

    def stand_still(call: str) -> None:
        if call == "read":
            link(one).hook = lambda _: None
            link(one).stall()
            pay.broker.advance(600)
            pay.send("payments", *map(payment, range(3)))
            pay.step(two, times=20)
            link(one).wake()

    link(one).hook = stand_still
    pay.step(one, two, times=40)

    assert seen(pay) == spent(*range(3))


def test_offsets_without_state_mean_that_the_changelog_is_lost() -> None:
    pay = Pay(plan_of())
    pay.send("payments", *map(payment, range(3)))
    worker = pay.worker()
    pay.step(worker)
    worker.close()
    pay.broker._logs[pay.plan.sections[0].state_topic] = [PartitionLog()]

    with pytest.raises(EnvironmentMissing, match=r"the state topic pay\.main\.state is empty"):
        pay.step(pay.worker("1"))


def test_topics_with_other_numbers_of_partitions_are_refused() -> None:
    pay = Pay(plan_of())
    pay.plan = replace(pay.plan, topics=tuple((topic, count + 1, compacted) for topic, count, compacted in pay.plan.topics))

    with pytest.raises(EnvironmentMissing, match="another number of partitions"):
        pay.worker()
