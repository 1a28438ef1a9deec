"""cli_replay: `stream-infer replay` and `explain --prediction`: what was answered is worked out again. Nothing is written to the broker."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stream_infer.errors import EnvironmentMissing
from stream_infer.topology.plan import Plan

if TYPE_CHECKING:
    from stream_infer.edge.comparing import Replayed, Stretch
    from stream_infer.edge.kafka import KafkaTransport
    from stream_infer.edge.rebuilding import Rebuilt
    from stream_infer.models.base import Model, Registry

Edge = int | dict[int, int]  # of a stretch: ms since 1970, or offsets by partition


def edge(text: str) -> Edge:
    """An ISO date or time (UTC where it names no zone), ms since 1970, or PARTITION:OFFSET,…"""
    from datetime import UTC, datetime

    parts = [part.split(":") for part in text.split(",")]
    if all(len(part) == 2 and part[0].isdigit() and part[1].isdigit() for part in parts):
        return {int(partition): int(offset) for partition, offset in parts}
    if text.lstrip("-").isdigit() and len(text) > 4:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "a time such as 2013-07-01T12:00Z, ms since 1970, or offsets such as 0:1200,1:1150"
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def place(text: str) -> tuple[int, int]:
    """PARTITION:OFFSET."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected PARTITION:OFFSET such as 3:1042")
    return int(parts[0]), int(parts[1])


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `stream-infer replay`."""
    parser.add_argument("topology", type=Path)
    what = "event time (ISO or ms), or offsets of the answered stream: PARTITION:OFFSET,…"
    parser.add_argument("--from", dest="begin", type=edge, default=None, metavar="WHEN", help=f"first row: {what}")
    parser.add_argument("--to", dest="end", type=edge, default=None, metavar="WHEN", help="row before which to stop, in the same way")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=FILE|vN", help="answer with this artifact, or with that version, throughout"
    )
    parser.add_argument(
        "--topology", dest="other", type=Path, default=None, metavar="OTHER.yaml", help="run another topology over the same topics"
    )
    parser.add_argument(
        "--order", choices=("recorded", "time"), default=None,
        help="chunks as they were cut (default for the same topology), or event time, as a deterministic run has it",
    )  # fmt: skip
    parser.add_argument("--warm-up-s", type=float, default=None, metavar="S", help="event time read for state before --from (default: all)")
    parser.add_argument("--by", default=None, metavar="COLUMN", help="figures by this column of the rows too")
    parser.add_argument("--all", action="store_true", help="write every row, not only those that differ")
    parser.add_argument("--out", type=Path, default=None, metavar="FOLDER", help="for differences.jsonl and summary.json")


def explain_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `stream-infer explain`: one prediction made again."""
    parser.add_argument("--prediction", metavar="ID", help="make this prediction again from the logs: is it the same to the bit?")
    parser.add_argument("--at", type=place, default=None, metavar="PARTITION:OFFSET", help="where it stands on the output topic, if known")
    parser.add_argument("--warm-up-s", type=float, default=None, metavar="S", help="event time read before it for state (default: all)")
    parser.add_argument("--json", action="store_true", help="the prediction that was made again, as JSON")


