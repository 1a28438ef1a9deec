"""The breaker against its definition: a list of what happened, read anew at every question."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_infer.edge.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from stream_infer.functions import BreakerSettings

FAILURES, OPEN_MS = 3, 100


class Against(RuleBasedStateMachine):
    """history: (time, "went well" | "failed") of calls that began in the phase in which they ended; the phases follow from it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(BreakerSettings(FAILURES, OPEN_MS))
        self.now = 0
        self.since: tuple[str, int] = (CLOSED, 0)
        self.row = 0  # failures without a good end between, in this phase
        self.phase = 0
        self.out: list[tuple[int, int]] = []  # tickets under way, with the phase in which they were given

    def turn(self, state: str) -> None:
        self.since, self.row, self.phase = (state, self.now), 0, self.phase + 1

    def catch_up(self) -> None:
        if self.since[0] == OPEN and self.now - self.since[1] >= OPEN_MS:
            self.turn(HALF_OPEN)

    @rule(ms=st.sampled_from([1, 40, 99, 100, 250]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule()
    def asks(self) -> None:
        self.catch_up()
        tried = self.since[0] == HALF_OPEN and any(phase == self.phase for _, phase in self.out)
        ticket = self.breaker.ask(self.now)
        assert (ticket is not None) == (self.since[0] == CLOSED or (self.since[0] == HALF_OPEN and not tried))
        if ticket is not None:
            self.out.append((ticket, self.phase))

    @rule(place=st.integers(0, 30), well=st.booleans())
    def one_ends(self, place: int, well: bool) -> None:
        if not self.out:
            return
        ticket, phase = self.out.pop(place % len(self.out))
        self.catch_up()
        (self.breaker.went_well if well else self.breaker.failed)(ticket, self.now)
        if phase != self.phase:
            return
        if well:
            self.row = 0
            if self.since[0] == HALF_OPEN:
                self.turn(CLOSED)
        else:
            self.row += 1
            if self.since[0] == HALF_OPEN or self.row == FAILURES:
                self.turn(OPEN)

    @invariant()
    def it_is_in_the_state_that_follows_from_what_happened(self) -> None:
        assert self.breaker.state_at(self.now) == (
            HALF_OPEN if self.since[0] == OPEN and self.now - self.since[1] >= OPEN_MS else self.since[0]
        )


TestAgainst = Against.TestCase
TestAgainst.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_one_try_after_the_pause_decides() -> None:
    breaker = Breaker(BreakerSettings(failures=2, open_ms=50))
    for now in (0, 1):
        ticket = breaker.ask(now)
        assert ticket is not None
        breaker.failed(ticket, now)
    assert (breaker.opened, breaker.ask(50), breaker.state_at(50)) == (1, None, OPEN)
    first, second = breaker.ask(51), breaker.ask(51)
    assert first is not None
    assert second is None
    breaker.went_well(first, 52)

    assert (breaker.state_at(52), breaker.ask(52) is not None) == (CLOSED, True)
