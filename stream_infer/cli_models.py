"""cli_models: `stream-infer models`: versions of models and shares of stages, seen and changed while the topology runs."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stream_infer.cli_check_model import add_check
from stream_infer.decide.composed import phases
from stream_infer.errors import EnvironmentMissing
from stream_infer.topology.plan import Plan

if TYPE_CHECKING:
    from stream_infer.edge.control import Control
    from stream_infer.models.rollout import Book, Change

PAYLOAD_BYTES_MAX = 700_000  # a topic takes records of 1,048,588 bytes by default, and in JSON three bytes become four
Loads = Callable[[Path], Plan]
Reaches = Callable[[], str]


def add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser], load: Loads, bootstrap: Reaches) -> None:
    """Add the group of commands. load: a path to its plan; bootstrap: the broker where none is named."""
    words = "see and change which versions answer, while the topology runs"
    group = commands.add_parser("models", help=words, description=words).add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_check(group)

    def command(
        name: str, does: Callable[[argparse.Namespace, Plan, str], int], help_text: str, *, named: bool = True
    ) -> argparse.ArgumentParser:
        made = group.add_parser(name, help=help_text, description=help_text)
        made.add_argument("topology", type=Path)
        if named:
            made.add_argument("name", help="a model or stage of the topology")
        made.add_argument("--bootstrap", metavar="HOST:PORT", help="the broker; without it the development broker of this folder")
        made.set_defaults(command=lambda wanted: does(wanted, load(wanted.topology), wanted.bootstrap or bootstrap()))
        return made

    def changes(name: str, does: Callable[[argparse.Namespace, Plan, str], int], help_text: str) -> argparse.ArgumentParser:
        made = command(name, does, help_text)
        made.add_argument("--who", default=None, help="who changes it (default: the user's name)")
        made.add_argument("--why", default="", help="a sentence for the record")
        return made

    for name, help_text, named in (
        ("list", "all models and stages that can be changed, and what answers", False),
        ("show", "versions, changes, and from which offsets each answered", True),
        ("lineage", "which data is in a model, what it is made of, and who is made of it", True),
    ):
        made = command(name, _look, help_text, named=named)
        made.add_argument("--json", action="store_true", help="as JSON")
        made.set_defaults(word=name)
    compare = command("compare", _compare, "two versions of a model: what differs, and how they did")
    compare.add_argument("versions", type=int, nargs=2)
    publish = changes("publish", _publish, "record an artifact as the next version of a model")
    publish.add_argument("artifact", help="a path below the topology's folder, or a URL")
    publish.add_argument("--metric", action="append", default=[], metavar="NAME=NUMBER", help="how it did when it was trained")
    publish.add_argument("--trained-on", action="append", default=[], metavar="TOPIC[PARTITION]=FROM:TO", help="the offsets that are in it")
    publish.add_argument("--made-from", action="append", default=[], metavar="MODEL=VERSION", help="versions of the models that feed it")
    publish.add_argument("--sha256", help="which the bytes must have; a URL needs it")
    publish.add_argument("--admit", action="append", default=[], metavar="MODULE", help="as for `run`")
    publish.add_argument("--promote", action="store_true", help="let it answer at once")
    for name, help_text in (
        ("promote", "let a version answer (default: the newest)"),
        ("rollback", "let the version that answered before answer again"),
        ("pin", "let a version answer, and refuse every other until --off; also of a model that learns (`versions_kept`)"),
    ):
        made = changes(name, _turn, help_text)
        made.add_argument("version", type=int, nargs="?", help="0 is the topology's own file")
        made.set_defaults(what=name, off=False)
        if name == "pin":
            made.add_argument("--off", action="store_true", help="allow changes again; what answers stays")
    share = changes("share", _share, "set the shares of a split or canary by hand")
    share.add_argument("shares", nargs="*", metavar="ARM=SHARE", help="one share may be left out: it is the rest")
    share.add_argument("--restart", action="store_true", help="of a canary: begin again at its first step")


def _look(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    from stream_infer.edge.control import Control
    from stream_infer.edge.control_words import listed, shown, traced

    entries = Control(plan, bootstrap).entries()
    if not hasattr(wanted, "name"):
        found, text = listed(plan, entries)
    else:
        _known(plan, wanted.name)
        found, text = (traced if wanted.word == "lineage" else shown)(plan, entries, wanted.name)
    print(json.dumps(found, indent=1) if wanted.json else text, end="\n" if wanted.json else "")
    return 0


def _compare(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    from stream_infer.edge.control import Control
    from stream_infer.edge.version_comparing import compared

    _versioned(plan, wanted.name)
    print(compared(plan, bootstrap, Control(plan, bootstrap).book(), wanted.name, *wanted.versions), end="")
    return 0


def _publish(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    from stream_infer.edge.control import Control
    from stream_infer.edge.publishing import Origin, prepare
    from stream_infer.edge.registry import model_classes
    from stream_infer.models.rollout import PROMOTE, PUBLISH, Change
    from stream_infer.topology.lineage import upstream

    _versioned(plan, wanted.name)
    control = Control(plan, bootstrap)
    made_from = {name: int(_number(text, "--made-from")) for name, text in _pairs(wanted.made_from, "--made-from")}
    origin = Origin(
        trained_on=dict(_range(name, text) for name, text in _pairs(wanted.trained_on, "--trained-on")),
        metrics={name: _number(text, "--metric") for name, text in _pairs(wanted.metric, "--metric")},
        sha256=wanted.sha256,
    )
    manifest, golden = prepare(plan, wanted.name, wanted.artifact, origin, model_classes(wanted.admit))

    def make(book: Book) -> Change:
        version = max(book.versions(wanted.name), default=0) + 1
        now = {name: book.wanted(name)[0] for name in upstream(plan, wanted.name)}
        whole = replace(manifest, version=version, parent=book.wanted(wanted.name)[0], made_from=now | made_from)
        return Change(wanted.name, 0, PUBLISH, version, _who(wanted), wanted.why, 0, "", whole, golden)

    change = control.change(make)
    print(f"{wanted.name} v{change.version}: published, sha256 {manifest.sha256[:12]}")
    if wanted.promote:
        _turned(control, wanted, PROMOTE, change.version)
    return 0


def _turn(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    from stream_infer.edge.control import Control
    from stream_infer.models.rollout import PIN, UNPIN

    if wanted.what == PIN and wanted.name in plan.models and plan.models[wanted.name].learns is not None:
        _pin_learned(wanted, plan, bootstrap)
        return 0
    _versioned(plan, wanted.name)
    _turned(Control(plan, bootstrap), wanted, UNPIN if wanted.off else wanted.what, wanted.version)
    return 0


def _pin_learned(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> None:
    """Hold a model that learns at a version, which goes along in the record: tasks need not have it any more, nor the models topic."""
    from stream_infer.edge.control import Control
    from stream_infer.models.rollout import PIN, UNPIN, Change

    name = wanted.name
    if plan.models[name].versions_kept is None:
        fix = "add `versions_kept: 1` to the model, and restart the topology once"
        raise EnvironmentMissing(f"model {name} learns, and nobody follows changes of it", expected="`versions_kept`", fix=fix)
    control = Control(plan, bootstrap)
    if wanted.off:
        change = control.change(lambda book: Change(name, 0, UNPIN, book.wanted(name)[0], _who(wanted), wanted.why))
        print(f"{name} is no longer pinned (change {change.number}): the newest that it learned answers")
        return
    versions = control.learned(name)
    meant = max(versions, default=None) if wanted.version is None else wanted.version
    if meant is None or meant not in versions:
        known = ", ".join(f"v{number}" for number in sorted(versions)) or "none yet"
        got = "no version yet" if meant is None else f"v{meant}"
        expected = f"one that {plan.models_topic} still holds: {known}"
        raise EnvironmentMissing(f"model {name} cannot be pinned to it", got=got, expected=expected)
    if len(versions[meant]) > PAYLOAD_BYTES_MAX:
        got = f"v{meant} of {len(versions[meant]):,} bytes"
        raise EnvironmentMissing(f"model {name}: the version is too large for a record", got=got, expected=f"at most {PAYLOAD_BYTES_MAX:,}")
    change = control.change(lambda _: Change(name, 0, PIN, meant, _who(wanted), wanted.why, payload=versions[meant]))
    print(f"{name} is pinned to v{meant} (change {change.number}); `models show` tells from which offsets")


def _turned(control: Control, wanted: argparse.Namespace, what: str, version: int | None) -> None:
    """Let a version answer, whatever others do meanwhile."""
    from stream_infer.models.rollout import PIN, PROMOTE, ROLLBACK, UNPIN, Change

    name = wanted.name

    def make(book: Book) -> Change:
        now, pinned = book.wanted(name)
        versions = book.versions(name)
        if pinned and what in (PROMOTE, ROLLBACK):
            raise EnvironmentMissing(f"model {name} is pinned to v{now}", fix=f"stream-infer models pin … {name} --off, if that is wanted")
        if what == UNPIN:
            return Change(name, 0, UNPIN, now, _who(wanted), wanted.why)
        meant = version
        if meant is None:
            meant = {PROMOTE: max(versions, default=None), ROLLBACK: book.before(name), PIN: now}[what]
        if meant is None or (meant and meant not in versions):
            known = ", ".join(f"v{number}" for number in (0, *sorted(versions)))
            got = "none before this one" if meant is None else f"v{meant}"
            raise EnvironmentMissing(f"model {name} has no such version", got=got, expected=f"one of: {known}", fix="publish it first")
        published = versions.get(meant)
        manifest, golden = (None, b"") if published is None else (published.manifest, published.golden)
        return Change(name, 0, what, meant, _who(wanted), wanted.why, 0, "", manifest, golden)

    change = control.change(make)
    words = {UNPIN: "is no longer pinned", PIN: f"is pinned to v{change.version}"}.get(what, f"is to answer with v{change.version}")
    print(f"{name} {words} (change {change.number}); `models show` tells from which offsets")


def _share(wanted: argparse.Namespace, plan: Plan, bootstrap: str) -> int:
    from stream_infer.edge.control import Control
    from stream_infer.models.rollout import RESTART, SHARE, Change
    from stream_infer.topology.plan import DecideStep

    steps = {
        s.name: s for section in plan.sections for s in section.steps if isinstance(s, DecideStep) and s.policy.kind in ("split", "canary")
    }
    if wanted.name not in steps:
        raise EnvironmentMissing(f"stage {wanted.name} has no shares to set", expected=f"one of: {', '.join(steps) or 'none here'}")
    arms = steps[wanted.name].arms
    shares = () if wanted.restart else _shares({name: _number(text, "a share") for name, text in _pairs(wanted.shares, "a share")}, arms)
    what = RESTART if wanted.restart else SHARE
    change = Control(plan, bootstrap).change(lambda _: Change(wanted.name, 0, what, 0, _who(wanted), wanted.why, shares=shares))
    print(f"{wanted.name}: " + ("begins again" if wanted.restart else ", ".join(f"{arm} {share:g}" for arm, share in change.shares)))
    return 0


def _shares(given: dict[str, float], arms: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Of every arm, in order; the one that was left out has the rest."""
    unknown, absent = [arm for arm in given if arm not in arms], [arm for arm in arms if arm not in given]
    if len(absent) == 1:
        given = given | {absent[0]: 1.0 - sum(given.values())}
    total = sum(given.values())
    if unknown or len(absent) > 1 or min(given.values(), default=-1.0) < 0 or abs(total - 1.0) > 1e-9:
        expected = f"shares from 0 to 1 of {', '.join(arms)} that sum to 1"
        raise EnvironmentMissing(
            "these are no shares", got=", ".join(f"{arm}={share:g}" for arm, share in given.items()), expected=expected
        )
    return tuple((arm, given[arm]) for arm in arms)


