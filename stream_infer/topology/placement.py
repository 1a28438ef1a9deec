"""topology.placement: which stage works in which section, and where rows must change partition first. columns → *placement* → build.

Rows flow in the partitions of their stream's key. A stage that keeps state by another key needs all rows of that key in one
place: rows go on through an internal topic keyed by it (a *hop*), unless the kept stream is read whole by everyone (`global`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_infer.topology.columns import BINARY, TEXTUAL, WHOLE, Columns
from stream_infer.topology.hop_schema import OWN_FIELDS
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.values import Findings, Section, Spec


@dataclass
class Draft:
    """A section in the making. flowing: its stream; root: the user's stream whose rows these are; key: their record key.

    hop: the stage for which rows came here from `parent`, None for the first section of a stream.
    """

    name: str
    flowing: str
    root: str
    key: str | None
    partitions: int
    parent: Draft | None = None
    hop: str | None = None
    stages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Placement:
    """drafts in the order of the plan; of_stage: the draft that each stage works in."""

    drafts: list[Draft]
    of_stage: dict[str, Draft]


def place_stages(spec: Spec, order: list[str], columns: dict[str, Columns | None], found: Findings) -> Placement:
    """Stages to sections; a problem for every pair of streams that should share partitions and does not."""
    drafts: dict[str, Draft] = {}
    of_stage: dict[str, Draft] = {}
    for name in order:
        stage = spec.stages[name]
        if stage.kind == "feedback":
            here = of_stage.get(stage.maybe_text("predictions") or "")
            if here is not None:
                of_stage[name] = here
                here.stages.append(name)
                _check_feedback(spec, stage, here, found)
        if stage.kind in ("explain", "shadow") and (draft := of_stage.get(stage.maybe_text("from") or "")) is not None:
            of_stage[name] = draft
            draft.stages.append(name)
        if stage.kind not in ("features", "lookup", "function", *DECIDERS):
            continue
        here = of_stage.get(stage.maybe_text("from") or "") or _root(spec, stage, drafts)
        if here is None:
            continue
        hop = _hop_of(spec, stage, here, columns, found) if stage.kind in ("features", "lookup") else None
        if hop is not None:
            by, partitions = hop
            flowing = f"{spec.name}.{name}.by_{by.replace('.', '_')}"
            here = Draft(flowing.removeprefix(f"{spec.name}."), flowing, here.root, by, partitions, here, name)
            drafts[flowing] = here
            _check_own_fields(stage, columns.get(here.root), found)
        of_stage[name] = here
        here.stages.append(name)
    if len(drafts) == 1:
        next(iter(drafts.values())).name = "main"
    return Placement(list(drafts.values()), of_stage)


def _check_own_fields(stage: Section, columns: Columns | None, found: Findings) -> None:
    for name, _ in OWN_FIELDS:
        if columns is not None and name in columns:
            what = f"{stage.label}: its rows change partition, and field `{name}` is ours on that way"
            found.at(
                stage,
                what,
                got=f"`{name}`, {columns[name].origin}",
                expected="fields without these names",
                fix="rename the field where events are produced",
            )


def _root(spec: Spec, stage: Section, drafts: dict[str, Draft]) -> Draft | None:
    source = stage.maybe_text("from")
    stream = spec.streams.get(source or "")
    if source is None or stream is None or stream.maybe_number("partitions") is None:
        return None
    if source not in drafts:
        drafts[source] = Draft(source, source, source, stream.maybe_text("key"), stream.integer("partitions"))
    return drafts[source]


def keeps_own_rows(stage: Section, root: str) -> bool:
    """Whether a features stage is kept up to date by the very rows that read it."""
    return (stage.maybe_text("kept_from") or root) == root


def _hop_of(spec: Spec, stage: Section, here: Draft, columns: dict[str, Columns | None], found: Findings) -> tuple[str, int] | None:
    """(key, partitions) of the topic through which rows must go before this stage, None where they are right already."""
    if stage.kind == "features":
        read_by = stage.maybe_text("group_by")
        kept = stage.maybe_text("kept_from") or here.root
        kept_by = stage.maybe_text("kept_by") or read_by
        if keeps_own_rows(stage, here.root):
            return _hop_of_own(stage, here, read_by, found)
    else:
        read_by, kept = stage.maybe_text("key"), stage.maybe_text("table") or ""
        kept_by = spec.streams[kept].maybe_text("key") if kept in spec.streams else None
    other = spec.streams.get(kept)
    if other is None or read_by is None or kept_by is None:
        return None
    _check_key_types(stage, (here.root, read_by), (kept, kept_by), columns, found)
    if stage.flag("global"):
        return None
    if other.maybe_text("key") != kept_by:
        keyed = f"keyed by `{other.maybe_text('key')}`" if other.has("key") else "without a key"
        what = f"{stage.label}: stream `{kept}` is {keyed}, so rows of one `{kept_by}` lie in many partitions"
        found.at(
            stage,
            what,
            expected=f"a stream keyed by `{kept_by}`, or `global: true`",
            fix="add `global: true`: every worker then reads the whole stream",
        )
        return None
    partitions = int(other.maybe_number("partitions") or here.partitions)
    if read_by != here.key:
        return read_by, partitions
    _check_partitions(stage, here, kept, partitions, found)
    return None


def _hop_of_own(stage: Section, here: Draft, read_by: str | None, found: Findings) -> tuple[str, int] | None:
    if stage.flag("global"):
        value = stage.get("global")
        assert value is not None
        found.at_name(
            value,
            f"{stage.label}: `global` with the stage's own rows",
            expected="`kept_from` another stream",
            fix="remove `global`: the plan brings rows of one key together by itself",
        )
    kept_by = stage.get("kept_by")
    if kept_by is not None and kept_by.data != read_by:
        found.at(
            kept_by,
            f"{stage.label}: `kept_by` differs from `group_by` within one stream",
            expected="`kept_by` only with `kept_from` another stream",
            fix="remove `kept_by`",
        )
    return None if read_by is None or read_by == here.key else (read_by, here.partitions)


def _check_partitions(stage: Section, here: Draft, other: str, partitions: int, found: Findings) -> None:
    if partitions != here.partitions:
        what = f"{stage.label}: streams `{here.flowing}` and `{other}` meet by key `{here.key}`, but their partitions differ"
        got = f"{here.flowing}: {here.partitions} partitions, {other}: {partitions}"
        found.at(
            stage,
            what,
            got=got,
            expected="equal numbers of partitions, so that rows of one key meet in one worker",
            fix="recreate one topic with the other's number, or add `global: true`",
        )


def _check_feedback(spec: Spec, stage: Section, here: Draft, found: Findings) -> None:
    name = stage.maybe_text("feedback") or ""
    other = spec.streams.get(name)
    if other is None or stage.flag("global"):
        return
    key = other.maybe_text("key")
    same_key = key is not None and key == here.key
    by_id = (
        here.key is not None and here.key == spec.streams[here.root].maybe_text("id") and key is not None and key == stage.maybe_text("on")
    )
    if not (same_key or by_id):
        what = f"{stage.label}: decisions are keyed by {_quoted(here.key)}, feedback by {_quoted(key)}"
        fix = "add `global: true` (every worker then reads all feedback), or produce feedback under the decisions' key"
        found.at(stage, what, expected="feedback in the partition of its decision", fix=fix)
        return
    _check_partitions(stage, here, name, int(other.maybe_number("partitions") or here.partitions), found)


def _quoted(key: str | None) -> str:
    return f"`{key}`" if key else "nothing"


def _check_key_types(
    stage: Section, one: tuple[str, str], two: tuple[str, str], columns: dict[str, Columns | None], found: Findings
) -> None:
    """Keys are compared as bytes, so a text never equals a number."""
    kinds = []
    for stream, name in (one, two):
        column = (columns.get(stream) or {}).get(name)
        if column is None:
            return
        kinds.append((column.kind, next((family for family in (TEXTUAL, WHOLE, BINARY) if column.kind in family), ())))
    if kinds[0][1] != kinds[1][1]:
        got = f"`{one[1]}` of `{one[0]}`: {kinds[0][0]}, `{two[1]}` of `{two[0]}`: {kinds[1][0]}"
        found.at(
            stage,
            f"{stage.label}: the keys have different types and never match",
            got=got,
            expected="two texts, or two integers",
            fix="change one of the schemas",
        )
