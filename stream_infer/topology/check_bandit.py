"""topology.check_bandit: a policy that can be drawn from, segments that it can be kept for. columns → *check_bandit* → check_stages."""

from __future__ import annotations

from stream_infer.decide.segments import segments_fit
from stream_infer.topology import columns as col
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.values import Findings, Section


def check_bandit(stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    """What a bandit stage says of its policy. before: the columns of its rows."""
    share, arms = stage.maybe_number("share_min"), len(stage.items("arms"))
    if share is not None and arms and share * arms > 1:
        value = stage.get("share_min")
        assert value is not None
        found.at(
            value,
            f"{stage.label}: {arms} arms cannot each keep {share:g} of the rows",
            expected=f"at most {1 / arms:.4g}",
            fix="lower `share_min`",
        )
    policy = stage.section("policy")
    prior = policy.get("prior") if policy is not None else None
    if prior is not None and isinstance(prior.data, list) and len(prior.data) > 2:
        found.at(prior, f"{stage.label}: `prior` has {len(prior.data)} numbers", expected="two: wins, losses", fix="write `prior: [1, 1]`")
    _check_segments(stage, before, of, arms, found)


def _check_segments(stage: Section, before: Columns | None, of: str, arms: int, found: Findings) -> None:
    check_column(found, stage.label, stage.get("segment"), before, col.A_KEY, of=of)
    if "segment" not in stage.given:
        for name in ("segments_max", "segment_prior_rows"):
            value = stage.get(name)
            if value is not None and name in stage.given:
                what = f"{stage.label}: `{name}` without `segment`"
                found.at_name(value, what, expected="both, or neither", fix="add `segment: …`")
        return
    most, value = stage.maybe_number("segments_max"), stage.get("segments_max")
    if most is not None and value is not None and arms and most > segments_fit(arms):
        what = f"{stage.label}: the statistics of {most:g} segments and {arms} arms do not fit into one record"
        found.at(value, what, expected=f"at most {segments_fit(arms)}", fix=f"write `segments_max: {segments_fit(arms)}`")
