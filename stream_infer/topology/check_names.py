"""topology.check_names: every name means one thing and leads somewhere. read → *check_names* → the other checks."""

from __future__ import annotations

from collections.abc import Iterator

from stream_infer.topology.check_calls import decider_of
from stream_infer.topology.parts import parts, with_parts
from stream_infer.topology.shape import Type, describe, with_article
from stream_infer.topology.spec import PLACES
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.suggest import closest, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

# Names that the plan gives to streams and sections of its own.
RESERVED = ("main", "learn", "models", "joined", "decisions", "cuts", "changes", "state")


def check_names(spec: Spec, found: Findings) -> list[str]:
    """Names are unique, references lead to the right kind of thing, nothing is unused, nothing runs in a circle.

    Returns the stages in an order in which each follows the stage it reads; stages of a circle are left out.
    """
    _check_unique(spec, found)
    _check_topics(spec, found)
    used = _check_references(spec, found)
    used |= _asked_by_models(spec, used)
    _check_used(spec, found, used)
    _check_emits(spec, found)
    return _check_circles(spec, found)


def reads(stage: Section) -> str | None:
    """The stream or stage whose rows a stage takes; None where it does not say."""
    return stage.maybe_text("from") or stage.maybe_text("predictions")


def inputs_and_outputs(spec: Spec) -> tuple[dict[str, Value], dict[str, Value]]:
    """Streams that are read and streams that are written: name → the first place in the file that says so."""
    inputs: dict[str, Value] = {}
    outputs: dict[str, Value] = {}
    for stage in spec.stages.values():
        for setting, side in (
            ("from", inputs),
            ("kept_from", inputs),
            ("table", inputs),
            ("feedback", inputs),
            ("to", outputs),
            ("rejects", outputs),
        ):
            value = stage.get(setting)
            if value is not None and isinstance(value.data, str) and value.data in spec.streams:
                side.setdefault(value.data, value)
    return inputs, outputs


def _named(spec: Spec) -> Iterator[tuple[str, str, Value]]:
    for place, noun in (("streams", "stream"), ("models", "model"), ("stages", "stage")):
        for name, value in spec.top.entries(place).items():
            yield noun, name, value


def _check_unique(spec: Spec, found: Findings) -> None:
    first: dict[str, tuple[str, int]] = {}
    for noun, name, value in sorted(_named(spec), key=lambda item: (item[2].key_line, item[2].key_column)):
        if name in RESERVED:
            fix = f"call it `{name}_rows`" if noun == "stream" else f"call it `my_{name}`"
            found.at_name(
                value, f"{noun} `{name}`: the name is taken by the plan itself", expected="a name other than " + listed(RESERVED), fix=fix
            )
        if name in first:
            other, line = first[name]
            what = f"{noun} `{name}`: a {other} has the same name"
            found.at_name(
                value,
                what,
                got=f"`{name}`, first on line {line}",
                expected="names that mean one thing in the whole file",
                fix=f"rename the {noun} or the {other}",
            )
        else:
            first[name] = (noun, value.key_line)


def _check_topics(spec: Spec, found: Findings) -> None:
    first: dict[str, str] = {}
    inputs, outputs = inputs_and_outputs(spec)
    for name, stream in spec.streams.items():
        value = stream.get("topic")
        if value is None or not isinstance(value.data, str):
            continue
        topic = value.data
        other = first.setdefault(topic, name)
        if other != name:
            circle = (name in outputs) != (other in outputs)
            what = f"stream `{name}`: topic `{topic}` is that of stream `{other}` too"
            expected = "an output topic of its own: else answers come back as events" if circle else "each topic once"
            found.at(
                value, what, expected=expected, fix="choose another topic" if circle else f"use stream `{other}` wherever `{name}` is used"
            )
        if topic.startswith(f"{spec.name}."):
            found.at(
                value,
                f"stream `{name}`: topics that start with `{spec.name}.` are internal ones",
                expected="another topic",
                fix=f"call it `{topic.replace('.', '-')}`",
            )
    for name, value in outputs.items():
        if name in inputs:
            what = f"stream `{name}` is written here and read on line {inputs[name].line}"
            found.at(
                value,
                what,
                expected="an output stream that is no input: else answers come back as events",
                fix="add a stream with a topic of its own, and name it here",
            )


def _check_references(spec: Spec, found: Findings) -> dict[str, None]:
    """Names that something refers to. A misspelled name counts for the one that was meant, else it would be called unused too."""
    things = _things(spec)
    used: dict[str, None] = {}
    for stage in spec.stages.values():
        for value, kind in _references(stage):
            if not isinstance(value.data, str):
                continue
            name = value.data
            noun = things.get(name)
            fitting = [thing for thing, what in things.items() if what in kind.names]
            # A stage of unknown kind has its own problem; what refers to it may well be right.
            if noun in kind.names or noun == "" or not kind.names:
                used[name] = None
                continue
            near = closest(name, fitting)
            expected = describe(kind) + (f": {listed(fitting)}" if fitting else ", but the file has none")
            if noun is None:
                what = f"{stage.label}: unknown {_noun(kind)} `{name}`"
            else:
                used[name] = None
                what = f"{stage.label}: `{name}` is {with_article(noun)}"
            if near is not None:
                used[near] = None
            found.at(
                value,
                what,
                expected=expected,
                fix=f"did you mean `{near}`?" if near else f"write `{fitting[0]}`" if len(fitting) == 1 else "",
            )
    return used