def explain_prediction(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    """`explain --prediction ID`: 0 where it is identical, 1 where it is not."""
    from stream_infer.edge.call_setup import answerers, lookups
    from stream_infer.edge.rebuilding import Sought, rebuild
    from stream_infer.edge.registry import functions_of, model_classes
    from stream_infer.edge.version_loading import version_loader
    from stream_infer.edge.workers import load_models

    partition, offset = wanted.at or (None, None)
    sought = Sought(wanted.prediction, partition, offset, None if wanted.warm_up_s is None else round(wanted.warm_up_s * 1000))
    transport = read_only(plan, bootstrap)
    try:
        registry, calls = model_classes(wanted.admit), answerers(plan, functions_of(wanted.admit)) | lookups(plan)
        load = version_loader(plan.models, plan.base, registry)
        found = rebuild(plan, transport, load_models(plan, registry), sought, calls, load)
    finally:
        transport.close()
    print(json.dumps(as_json(found), indent=1, default=str) if wanted.json else words(found), end="\n" if wanted.json else "")
    return 0 if found.identical else 1


def as_json(found: Rebuilt) -> dict[str, object]:
    """What was found, as JSON can hold it."""
    return {
        "identical": found.identical,
        "reason": found.reason,
        "differences": [{"field": name, "recorded": then, "rebuilt": now} for name, then, now in found.differences],
        "recorded": found.recorded.row,
        "rebuilt": found.row,
        "features": found.features,
        "attribution": found.parts,
        "attribution_baseline": found.baseline,
        "section": found.task[0],
        "partition": found.task[1],
        "cut": found.cut,
        "offsets": list(found.began),
        "records_read": found.records_read,
        "from_the_beginning": found.whole,
    }


def words(found: Rebuilt) -> str:
    """The same for a terminal."""
    row = found.recorded.row
    lines = [f"{row.get('prediction_id')}  {'identical' if found.identical else 'DIFFERENT'}"]
    if not found.identical:
        lines += [f"  likely reason: {found.reason}"] + ([f"  no answer now: {found.fault}"] if found.fault else [])
        lines += [f"  {name}: recorded {then!r}, rebuilt {now!r}" for name, then, now in found.differences]
    lines.append(f"  recorded at   partition {found.recorded.partition}, offset {found.recorded.offset}")
    read_at = f"{row.get('source_topic', '')} partition {row.get('source_partition')}, offset {row.get('source_offset')}"
    lines.append(f"  row read at   {read_at}")
    lines.append(f"  worked on in  {found.task[0]}[{found.task[1]}], cut {found.cut}, inputs from offsets {list(found.began)}")
    shown = [name for name in ("event_time", "model_version", "arm", "propensity", "propensities", "policy_version") if name in row]
    lines += [f"  {name:<13} {row[name]}" for name in shown]
    for name in ("answer", "outputs", "shadows"):
        if row.get(name) not in (None, []):
            lines.append(f"  {name:<13} recorded {row[name]!r}, rebuilt {found.row.get(name) if found.row is not None else None!r}")
    for model, inputs in found.features.items():
        lines.append(f"  inputs of {model}")
        mine = found.parts if found.row is not None and found.row.get("arm") == model else {}
        added = {name: f"  adds {part:+.6g}" for name, part in mine.items()}
        lines += [f"    {name:<24} {value!r}{added.get(name, '')}" for name, value in inputs.items()]
    begun = "their beginning" if found.whole else "later than their beginning"
    return "\n".join([*lines, f"  {found.records_read} records read, from {begun}", ""])


def replay(wanted: argparse.Namespace, load_plan: Callable[[Path], Plan], bootstrap: str) -> int:
    """`stream-infer replay`."""
    from stream_infer.edge.call_setup import answerers, lookups
    from stream_infer.edge.registry import functions_of, model_classes
    from stream_infer.edge.replaying import ReplaySettings
    from stream_infer.edge.replaying import replay as work_through
    from stream_infer.edge.version_loading import version_loader

    plan = load_plan(wanted.topology)
    other = load_plan(wanted.other) if wanted.other is not None else None
    order = wanted.order or ("time" if other is not None else "recorded")
    if order == "recorded" and other is not None:
        raise EnvironmentMissing("--order recorded is for the topology that ran", got=f"--topology {wanted.other}", fix="leave --order out")
    models, run, versions, fixed = overridden(other or plan, wanted.model, model_classes(wanted.admit))
    warm_up_ms = None if wanted.warm_up_s is None else round(wanted.warm_up_s * 1000)
    stretch, another = stretch_of(wanted.begin, wanted.end), run if other is not None else None
    settings = ReplaySettings(stretch, order == "recorded", another, versions, fixed, warm_up_ms, wanted.by)
    transport = read_only(plan, bootstrap)
    try:
        calls = answerers(other or plan, functions_of(wanted.admit)) | lookups(other or plan)
        load = version_loader(run.models, run.base, model_classes(wanted.admit))
        found = work_through(run if other is None else plan, transport, models, settings, calls, load)
    finally:
        transport.close()
    summary = found.summary()
    if wanted.out is not None:
        _write(found, summary, wanted.out, everything=wanted.all)
    print(json.dumps(summary, indent=1))
    return 0


def _write(found: Replayed, summary: Mapping[str, object], folder: Path, *, everything: bool) -> None:
    import orjson

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "differences.jsonl").open("wb") as file:
        for row in found.rows(everything=everything):
            file.write(orjson.dumps(row) + b"\n")
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"{folder / 'differences.jsonl'}, {folder / 'summary.json'}", file=sys.stderr)


