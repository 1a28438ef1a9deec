"""topology.check_features: keys and aggregates of a features stage. columns → *check_features* → check_stages."""

from __future__ import annotations

from stream_infer.topology import columns as col
from stream_infer.topology.columns import Columns, aggregates_with, check_column, has_meaning, kind_of_aggregate
from stream_infer.topology.values import Findings, Section, Spec, Value


def check_features(
    spec: Spec, stage: Section, before: Columns | None, columns: dict[str, Columns | None], root: str | None, of: str, found: Findings
) -> None:
    """Keys of both streams, then each feature. before: columns of the reading rows; root: their first stream; of: their name in words."""
    check_column(found, stage.label, stage.get("group_by"), before, col.A_KEY, of=of)
    kept = stage.maybe_text("kept_from") or root
    kept_columns = columns.get(kept) if kept in spec.streams else None
    of_kept = f"stream `{kept}`"
    if kept != root and "kept_from" in stage.given:
        by = stage.get("kept_by") or stage.get("group_by")
        fix = "" if stage.has("kept_by") else "add `kept_by: …`, its name there"
        known = before is not None and stage.maybe_text("group_by") in before
        if stage.has("kept_by") or known:
            check_column(found, stage.label, by, kept_columns, col.A_KEY, of=of_kept, fix=fix)
    for feature in stage.sections("values").values():
        _check_feature(feature, kept_columns, of_kept, found)


def _check_feature(feature: Section, columns: Columns | None, of: str, found: Findings) -> None:
    kind = kind_of_aggregate(feature)
    if kind is None:
        return
    value, label = feature.get(kind), feature.label
    if kind not in ("count", "since_last"):
        exists = columns is not None and value is not None and value.data in columns
        fix = "count its rows instead (`count: true`), or name a number" if exists else ""
        check_column(found, label, value, columns, col.A_NUMBER, of=of, fix=fix)
    elif value is not None and value.data is not True:
        found.at(value, f"{label}: `{kind}` is false", expected="true", fix=f"write `{kind}: true`, or remove the feature")
    for setting in ("k", "window_s", "hops", "shape", "decimals"):
        given = feature.get(setting)
        if given is not None and given.given and not has_meaning(feature, setting):
            _tell_meaningless(feature, kind, setting, given, found)
    if kind == "last_k" and "k" not in feature.given:
        found.at(feature, f"{label}: `k` is missing", expected="how many values", fix="add `k: 5`")
    _check_window(feature, found)


def _tell_meaningless(feature: Section, kind: str, setting: str, given: Value, found: Findings) -> None:
    wanted = aggregates_with(setting)
    if kind not in wanted:
        expected = f"`{setting}` only with: {', '.join(wanted)}"
        found.at_name(given, f"{feature.label}: `{setting}` has no meaning with `{kind}`", expected=expected, fix=f"remove `{setting}`")
    elif "window_s" not in feature.given:
        fix = f"add `window_s: …`, or remove `{setting}`"
        found.at_name(given, f"{feature.label}: `{setting}` without `window_s`", expected="a window", fix=fix)
    else:
        what = f"{feature.label}: `hops` with a tumbling window, which has no tail"
        found.at_name(given, what, expected="`hops` only with `shape: sliding`", fix="remove `hops`")


def _check_window(feature: Section, found: Findings) -> None:
    """Windows and their steps are whole milliseconds: the unit of event time."""
    window, hops = feature.get("window_s"), feature.maybe_number("hops")
    if window is None or not isinstance(window.data, int | float) or hops is None:
        return
    length = window.data * 1000
    if length != round(length):
        found.at(window, f"{feature.label}: `window_s` is finer than a millisecond", expected="whole milliseconds", fix="round it")
    elif feature.maybe_text("shape") != "tumbling" and length < hops:
        what = f"{feature.label}: a step of window_s / hops is shorter than a millisecond"
        found.at(window, what, expected=f"a window of at least {hops / 1000:g} s", fix="lower `hops`")
