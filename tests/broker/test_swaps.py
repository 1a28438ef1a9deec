"""Versions swapped under load on a real broker, with workers killed in between.

Oracle: the answer itself. Version n answers n · amount + 1; every event has one answer; and which version each offset has is what the
changes topic told, offset by offset.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_infer.cli import load_plan, main
from stream_infer.edge.control import Control
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.publishing import Origin, prepare
from stream_infer.models.linear import LinearModel
from stream_infer.models.rollout import FAILED, IN_EFFECT, PROMOTE, Book, Change, Told
from tests.support import wait_until
from tests.support_run import Case, Running, event, event_row, score_case

pytestmark = pytest.mark.broker
MODEL = "{kind: linear, artifact: twice.safetensors, inputs: [amount], versions_kept: 2}"
USERS = [f"user{n}" for n in range(16)]
EVENTS = 40  # around each swap


def line(slope: float) -> bytes:
    return LinearModel(np.full((1, 1), slope), np.ones(1), np.zeros(1), np.ones(1), "identity", ("amount",)).to_bytes()


class Swapping:
    """A live topology, and versions promoted one after the other while events come."""

    def __init__(self, bootstrap: str, folder: Path, name: str) -> None:
        self.case: Case = score_case(bootstrap, folder, name, partitions=2, model=MODEL)
        self.plan = load_plan(self.case.path)
        self.control = Control(self.plan, bootstrap)
        self.process = Running(self.case, "--session-timeout-s", "2")
        self.sent = 0
        self.bad: set[int] = set()

    def send(self) -> None:
        first, self.sent = self.sent, self.sent + EVENTS
        rows = [event(n, amount=float(n % 97), user=USERS[n % len(USERS)]) for n in range(first, self.sent)]
        self.case.send("events", map(event_row, rows))

    def promote(self, version: int, *, bad: bool = False) -> None:
        artifact = f"v{version}.safetensors"
        (self.case.folder / artifact).write_bytes(line(float(version)))
        manifest, golden = prepare(self.plan, "twice", artifact, Origin(), {})
        manifest = replace(manifest, version=version)
        if bad:
            (self.case.folder / artifact).write_bytes(line(-1.0))
            self.bad.add(version)
        self.control.change(lambda _: Change("twice", 0, PROMOTE, version, "test", "swap", 0, "", manifest, golden))

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = Running(self.case, "--session-timeout-s", "2")

    def told(self) -> list[Told]:
        return self.control.book().told.get("twice", [])


@pytest.fixture
def swapping(broker: Broker, tmp_path: Path, topic: str) -> Iterator[Swapping]:
    made = Swapping(broker.bootstrap, tmp_path, topic)
    yield made
    made.process.kill()
    made.process.wait()


def swap(world: Swapping, swaps: int, kills: int) -> None:
    for version in range(1, swaps + 1):
        world.send()
        world.promote(version, bad=version % 7 == 3)
        world.send()
        if kills and version % (swaps // (kills + 1)) == 0 and version < swaps:
            world.restart()
    wait_until(lambda: len(world.case.predictions()) >= world.sent, "every event is answered", timeout_s=120.0)
    last = max(version for version in range(1, swaps + 1) if version not in world.bad)
    wait_until(lambda: [t.version for t in world.told()].count(last) >= 2, "the last one answers in both partitions", timeout_s=60.0)
    check(world)


def check(world: Swapping) -> None:
    rows = world.case.predictions()
    assert sorted(row["prediction_id"] for row in rows) == sorted(f"e{n}" for n in range(world.sent)), "each event once"
    assert world.case.rejects() == []
    effects: dict[int, list[Told]] = {0: [], 1: []}
    for one in world.told():
        assert one.what in (IN_EFFECT, FAILED)
        assert (one.what == FAILED) == (one.version in world.bad)
        if one.what == IN_EFFECT:
            effects[one.partition].append(one)
    answered: set[int] = set()
    for row in rows:
        label = row["model_version"]
        version = int(label[1:].split("-")[0]) if label.startswith("v") else 0
        amount = (row["answer"] - 1.0) / (version or 2)
        assert amount == pytest.approx(round(amount)), "the label is that of the weights that answered"
        right = next((t.version for t in reversed(effects[row["source_partition"]]) if t.offset <= row["source_offset"]), 0)
        assert version == right, f"offset {row['source_offset']} of {row['source_partition']}: v{version} answered, v{right} was in effect"
        answered.add(version)
    assert not answered & world.bad
    for told in effects.values():
        assert [t.offset for t in told] == sorted(t.offset for t in told)
        assert all(a.version != b.version for a, b in itertools.pairwise(told))


@pytest.mark.slow
def test_twenty_swaps_under_load_with_a_kill_in_between(swapping: Swapping) -> None:
    swap(swapping, 20, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_swaps_under_load_with_kills_in_between(swapping: Swapping) -> None:
    swap(swapping, 200, 6)


def test_the_command_line_publishes_promotes_rolls_back_and_tells(swapping: Swapping, capsys: pytest.CaptureFixture[str]) -> None:
    case = swapping.case

    def models(word: str, *arguments: str) -> str:
        code = main(["models", word, str(case.path), *arguments, "--bootstrap", case.bootstrap])
        out, err = capsys.readouterr()
        return out if code == 0 else f"{code} {err}"

    (case.folder / "better.safetensors").write_bytes(line(3.0))
    origin = ("--metric", "auc=0.9", "--trained-on", "events[0]=0:10")
    said = models("publish", "twice", "better.safetensors", *origin, "--promote", "--why", "try")
    assert said.startswith("twice v1: published, sha256 ")
    wait_until(lambda: len(swapping.told()) >= 2, "both partitions answer with it", timeout_s=60.0)
    assert "is pinned to v1" in models("pin", "twice")
    assert "is pinned to v1" in models("rollback", "twice"), "refused"
    assert "no longer pinned" in models("pin", "twice", "--off")
    assert "is to answer with v0" in models("rollback", "twice")
    wait_until(lambda: len(swapping.told()) >= 4, "both went back", timeout_s=60.0)
    shown = models("show", "twice")
    assert "v0 from partition 0 offset 0" in shown
    assert "v1  better.safetensors" in shown
    assert "trained on events[0] 0 to 10" in shown
    assert "promote v1: try" in shown
    assert "twice: v0 of v0 to v1" in models("list")
    assert "data: events" not in models("lineage", "twice"), "v0 has no record"
    assert "artifact: (the file of the topology) → better.safetensors" in models("compare", "twice", "0", "1")
    assert "no such version" in models("promote", "twice", "9")
    assert "would be" not in models("show", "nothing")


def test_of_two_writers_at_once_both_changes_stand_one_after_the_other(swapping: Swapping) -> None:
    """The second one's first try comes too late: another change is slipped in between its look and its writing."""
    control, slipped = swapping.control, []

    def make(book: Book) -> Change:
        if not slipped:
            slipped.append(Control(swapping.plan, swapping.case.bootstrap).change(lambda _: Change("twice", 0, PROMOTE, 0, "other")))
        return Change("twice", 0, PROMOTE, 0, "me")

    mine = control.change(make)
    book = control.book()
    assert [change.who for change in book.changes["twice"]] == ["other", "me"]
    assert (mine.number, len(book.refused)) == (2, 1)
