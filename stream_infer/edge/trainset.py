"""edge.trainset: a log becomes a training set. kafka → flow.collecting → *trainset* → a file.

The tasks of the topology read the log from its beginning, in the merged order of a deterministic run, so a training row holds
exactly what the decide step would have seen. Nothing is committed; a running group is not disturbed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.channel import BEGIN, END, TOLD
from stream_infer.flow.collecting import Collecting
from stream_infer.flow.commands import Call, Command, Pause, Resume, Seek
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.notices import Read, Tick
from stream_infer.flow.ports import Answerer
from stream_infer.flow.read_size import POLL_ROWS_MAX
from stream_infer.flow.room import unknown_lag
from stream_infer.flow.work import Work
from stream_infer.records import Floats, Numbers, Text, concat_columns
from stream_infer.topology.plan import DecideStep, Plan, SectionPlan


@dataclass(frozen=True)
class TrainsetSettings:
    """begin, end: event time of the rows that are kept, in ms (None: all)."""

    bootstrap: str
    begin: int | None = None
    end: int | None = None


def write_trainset(plan: Plan, settings: TrainsetSettings, out: Path, calls: Mapping[str, Answerer] | None = None) -> int:
    """Write the rows to `out` (.npz: columns, x_NAME float64, t_NAME texts, label, event_time, prediction_id); how many there were."""
    section = _deciding_section(plan)
    works: list[Collecting] = []
    jobs = itertools.count(1)  # one row of numbers for all tasks: the core tells by them whose call came back

    def work(section: SectionPlan, partition: int) -> Work:
        made = Collecting(plan, section, partition, _or(settings.begin, BEGIN), _or(settings.end, END), jobs.__next__)
        works.append(made)
        return made

    _work_through(replace(plan, sections=(section,)), settings, work, calls or {})
    arrays = _arrays(works)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return len(arrays["event_time"])


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _deciding_section(plan: Plan) -> SectionPlan:
    """The section whose rows are decided on, without the input of versions: nothing decides here."""
    for section in plan.sections:
        if any(isinstance(step, DecideStep) for step in section.steps):
            return replace(section, inputs=tuple(i for i in section.inputs if i.stream not in TOLD))
    raise EnvironmentMissing(f"topology {plan.name} decides on nothing", expected="a stage of kind model or bandit")


def _work_through(
    plan: Plan, settings: TrainsetSettings, work: Callable[[SectionPlan, int], Work], calls: Mapping[str, Answerer]
) -> None:
    transport = KafkaTransport(
        KafkaSettings(settings.bootstrap, f"{plan.name}.trainset", f"{plan.name}.trainset", "at_least_once", resolved(plan.client)),
        header_topics=[stream.topic for stream in plan.streams.values() if stream.framing == "header"],
    )
    section = plan.sections[0]
    inputs = [plan.streams[i.stream] for i in section.inputs]
    ends = transport.end_offsets([(s.topic, p) for s in inputs for p in range(s.partitions)])
    flow = Flow(plan, {}, Mode(deterministic=True, ends=ends), work)

    def carry_out(commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Seek):
                transport.follow(command.partition, command.offset)
            elif isinstance(command, Pause):
                transport.pause(command.partitions)
            elif isinstance(command, Resume):
                transport.resume(command.partitions)
            elif isinstance(command, Call):
                carry_out(flow.handle(calls[command.stage](command)))

    for partition in range(section.partitions):
        carry_out(flow.attach(flow.make_task((section.name, partition))))
    try:
        while not flow.finished():
            wanted = flow.wants(POLL_ROWS_MAX, unknown_lag)
            fetched = transport.poll(POLL_ROWS_MAX, 0 if flow.ready() else 20) if wanted else []
            for batch in fetched:
                carry_out(flow.handle(Read(batch)))
            at_end = frozenset(p for p in ends if transport.at_end(p))
            carry_out(flow.handle(Tick(time.monotonic_ns() // 1_000_000, at_end)))
    finally:
        transport.close()


def _arrays(works: list[Collecting]) -> dict[str, NDArray[np.generic]]:
    """All rows in order of event time, then id, with their labels (NaN: never)."""
    flowing = [rows for work in works for rows in work.flowing]
    if not flowing:
        raise EnvironmentMissing("the log holds no rows in this span", fix="send events first, or widen --from and --to")
    ids = Text.of(row for work in works for text in work.ids for row in text.raw())
    times = np.concatenate([rows.times for rows in flowing])
    names = np.array([row.decode() for row in ids.raw() if row is not None])
    sort = np.lexsort((names, times))
    arrays: dict[str, NDArray[np.generic]] = {"event_time": times[sort], "prediction_id": names[sort], "label": _labels(works, names)[sort]}
    columns = sorted(flowing[0].columns)
    arrays["columns"] = np.array(columns)
    for name in columns:
        column = concat_columns([rows.columns[name] for rows in flowing]).take(sort)
        if isinstance(column, Numbers):
            arrays[f"x_{name}"] = column.floats()
        elif isinstance(column, Text) and not column.is_bytes:
            arrays[f"t_{name}"] = np.array([text or "" for text in column.to_list()], dtype=np.str_)
    return arrays


def _labels(works: list[Collecting], names: NDArray[np.str_]) -> Floats:
    known = dict(_joined(works))
    return np.array([known.get(name, np.nan) for name in names.tolist()])


def _joined(works: list[Collecting]) -> Iterator[tuple[str, float]]:
    for work in works:
        for joined in work.joined():
            for row, label in zip(joined.ids.raw(), joined.labels.tolist(), strict=True):
                yield (row or b"").decode(), label
