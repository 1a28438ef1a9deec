from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.commands import Produce
from stream_infer.flow.committing import SHARE, Committer
from stream_infer.flow.ports import Pace
from stream_infer.flow.transport import Outcome
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.transport import SimTransport
from tests.support import blobs


class Desk:
    """A committer on a simulated broker with the topics `out` and `state`."""

    def __init__(self, seed: int, guarantee: str = "exactly_once", interval_ms: int = 100) -> None:
        self.broker = SimBroker(seed)
        for topic in ("out", "state"):
            self.broker.create_topic(topic, 1)
        self.transport = SimTransport(self.broker, "g", "g.0", guarantee=guarantee)  # type: ignore[arg-type]
        self.pace = Pace(interval_ms)
        at_least_once = guarantee == "at_least_once"
        self.committer = Committer(self.transport, self.pace, lambda: self.broker.now_ms, at_least_once=at_least_once)

    def send(self, *values: bytes, topic: str = "out") -> None:
        self.committer.send(record(topic, *values))

    def settle(self) -> Outcome:
        while True:
            self.broker.advance(1)
            if (outcome := self.committer.turn(0)) is not None:
                return outcome

    def seen(self, topic: str = "out") -> list[bytes | None]:
        return [value for fetched in self.broker.dump(topic) for value in fetched.values.raw()]


def record(topic: str, *values: bytes) -> Produce:
    return Produce(topic, 0, blobs([b"k"] * len(values)), blobs(values))


@given(st.integers(0, 50), st.sampled_from(["exactly_once", "at_least_once"]))
def test_what_is_sent_while_a_transaction_ends_falls_into_the_next_one(seed: int, guarantee: str) -> None:
    desk = Desk(seed, guarantee)
    desk.send(b"a", b"b")
    desk.committer.begin([record("state", b"1")], {})
    desk.send(b"c")
    assert desk.committer.open
    assert (b"c" in desk.seen()) is (guarantee == "at_least_once")  # which has nothing to keep it out of
    assert desk.settle() is Outcome.COMMITTED
    assert desk.seen()[:2] == [b"a", b"b"]
    assert desk.seen("state") == [b"1"]
    desk.committer.begin([record("state", b"2")], {})
    assert desk.settle() is Outcome.COMMITTED
    assert desk.seen() == [b"a", b"b", b"c"]
    assert desk.pace.written == {"out": 3, "state": 2}


@given(st.integers(0, 50))
def test_after_an_abort_nothing_of_what_was_held_is_sent(seed: int) -> None:
    desk = Desk(seed)
    desk.send(b"a")
    desk.broker.fail_next_commit("g.0", "aborted")
    desk.committer.begin([record("state", b"1")], {})
    desk.send(b"b")
    assert desk.settle() is Outcome.ABORTED
    desk.send(b"again")
    desk.committer.begin([], {})
    assert desk.settle() is Outcome.COMMITTED
    assert desk.seen() == [b"again"]
    assert desk.seen("state") == []
    assert desk.pace.written == {"out": 1}


def test_at_least_once_the_word_follows_the_answers() -> None:
    """Until the broker has every answer, neither changed state nor offsets may be written."""
    for seed in range(20):
        desk = Desk(seed, "at_least_once")
        desk.send(b"a")
        desk.broker.fail_next_commit("g.0", "aborted")  # the answers' delivery fails
        desk.committer.begin([record("state", b"1")], {})
        assert desk.settle() is Outcome.ABORTED
        assert desk.seen("state") == []


@pytest.mark.parametrize(
    ("since_ms", "at_rest", "rested_ms", "due"),
    [
        (1, True, 0, False),
        (4 * SHARE, True, 0, True),
        (4 * SHARE, False, 0, False),
        (100, False, 0, True),
        (SHARE, True, 0, False),
        (SHARE, True, SHARE, True),  # a loop that had nothing to do has time for commits
        (2 * SHARE, True, SHARE, True),  # half of the time: half as long
    ],
)
def test_a_commit_is_due_at_rest_but_not_too_often_and_at_the_interval(since_ms: int, at_rest: bool, rested_ms: int, due: bool) -> None:
    desk = Desk(1)
    one_commit_of_4_ms(desk)
    desk.committer.rested(rested_ms)
    assert desk.committer.due(desk.broker.now_ms + since_ms, at_rest=at_rest) is due


def one_commit_of_4_ms(desk: Desk) -> None:
    desk.send(b"a")
    desk.committer.begin([], {})
    desk.broker.advance(4)  # what a commit takes here, or a little more
    while desk.committer.turn(0) is None:
        pass
    assert desk.pace.commit_ms == [4]


def test_at_least_once_commits_at_the_interval_alone() -> None:
    """Answers are visible when they are sent: an earlier commit would cost and bring nothing."""
    desk = Desk(1, "at_least_once")
    desk.send(b"a")
    desk.committer.begin([], {})
    assert desk.settle() is Outcome.COMMITTED
    desk.committer.rested(50)
    assert not desk.committer.due(desk.broker.now_ms + 99, at_rest=True)
    assert desk.committer.due(desk.broker.now_ms + 100, at_rest=True)
