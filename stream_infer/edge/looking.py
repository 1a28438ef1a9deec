"""edge.looking: what a topology wrote for itself, as rows that people can read. kafka → *looking* → cli."""

from __future__ import annotations

from collections.abc import Iterator

from stream_infer.codec.block import BlockError, rows_of_block
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.blocks import read_blocks
from stream_infer.topology.plan import Plan


def block_topics(plan: Plan) -> dict[str, int]:
    """Topics whose records are blocks of rows, by the name after the topology's own, with their partitions."""
    partitions = {topic: count for topic, count, _ in plan.topics}
    between = {plan.streams[i.stream].topic for section in plan.sections for i in section.inputs if i.sources}
    found = {plan.decisions_topic} | between | {topic for topic in partitions if topic == f"{plan.name}.joined"}
    return {topic.removeprefix(f"{plan.name}."): partitions[topic] for topic in sorted(found)}


def rows_of(plan: Plan, name: str, bootstrap: str) -> Iterator[dict[str, object]]:
    """The committed rows of such a topic, partition by partition, each with the place of its record. EnvironmentMissing for another."""
    known = block_topics(plan)
    if name not in known:
        raise EnvironmentMissing(f"topology {plan.name} writes no rows to `{name}`", expected=f"one of: {', '.join(known)}")
    group = f"{plan.name}.looking"
    transport = KafkaTransport(KafkaSettings(bootstrap, group, group, "at_least_once", resolved(plan.client)))
    topic = f"{plan.name}.{name}"
    try:
        for partition in range(known[name]):
            for fetched in transport.read((topic, partition), 0):
                for offset, block in zip(fetched.offsets.tolist(), read_blocks(fetched), strict=True):
                    place = {"partition": partition, "offset": offset}
                    if isinstance(block, BlockError):
                        yield place | {"error": str(block)}
                    else:
                        yield from (place | row for row in rows_of_block(block))
    finally:
        transport.close()
