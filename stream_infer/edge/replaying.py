"""edge.replaying: a stretch of the log goes through another model or topology, and what differs is told. rerun, whatif → *replaying* → cli.

Nothing live is touched: no group is joined, no offset committed, no record written. State is that of the beginning of the stretch because
the inputs are read from their own beginning, or from a warm-up before it, without asking any model for the rows before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_infer.edge.comparing import Gather, Replayed, Stretch
from stream_infer.edge.recorded_answers import labels_of, recorded_answers
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.channel import BEGIN
from stream_infer.flow.commands import Install
from stream_infer.flow.history import History, Version
from stream_infer.flow.ports import Answerer
from stream_infer.flow.recorded import Cuts, read_cuts
from stream_infer.flow.rerun import Rerun, Wanted, deciding_section
from stream_infer.flow.transport import Logs, Partition
from stream_infer.models.base import Model
from stream_infer.topology.plan import Plan, SectionPlan


@dataclass(frozen=True)
class ReplaySettings:
    """other: another topology to run (None: the same). recorded: chunks as they were cut, for the same topology; else by event time.

    versions: by name of model or stage, the number of a version on the models topic; fixed: names whose file answers, whatever versions
    came. warm_up_ms: of event time before the stretch that are read for state (None: everything). by: a column of the rows to group by.
    """

    stretch: Stretch
    recorded: bool = True
    other: Plan | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    warm_up_ms: int | None = None
    by: str | None = None


def replay(
    plan: Plan,
    logs: Logs,
    models: Mapping[str, Model],
    settings: ReplaySettings,
    calls: Mapping[str, Answerer] | None = None,
    load: Callable[[Install], Model] | None = None,
) -> Replayed:
    """Work a stretch through again and lay it beside what was answered. models, calls, load: of the topology that is run."""
    run = settings.other or plan
    section, step = deciding_section(run)
    if (emitted := deciding_section(plan)[1].emits_to) is not None:
        logs.partitions(plan.streams[emitted].topic)  # told at once where it is not there
    history = History(logs, plan)
    fixed: dict[str, Version | None] = {name: history.version(name, number) for name, number in settings.versions.items()}
    fixed |= dict.fromkeys(settings.fixed)
    unknown = [name for name in fixed if name not in run.models and name != step.name]
    if unknown:
        raise EnvironmentMissing("--model names what the topology does not have", got=", ".join(unknown), expected=", ".join(run.models))
    cuts, state = _cuts(plan, logs, section, settings) if settings.recorded else (None, _state(run, settings, whole=True))
    starts = _starts(run, section, logs, settings) if cuts is None else {}
    gather = Gather(settings.stretch, settings.by, step)
    wanted = Wanted(cuts, history, gather.wants, gather.tell, fixed, starts, settings.stretch.end)
    began = time.perf_counter()
    read = Rerun(run, logs, models, wanted, calls, load).run()
    seconds = time.perf_counter() - began
    return gather.found(plan, recorded_answers(plan, logs), labels_of(plan, logs), (read, seconds, state))


def _cuts(plan: Plan, logs: Logs, section: SectionPlan, settings: ReplaySettings) -> tuple[dict[int, Cuts], str]:
    """The chunks of each task up to the end of the stretch, from the warm-up on."""
    found: dict[int, Cuts] = {}
    whole = True
    told = settings.stretch.offsets
    known = told is not None and not section.input(section.flowing).sources
    for partition in sorted(told or ()) if known else range(section.partitions):
        try:
            cuts = read_cuts(logs, plan, section.name, partition)
        except StreamInferError:
            if settings.stretch.offsets is None:
                continue  # a partition that no record ever came to
            raise
        first = 0
        if settings.warm_up_ms is not None and settings.stretch.begin > BEGIN:
            first = int(np.searchsorted(cuts.reached, settings.stretch.begin - settings.warm_up_ms))
        last = int(np.searchsorted(cuts.reached, settings.stretch.end)) + 1
        found[partition] = cuts[first:last]
        whole = whole and (not len(found[partition]) or not found[partition][0].began.any())
    if not found:
        raise StreamInferError(f"{plan.cuts_topic} tells of no chunk: run the topology first, or replay by event time: --order time")
    return {partition: cuts for partition, cuts in found.items() if len(cuts)}, _state(plan, settings, whole=whole)


def _starts(plan: Plan, section: SectionPlan, logs: Logs, settings: ReplaySettings) -> dict[Partition, int]:
    """By event time: where the warm-up begins, by the records' own timestamps; tables and versions from their beginning."""
    if settings.warm_up_ms is None or settings.stretch.begin == BEGIN:
        return {}
    streams = [plan.streams[i.stream] for i in section.inputs if not i.sources]
    places = [(s.topic, p) for s in streams if not s.compacted and s.topic != plan.models_topic for p in range(s.partitions)]
    return logs.offsets_at(places, settings.stretch.begin - settings.warm_up_ms)


def _state(plan: Plan, settings: ReplaySettings, *, whole: bool) -> str:
    by_time = f"order by event time, as in a deterministic run of {plan.name}"
    order = "chunks, versions and passes as recorded" if settings.recorded else by_time
    if settings.warm_up_ms is None:
        return f"{order}; state from the beginning of the logs: " + ("exact" if whole else "the first chunks are not on record any more")
    return (
        f"{order}; state from {settings.warm_up_ms / 1000:g} s before the stretch: windows up to that long and tables are exact, "
        "sums over all time and newest values of keys not seen since are not"
    )