def _things(spec: Spec) -> dict[str, str]:
    """What each name is: stream, model, features stage … "" where that is unsure: an unknown kind, or one name for two things."""
    things: dict[str, str] = {}
    for noun, name, _ in _named(spec):
        kind = spec.stages[name].kind if noun == "stage" else noun
        what = f"{kind} stage" if noun == "stage" and kind else kind
        things[name] = "" if name in things else what
    return things


def _references(stage: Section) -> Iterator[tuple[Value, Type]]:
    place = PLACES.get(stage.place)
    for name, value in stage.values.items():
        setting = place.setting(name) if place is not None else None
        items = value.data if isinstance(value.data, list) else [value]
        if setting is None:
            yield from ((item, Type("text")) for item in items)
            continue
        kind = setting.type.item if setting.type.form == "list" and setting.type.item is not None else setting.type
        if kind.names and kind.names != ("field",):
            yield from ((item, kind) for item in items)


def _noun(kind: Type) -> str:
    if kind.names in (("stream",), ("model",)):
        return kind.names[0]
    return "stream or stage" if "stream" in kind.names else "stage"


def _asked_by_models(spec: Spec, used: dict[str, None]) -> dict[str, None]:
    """The models that used ones ask; a misspelled name counts for the one that was meant."""
    asked = with_parts(spec, used)
    meant = [closest(part.name, spec.models) for name in asked for part in parts(spec.models[name]) if part.name not in spec.models]
    return dict.fromkeys(with_parts(spec, [*asked, *(name for name in meant if name is not None)]))


def _check_used(spec: Spec, found: Findings, used: dict[str, None]) -> None:
    fixes = {
        "stream": "remove it, or read it in a stage",
        "model": "remove it, or name it in `arms`, `shadow` or `model` of a stage, or in a model that is",
    }
    for noun, name, value in _named(spec):
        # A stage that forgot to say what it uses has its own problem.
        if noun in fixes and name not in used and not _forgotten(spec, noun):
            found.at_name(value, f"{noun} `{name}`: no stage uses it", expected="only what is used", fix=fixes[noun])
    for name, stage in spec.stages_of("features", "lookup", "function"):
        if name not in used:
            expected = f"a stage with `from: {name}`"
            found.at(stage, f"stage `{name}`: nothing reads it", expected=expected, fix="remove it, or let the next stage read it")
    deciders = dict(spec.stages_of(*DECIDERS))
    sources = [stage.maybe_text("from") or "" for _, stage in spec.stages_of("emit", "")]
    emitted = [decider_of(spec, name) or name for name in sources]
    if all(name in deciders for name in emitted):
        for name, stage in deciders.items():
            if name not in emitted:
                fix = f"add `out: {{kind: emit, from: {name}, to: …}}`"
                found.at(stage, f"stage `{name}`: nothing emits its answers", expected=f"an emit stage with `from: {name}`", fix=fix)


def _forgotten(spec: Spec, noun: str) -> bool:
    """Whether a stage lacks a setting that would name a thing of this kind."""
    if noun == "stream" and not any(True for _ in spec.stages_of("emit")):
        return True
    for stage in spec.stages.values():
        place = PLACES.get(stage.place)
        for setting in place.settings if place is not None else ():
            names = setting.type.item.names if setting.type.item is not None else setting.type.names
            if noun in names and setting.required and not stage.has(setting.name):
                return True
    return False


def _check_emits(spec: Spec, found: Findings) -> None:
    emits = list(spec.stages_of("emit"))
    if not emits and spec.stages and not any(True for _ in spec.stages_of(*DECIDERS, "")):
        stages = spec.top.get("stages")
        assert stages is not None
        found.at_name(
            stages,
            "the topology answers nothing",
            expected="a model or bandit stage, and an emit stage",
            fix="add `out: {kind: emit, from: …, to: …}`",
        )
    first: dict[str, str] = {}
    for name, stage in emits:
        source = decider_of(spec, stage.maybe_text("from") or "")
        if source is not None and first.setdefault(source, name) != name:
            found.at(
                stage,
                f"stage `{name}`: stage `{first[source]}` emits the answers of `{source}` already",
                expected="one emit stage per model or bandit stage",
                fix="remove one of them",
            )
        for setting in ("guarantee", "commit_interval_ms", "rejects"):
            here, there = stage.get(setting), emits[0][1].get(setting)
            if (here.data if here else None) != (there.data if there else None):
                what = f"stage `{name}`: `{setting}` differs from that of stage `{emits[0][0]}`"
                got = here.source if here is not None and here.given else f"no `{setting}`"
                found.at(
                    here or stage,
                    what,
                    got=got,
                    expected="the same in all emit stages: a worker commits all of them together",
                    fix="write both alike",
                )


def _check_circles(spec: Spec, found: Findings) -> list[str]:
    order: list[str] = []
    state: dict[str, str] = {}
    for start in spec.stages:
        path: list[str] = []
        name: str | None = start
        while name is not None and name in spec.stages and name not in state and (not path or name not in spec.streams):
            state[name] = "open"
            path.append(name)
            name = reads(spec.stages[name])
        stream = name in spec.streams
        broken = not stream and name is not None and state.get(name) in ("open", "circle")
        if not stream and name is not None and state.get(name) == "open":
            circle = path[path.index(name) :]
            # Read along the data's way: `from` points against it.
            chain = " → ".join([circle[0], *reversed(circle)])
            value = spec.stages[circle[0]].get("from") or spec.stages[circle[0]].get("predictions")
            assert value is not None
            found.at(
                value, f"stages run in a circle: {chain}", expected="a chain that starts at a stream", fix="let one of them read a stream"
            )
        for done in reversed(path):
            state[done] = "circle" if broken else "done"
            if not broken:
                order.append(done)
    return order