def _versioned(plan: Plan, name: str) -> None:
    known = [model for model, settings in plan.models.items() if settings.versions_kept is not None and settings.learns is None]
    if name in plan.models and plan.models[name].learns is not None:
        what = f"model {name} learns: it makes its versions itself"
        raise EnvironmentMissing(what, expected="a model with `artifact` and `versions_kept`", fix="`models pin` holds it at one of them")
    if name in plan.composed:
        parts = ", ".join(dict.fromkeys(part for phase in phases(plan.composed[name]) for part in phase))
        raise EnvironmentMissing(f"model {name} is made of others, and has no version of its own", fix=f"name one of those: {parts}")
    if name not in known:
        fix = f"add `versions_kept: 1` to the model, and restart the topology once; there are: {', '.join(known) or 'none'}"
        raise EnvironmentMissing(f"model {name}: no version of it can be published", expected="a model with `versions_kept`", fix=fix)


def _known(plan: Plan, name: str) -> None:
    known = [*plan.models, *(step.name for section in plan.sections for step in section.steps)]
    if name not in known:
        raise EnvironmentMissing(f"the topology has no model or stage {name}", expected=f"one of: {', '.join(dict.fromkeys(known))}")


def _pairs(given: list[str], option: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise EnvironmentMissing(f"{option}: NAME=VALUE is expected", got=f"{name}{sign}{value}")
    return [(name, value) for name, _, value in pairs]


def _range(name: str, text: str) -> tuple[str, tuple[int, int]]:
    begin, sign, end = text.partition(":")
    if not (sign and begin.isdigit() and end.isdigit()):
        raise EnvironmentMissing("--trained-on: TOPIC[PARTITION]=FROM:TO is expected", got=f"{name}={text}")
    return name, (int(begin), int(end))


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise EnvironmentMissing(f"{option}: a number is expected", got=text) from error


def _who(wanted: argparse.Namespace) -> str:
    if wanted.who:
        return str(wanted.who)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
