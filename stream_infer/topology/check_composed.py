"""topology.check_composed: models that are made of other models: they exist, make no circle, and fit. parts → *check_composed* → build."""

from __future__ import annotations

from collections.abc import Iterator

from stream_infer.decide.composed import MEASURES
from stream_infer.decide.graph import MEMBERS_MAX, circle, reached
from stream_infer.topology.columns import Column, Columns
from stream_infer.topology.parts import Part, asked_models, parts, phases_of, with_parts
from stream_infer.topology.shape import with_article
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.suggest import closest, listed
from stream_infer.topology.values import Findings, Section, Spec, Value
from stream_infer.topology.where_text import parse_where

MEASURED: Columns = {name: Column("double", None, "of the first model's answer") for name in MEASURES}


def check_composed(spec: Spec, found: Findings) -> None:
    """What can be said of composed models, and of models that read others, without knowing their rows."""
    for name, model in spec.models.items():
        mine = parts(model)
        for part in mine:
            _check_exists(spec, model, part, found)
        _check_twice(model, mine, found)
        if model.kind == "ensemble":
            _check_numbers(model, mine, found)
            _check_vote(spec, model, mine, found)
            _check_judge(spec, name, model, mine, found)
            _check_waits(spec, model, mine, found)
        elif model.kind == "cascade":
            _check_unless(spec, model, found)
        elif "learns" in model.given and mine:
            found.at(
                mine[0].value,
                f"{model.label}: it learns, and reads what another model says",
                expected="columns of the row as inputs of a model that learns: they are what its feedback will be learned from",
                fix="name a column instead, or remove `learns`",
            )
    _check_circles(spec, found)
    _check_sizes(spec, found)
    _check_members_max(spec, found)


def check_routes(spec: Spec, models: list[str], columns: Columns | None, of: str, found: Findings) -> None:
    """What routes compare are columns of the rows that reach the stage."""
    for name in models:
        for item in spec.models[name].items("when"):
            if isinstance(item.data, Section):
                parse_where(item.data, columns, found, of=of)


def _check_exists(spec: Spec, model: Section, part: Part, found: Findings) -> None:
    if part.name in spec.models:
        return
    kind = (
        "a stream"
        if part.name in spec.streams
        else f"{with_article(spec.stages[part.name].kind or 'new')} stage"
        if part.name in spec.stages
        else ""
    )
    near = closest(part.name, spec.models)
    what = f"{model.label}: `{part.name}` is {kind}" if kind else f"{model.label}: unknown model `{part.name}`"
    expected = f"the name of a model: {listed(spec.models)}"
    found.at(
        part.value, what, expected=expected, fix=f"did you mean `{near}`?" if near else "" if kind else f"add `{part.name}` to `models`"
    )


def _check_twice(model: Section, mine: list[Part], found: Findings) -> None:
    """Members once, and judge and fallback none of them. A route may well use one model in two cases."""
    first: dict[str, Part] = {}
    for part in mine if model.kind in ("ensemble", "cascade") else ():
        other = first.setdefault(part.name, part)
        if other is not part:
            what = f"{model.label}: `{part.name}` is {_role(other)} and {_role(part)}"
            if other.setting == part.setting:
                what = f"{model.label}: `{part.name}` stands twice in `{part.setting}`"
            found.at(part.value, what, expected="each model in one place", fix="name another model, or remove one of the two")


def _role(part: Part) -> str:
    return {"members": "a member", "stack": "the judge"}.get(part.setting, f"`{part.setting}`")


def _check_numbers(model: Section, mine: list[Part], found: Findings) -> None:
    members, weights = [part for part in mine if part.setting == "members"], model.entries("members")
    quorum, members_value = model.get("quorum"), model.get("members")
    if quorum is not None and isinstance(quorum.data, int) and members and quorum.data > len(members):
        found.at(
            quorum,
            f"{model.label}: a quorum of {quorum.data} among {len(members)} members",
            expected=f"at most {len(members)}",
            fix="lower `quorum`, or name more members",
        )
    combine, threshold = model.get("combine"), model.get("threshold")
    word = combine.data if combine is not None and isinstance(combine.data, str) else ""
    if word == "weighted_mean" and members and not weights and combine is not None:
        fix = "write `members: {" + ", ".join(f"{part.name}: 1" for part in members[:3]) + "}`, or `combine: mean`"
        found.at(combine, f"{model.label}: `weighted_mean` without weights", expected="members with their weights", fix=fix)
    if weights and word == "mean" and combine is not None and members_value is not None:
        fix = "write `combine: weighted_mean`, or `members: [" + ", ".join(weights) + "]`"
        found.at_name(members_value, f"{model.label}: `mean` takes no weights", expected="members as a list", fix=fix)
    if threshold is not None and combine is not None and word != "vote":
        found.at_name(
            threshold,
            f"{model.label}: `threshold` without `combine: vote`",
            expected="`threshold` together with `combine: vote`",
            fix="remove `threshold`, or write `combine: vote`",
        )


def _check_waits(spec: Spec, model: Section, mine: list[Part], found: Findings) -> None:
    """Nobody below a member waits longer than the ensemble: it would be left out just when it waits for someone."""
    value, wait = model.get("wait_ms_max"), model.maybe_number("wait_ms_max")
    if value is None or wait is None:
        return
    members = [part.name for part in mine if part.setting == "members" and part.name in spec.models]
    for name in reached(members, phases_of(spec)):
        inner = spec.models[name]
        theirs = inner.maybe_number("wait_ms_max") if inner.kind == "ensemble" and inner is not model else None
        if theirs is not None and theirs > wait:
            found.at(
                value,
                f"{model.label}: it waits for `{name}` less long than `{name}` waits for its own members (line {inner.line})",
                expected=f"more than {theirs:g}: else `{name}` is left out whenever one of them is late, instead of going on without it",
                fix=f"write a longer `wait_ms_max` here, or one below {wait:g} for `{name}`",
            )


