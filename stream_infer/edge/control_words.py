"""edge.control_words: what stands on the changes topic, for people and as JSON. control → *control_words* → cli_models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stream_infer.edge.control import Entry
from stream_infer.features.settings import FeatureSettings, LookupSettings
from stream_infer.models.rollout import FAILED, IN_EFFECT, Book, Change, Told, read_record
from stream_infer.topology.lineage import downstream, due, in_force, upstream
from stream_infer.topology.plan import DecideStep, Plan

Answer = tuple[dict[str, Any], str]


def listed(plan: Plan, entries: Sequence[Entry]) -> Answer:
    """Every model with `versions_kept` and every stage with shares: what is to answer, what does, what is due."""
    book = Book.of(entry.value for entry in entries)
    late = due(plan, book)
    found: dict[str, Any] = {}
    lines = []
    for name, settings in plan.models.items():
        if settings.versions_kept is None and name not in late:
            continue
        wanted, pinned = book.wanted(name)
        effect = in_effect(book, name)
        found[name] = {
            "kind": settings.kind,
            "wanted": wanted,
            "pinned": pinned,
            "due": list(late.get(name, ())),
            "in_effect": _json(effect),
        }
        newest = max(book.versions(name), default=0)
        words = [f"{name}: v{wanted} of v0 to v{newest}" if newest else f"{name}: v0, the only one"]
        if settings.learns is not None:
            words = [f"{name}: v{wanted}" if pinned else f"{name}: the newest that it learned"]
        words += ["pinned"] if pinned else []
        behind = sorted({told.version for told in effect.values() if told.version != wanted and (pinned or settings.learns is None)})
        words += [f"but v{', v'.join(map(str, behind))} still answers in some partition" for _ in behind[:1]]
        words += [f"due: {'; '.join(late[name])}"] if name in late else []
        lines.append("  ".join(words))
    for step in _shared(plan):
        shares = _shares_now(step, book)
        found[step.name] = {"kind": step.policy.kind, "shares": shares}
        lines.append(f"{step.name}: {step.policy.kind}  " + "  ".join(f"{where} {_words(s)}".lstrip() for where, s in shares.items()))
    return found, "".join(f"{line}\n" for line in lines)


def in_effect(book: Book, name: str) -> dict[tuple[str, int], Told]:
    """The last version that each partition told of: (topic, partition) → record."""
    return {(told.topic, told.partition): told for told in book.told.get(name, ()) if told.what == IN_EFFECT}


def _json(effect: Mapping[tuple[str, int], Told]) -> list[dict[str, Any]]:
    return [{"topic": t.topic, "partition": t.partition, "offset": t.offset, "version": t.version} for _, t in sorted(effect.items())]


def shown(plan: Plan, entries: Sequence[Entry], name: str) -> Answer:
    """Versions and the whole story of one model or stage."""
    book = Book.of(entry.value for entry in entries)
    wanted, pinned = book.wanted(name)
    late = due(plan, book).get(name, ())
    effect = in_effect(book, name)
    learns = name in plan.models and plan.models[name].learns is not None
    meant = f"v{wanted}" if pinned or not learns else "the newest that it learned"
    head = f"{name}: {meant} is to answer" + (", pinned" if pinned else "") if name in plan.models else name
    lines = [head, *(f"  due: {why}" for why in late)]
    lines += [
        f"  v{told.version} from partition {told.partition} offset {told.offset} ({told.topic})" for _, told in sorted(effect.items())
    ]
    versions = [change.manifest for change in book.versions(name).values() if change.manifest is not None]
    if versions:
        lines.append("versions")
        for manifest in versions:
            metrics = ", ".join(f"{metric} {value:g}" for metric, value in manifest.metrics.items())
            data = ", ".join(f"{place} {begin} to {end}" for place, (begin, end) in manifest.trained_on.items())
            words = [manifest.artifact, f"sha256 {manifest.sha256[:12]}", f"parent v{manifest.parent or 0}"]
            words += [f"metrics: {metrics}"] if metrics else []
            words += [f"trained on {data}"] if data else []
            lines.append(f"  v{manifest.version}  " + "  ".join(words))
    lines.append("changes")
    story: list[dict[str, Any]] = []
    reader = Book({}, {}, [])
    for entry in entries:
        holds = reader.add(entry.value)
        record = read_record(entry.value)
        if record is None or record.name != name:
            continue
        story.append(_told(entry, record, holds=holds is not None))
        lines.append(f"  {story[-1]['when']}  {story[-1]['who']}  {story[-1]['text']}")
    if not story:
        lines[-1] = "changes: none yet"
    versions_json = [manifest.json() for manifest in versions]
    found = {"name": name, "wanted": wanted, "pinned": pinned, "due": list(late), "in_effect": _json(effect), "versions": versions_json}
    return found | {"changes": story}, "".join(f"{line}\n" for line in lines)


def _told(entry: Entry, record: Change | Told, *, holds: bool) -> dict[str, Any]:
    when = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(record, Change):
        text = f"{record.what} {_words(dict(record.shares)) if record.shares else f'v{record.version}'}"
        text += "" if holds else ", which does not hold: another change came first"
        who = record.who
    else:
        who = f"{record.section}[{record.partition}]"
        text = f"v{record.version} {record.what}" if record.what in (IN_EFFECT, FAILED) else f"{record.what} {record.version}"
        text += f" {_words(dict(record.shares))}" if record.shares else ""
        text += f" from {record.topic}[{record.partition}]@{record.offset}" if record.what != FAILED else ""
    text += f": {record.why}" if record.why else ""
    found: dict[str, Any] = {"when": when, "who": who, "what": record.what, "offset": entry.offset}
    if isinstance(record, Told) and record.figures:
        text += f" ({', '.join(f'{name} {value:.4g}' for name, value in record.figures)})"
        found |= {"figures": dict(record.figures), "event_ms": record.at_ms}
    return found | {"text": text}


def _shared(plan: Plan) -> list[DecideStep]:
    steps = [step for section in plan.sections for step in section.steps if isinstance(step, DecideStep)]
    return [step for step in steps if step.policy.kind in ("split", "canary")]


def _shares_now(step: DecideStep, book: Book) -> dict[str, dict[str, float]]:
    """By partition, as last told by its task; by hand or by the topology where nothing was told."""
    told = {f"[{t.partition}]": dict(t.shares) for t in book.told.get(step.name, ()) if t.shares}
    if told:
        return dict(sorted(told.items()))
    by_hand = next((change.shares for change in reversed(book.changes.get(step.name, [])) if change.shares), ())
    canary = step.policy.canary
    planned = step.policy.shares if canary is None else (1.0 - canary.steps[0], canary.steps[0])
    return {"all": dict(by_hand) or dict(zip(step.arms, planned, strict=True))}


def _words(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{arm} {share:g}" for arm, share in shares.items())


def traced(plan: Plan, entries: Sequence[Entry], name: str) -> Answer:
    """Where a model comes from and where it goes."""
    book = Book.of(entry.value for entry in entries)
    late = due(plan, book)
    found: dict[str, Any] = {"name": name, "models": {}}
    lines = []

    def trace(model: str, depth: int) -> None:
        manifest = in_force(book, model)
        version = book.wanted(model)[0]
        data = {} if manifest is None else {place: list(offsets) for place, offsets in manifest.trained_on.items()}
        found["models"][model] = {
            "version": version,
            "trained_on": data,
            "upstream": list(upstream(plan, model)),
            "due": list(late.get(model, ())),
        }
        indent = "  " * depth
        lines.append(f"{indent}{model} v{version}" + (f"  due: {'; '.join(late[model])}" if model in late else ""))
        lines.extend(f"{indent}  data: {place} offsets {begin} to {end}" for place, (begin, end) in data.items())
        fields = [entry.field for entry in plan.models[model].inputs if entry.field not in plan.models]
        if fields:
            lines.append(f"{indent}  inputs: {', '.join(dict.fromkeys(fields))}")
        for parent in upstream(plan, model):
            trace(parent, depth + 1)

    users = _users(plan, name)
    if name in plan.models:
        trace(name, 0)
    found["used_by"] = users
    lines.append("used by: " + (", ".join(users) or "nobody"))
    return found, "".join(f"{line}\n" for line in lines)


def _users(plan: Plan, name: str) -> list[str]:
    """Models made of this one; for the name of a stage or feature, the models that read what it makes."""
    if name in plan.models:
        return list(downstream(plan, name))
    made: set[str] = {name}
    for section in plan.sections:
        for step in section.steps:
            settings = getattr(step, "settings", None)
            if step.name == name and isinstance(settings, FeatureSettings | LookupSettings):
                made |= set(settings.columns())
    return [model for model, settings in plan.models.items() if any(entry.field in made for entry in settings.inputs)]
