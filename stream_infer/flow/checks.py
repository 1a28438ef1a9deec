"""flow.checks: what must fit together before work begins: topics and plan, state and offsets, logs and places. worker → *checks*."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.task import Task
from stream_infer.flow.transport import Partition, Transport
from stream_infer.topology.plan import Plan


def check_topics(plan: Plan, transport: Transport) -> None:
    """Every topic has as many partitions as the plan counts on; EnvironmentMissing names the first that has not."""
    for topic, partitions, _ in plan.topics:
        found = transport.partitions(topic)
        if found != partitions:
            raise EnvironmentMissing(
                f"topic {topic} has another number of partitions than the topology",
                got=f"{found} partitions",
                expected=f"{partitions}, for state and order hang on it",
                fix=f"set `partitions: {found}` in the topology, or use another topic",
            )


def check_logs(task: Task, ends_at_start: Mapping[Partition, int], transport: Transport) -> None:
    """A log that ends before the place where we go on is another log. Live, the first fetch says so; here nothing would be fetched."""
    beyond = [p for p in task.inputs() if p in ends_at_start and task.read_to(p) > ends_at_start[p]]
    ends = transport.end_offsets(beyond) if beyond else {}
    for (topic, number), end in ends.items():
        if task.read_to((topic, number)) > end:
            raise EnvironmentMissing(
                f"{topic}[{number}]@{task.read_to((topic, number))}: the broker does not hold this offset",
                got=f"a log that ends at {end}",
                expected="every record since the last run: nothing is skipped silently",
                fix="was the topic made anew? then start afresh: delete the group's offsets and all topics named after the topology",
            )


def check_state(task: Task, offsets: Mapping[Partition, int | None]) -> None:
    """The group's offsets and the state were committed together: offsets without state mean that the changelog was lost."""
    if task.saved_lows():
        return
    committed = {p: offset for p, offset in offsets.items() if offset}
    if committed:
        shown = ", ".join(f"{topic}[{number}]@{offset}" for (topic, number), offset in sorted(committed.items()))
        raise EnvironmentMissing(
            f"task {task.id[0]}[{task.id[1]}]: the state topic {task.section.state_topic} is empty, the group's offsets are not",
            got=shown,
            expected="state and offsets of the same commits",
            fix="bring the topic back, or start afresh: delete the group's offsets and all topics named after the topology",
        )