def _check_vote(spec: Spec, model: Section, mine: list[Part], found: Findings) -> None:
    """A model that learns a number has no class to vote for."""
    if model.maybe_text("combine") != "vote" or model.has("threshold"):
        return
    for part in mine:
        learns = spec.models[part.name].section("learns") if part.name in spec.models else None
        if part.setting == "members" and learns is not None and learns.kind in ("sgd", "rls"):
            found.at(
                part.value,
                f"{model.label}: `{part.name}` answers with a number (it learns by {learns.kind}), and a number is no vote",
                expected="members that answer with probabilities, or a `threshold`",
                fix="write `combine: mean`, or say from where on a number means yes: `threshold: 15`",
            )


def _check_judge(spec: Spec, name: str, model: Section, mine: list[Part], found: Findings) -> None:
    """The judge reads members, stands in for those that may be missing, and works for nobody else."""
    judge = next((part for part in mine if part.setting == "stack"), None)
    if judge is None or judge.name not in spec.models:
        return
    members = [part.name for part in mine if part.setting == "members"]
    section, quorum = spec.models[judge.name], model.maybe_number("quorum")
    reads = [(entry, part) for entry, part in _reading(section)]
    if not reads:
        found.at(
            judge.value,
            f"{model.label}: `{judge.name}` reads no member",
            expected=f"a model whose inputs name members, such as `{{output_of: {members[0] if members else '…'}}}`",
            fix=f"add them to the inputs of `{judge.name}`",
        )
    for entry, part in reads:
        if part.name not in members:
            expected = f"the members of `{name}`: {listed(members)}"
            found.at(
                part.value, f"{section.label}: it judges for `{name}`, and reads `{part.name}`", expected=expected, fix="read a member"
            )
        elif quorum is not None and quorum < len(members) and not entry.has("missing"):
            found.at(
                part.value,
                f"{section.label}: `{part.name}` may be missing when it judges (`{name}` has a quorum of {quorum:g} among {len(members)})",
                expected="something to stand in for it",
                fix=f"write `{{output_of: {part.name}, missing: 0}}`, or `quorum: {len(members)}`",
            )
    others = [other for other, phases in phases_of(spec).items() if other != name and any(judge.name in phase for phase in phases)]
    others += [stage for stage, section in spec.stages.items() if judge.name in asked_models(section)]
    if others:
        found.at(
            judge.value,
            f"{model.label}: `{judge.name}` judges here, and `{others[0]}` asks it too",
            expected="a judge that works for one ensemble",
            fix=f"let `{others[0]}` ask `{name}`, or add a model like `{judge.name}` for it",
        )


def _reading(model: Section) -> Iterator[tuple[Section, Part]]:
    for item in model.items("inputs"):
        if isinstance(item.data, Section):
            value = item.data.get("output_of")
            if value is not None and isinstance(value.data, str):
                yield item.data, Part(value.data, value, 0, "output_of")


def _check_unless(spec: Spec, model: Section, found: Findings) -> None:
    value = model.get("unless")
    if value is None:
        return
    as_where = Section(model.place, model.label, model.line, model.column, model.source, values={"where": value})
    where = parse_where(as_where, MEASURED, found, of="the first model's answer", word="unless")
    first = model.maybe_text("first")
    if (
        where is not None
        and where.field == "confidence"
        and not any(spec.models[n].kind == "ensemble" for n in with_parts(spec, [first or ""]))
    ):
        found.at(
            value,
            f"{model.label}: `{first}` has no confidence",
            expected="`confidence` where the first model is an ensemble",
            fix="compare `max_probability` or `margin`",
        )


def _check_circles(spec: Spec, found: Findings) -> None:
    asked = phases_of(spec)
    while (names := circle(asked)) is not None:
        value: Value = next(part.value for part in parts(spec.models[names[0]]) if part.name == names[1])
        found.at(
            value,
            f"models ask each other in a circle: {' → '.join(names)}",
            expected="models that read columns of the row at the end of every chain",
            fix="let one of them ask another model, or none",
        )
        asked[names[0]] = [[part for part in phase if part != names[1]] for phase in asked[names[0]]]


def _check_sizes(spec: Spec, found: Findings) -> None:
    """Whoever reads a model says the same of how many outputs it has; a learner has one."""
    first: dict[str, tuple[int, str]] = {}
    for name, model in spec.models.items():
        if "learns" in model.given:
            first[name] = 1, "it learns, so it has one output"
    for model in spec.models.values():
        for entry, part in _reading(model):
            size = int(entry.maybe_number("size") or 1)
            other, said = first.setdefault(part.name, (size, f"line {part.value.line} says {size}"))
            if other != size:
                found.at(
                    entry.get("size") or part.value,
                    f"{model.label}: {size} outputs of `{part.name}`",
                    expected=f"{other}: {said}",
                    fix=f"write `{{output_of: {part.name}{f', size: {other}' if other > 1 else ''}}}`",
                )


def _check_members_max(spec: Spec, found: Findings) -> None:
    for _, stage in spec.stages_of(*DECIDERS, "shadow"):
        ensembles = [spec.models[name] for name in with_parts(spec, asked_models(stage)) if spec.models[name].kind == "ensemble"]
        members = {part.name for model in ensembles for part in parts(model) if part.setting == "members"}
        if len(members) > MEMBERS_MAX:
            found.at(stage, f"{stage.label}: its ensembles have {len(members)} members", expected=f"at most {MEMBERS_MAX}", fix="ask fewer")