def overridden(plan: Plan, wanted: list[str], registry: Registry) -> tuple[dict[str, Model], Plan, dict[str, int], tuple[str, ...]]:
    """Models with those that --model names in the place of the topology's; the plan with them; versions by name; names that are fixed."""
    from stream_infer.edge.artifacts import is_url, read_artifact
    from stream_infer.edge.workers import load_models
    from stream_infer.models.load import load_model

    settings = dict(plan.models)
    given: dict[str, Model] = {}
    versions: dict[str, int] = {}
    for text in wanted:
        name, _, what = text.partition("=")
        if not what:
            raise EnvironmentMissing(f"--model {text}", expected="NAME=FILE or NAME=vN, such as eta=new.safetensors or eta=v8")
        if what[0] == "v" and what[1:].isdigit() and not Path(what).exists():
            versions[name] = int(what[1:])
            continue
        if name not in settings:
            raise EnvironmentMissing(f"--model {text}: the topology has no model {name}", expected=", ".join(settings))
        path = Path(what).absolute()
        data = read_artifact(what, plan.base, None) if is_url(what) else read_artifact(path.name, str(path.parent), None)
        # Whoever names a file on the command line means that file: its digest is what is pinned.
        settings[name] = replace(settings[name], artifact=what, sha256=hashlib.sha256(data).hexdigest())
        given[name] = load_model(settings[name], data, registry)
    others = replace(plan, models={name: one for name, one in settings.items() if name not in given})
    return {**load_models(others, registry), **given}, replace(plan, models=settings), versions, tuple(given)


def stretch_of(begin: Edge | None, end: Edge | None) -> Stretch:
    """From the two edges: both times, or both offsets of the same partitions (an edge that is left out is open)."""
    from stream_infer.edge.comparing import Stretch
    from stream_infer.flow.channel import BEGIN, END

    if isinstance(begin, dict) or isinstance(end, dict):
        if not isinstance(begin, dict | None) or not isinstance(end, dict | None):
            raise EnvironmentMissing("--from and --to are of two kinds", expected="two times, or two lists of offsets")
        partitions = sorted({*(begin or {}), *(end or {})})
        return Stretch(offsets={p: ((begin or {}).get(p, 0), (end or {}).get(p, END)) for p in partitions})
    return Stretch(BEGIN if begin is None else begin, END if end is None else end)


def read_only(plan: Plan, bootstrap: str) -> KafkaTransport:
    """A transport that is asked for nothing but reading. Its group is a name that nobody joins."""
    from stream_infer.edge.kafka import KafkaTransport
    from stream_infer.edge.kafka_client import KafkaSettings
    from stream_infer.edge.secrets import resolved

    group = f"{plan.name}.replay"
    headers = [stream.topic for stream in plan.streams.values() if stream.framing == "header"]
    return KafkaTransport(KafkaSettings(bootstrap, group, group, "at_least_once", resolved(plan.client)), header_topics=headers)
