"""edge.looking: what a topology reads and writes, as rows that people can read. kafka → *looking* → cli."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from stream_infer.codec.block import BlockError, rows_of_block
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.blocks import read_blocks
from stream_infer.flow.rows import BAD, GOOD, Intake
from stream_infer.records import Fetched
from stream_infer.topology.plan import Plan


def block_topics(plan: Plan) -> dict[str, int]:
    """Topics whose records are blocks of rows, by the name after the topology's own, with their partitions."""
    partitions = {topic: count for topic, count, _ in plan.topics}
    between = {plan.streams[i.stream].topic for section in plan.sections for i in section.inputs if i.sources}
    found = {plan.decisions_topic} | between | {topic for topic in partitions if topic == f"{plan.name}.joined"}
    return {topic.removeprefix(f"{plan.name}."): partitions[topic] for topic in sorted(found)}


def rows_of(plan: Plan, name: str, bootstrap: str) -> Iterator[dict[str, object]]:
    """The committed rows of a stream or such a topic, partition by partition, each with its place. EnvironmentMissing for another."""
    blocks, streams = (
        block_topics(plan),
        {name: stream for name, stream in plan.streams.items() if not stream.topic.startswith(f"{plan.name}.")},
    )
    if name not in blocks and name not in streams:
        expected = f"one of: {', '.join([*streams, *blocks])}"
        raise EnvironmentMissing(f"topology {plan.name} has no rows in `{name}`", expected=expected)
    group = f"{plan.name}.looking"
    header_topics = [stream.topic for stream in streams.values() if stream.framing == "header"]
    transport = KafkaTransport(KafkaSettings(bootstrap, group, group, "at_least_once", resolved(plan.client)), header_topics=header_topics)
    topic, partitions = (f"{plan.name}.{name}", blocks[name]) if name in blocks else (streams[name].topic, streams[name].partitions)
    rows = _of_blocks if name in blocks else partial(_of_stream, Intake(streams[name]))
    try:
        transport.partitions(topic)  # told at once where it is not there
        for partition in range(partitions):
            for fetched in filter(len, transport.read((topic, partition), 0)):
                yield from ({"partition": partition, **row} for row in rows(fetched))
    finally:
        transport.close()


def _of_blocks(fetched: Fetched) -> Iterator[dict[str, object]]:
    for offset, block in zip(fetched.offsets.tolist(), read_blocks(fetched), strict=True):
        if isinstance(block, BlockError):
            yield {"offset": offset, "error": str(block)}
        else:
            yield from ({"offset": offset, **row} for row in rows_of_block(block))


def _of_stream(intake: Intake, fetched: Fetched) -> Iterator[dict[str, object]]:
    rows = intake.rows(fetched)
    columns = {name: column.to_list() for name, column in rows.columns.items()}
    for place, (offset, flag) in enumerate(zip(rows.offsets.tolist(), rows.flags.tolist(), strict=True)):
        if flag == BAD:
            yield {"offset": offset, "error": rows.bad[offset].reason}
        elif flag == GOOD:
            yield {"offset": offset, **{name: values[place] for name, values in columns.items()}}
