"""flow.canaries: the canary of a task: which share the challenger has now, and what of it is told. rollouts → *canaries* → deciding.

Each task goes through the steps by its own event time, and judges by its own rows. A task that rolls back tells so, with the figures that
decided it, and live all others follow. Times of passes are known live alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.decide.canary import CanaryState
from stream_infer.decide.evidence import CHALLENGER, CHAMPION, Counts, Finding
from stream_infer.feedback import Joined
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command
from stream_infer.flow.rollouts import Rollouts
from stream_infer.models.rollout import REVERTED, STEP, Told
from stream_infer.records import Bools, Floats, Text
from stream_infer.state import pack_text
from stream_infer.topology.plan import DecideStep


class Canary:
    """Store of one canary. version: of a model, as it answers now."""

    def __init__(self, step: DecideStep, rollouts: Rollouts, version: Callable[[str], int]) -> None:
        assert step.policy.canary is not None
        self._step, self._settings, self._rollouts, self._version = step, step.policy.canary, rollouts, version
        self.state = CanaryState()
        self._fresh = True
        self._counts = Counts()  # of the chunk that is being answered

    @property
    def name(self) -> str:
        """Of the stage."""
        return self._step.name

    def policy(self) -> tuple[int, Floats]:
        """(version, shares of champion and challenger): exactly what the draw uses."""
        share = self.state.share(self._settings)
        return self.state.policy, np.array([1.0 - share, share])

    def at(self, chunk: int, now_ms: int) -> list[Command]:
        """A chunk is about to be decided on: by hand, by a new challenger, or by its time the shares may change."""
        before = self.state
        standing = self._rollouts.standing(self._step.name)
        now = self.state.policy
        versions = (self._version(self._step.arms[CHAMPION]), self._version(self._step.arms[CHALLENGER]))
        why = ""
        if standing.number > before.number:
            self.state = replace(self._by_hand(standing.shares), number=standing.number)
            why = "by hand"
        elif versions[CHALLENGER] != before.versions[CHALLENGER] and before.step != -2:
            self.state = before.turned(0)
            why = f"{self._step.arms[CHALLENGER]} is v{versions[CHALLENGER]} now"
        self.state = replace(self.state, versions=versions)
        self.state, moved = self.state.at(self._settings, chunk, now_ms)
        self._fresh = True
        if self.state.policy == now:
            return []
        what = REVERTED if self.state.step == -1 else STEP
        return [self._rollouts.tell(self._told(what, moved if moved.why else Finding(why), now_ms))]

    def _by_hand(self, shares: tuple[tuple[str, float], ...]) -> CanaryState:
        share = dict(shares).get(self._step.arms[CHALLENGER])
        return self.state.turned(0) if share is None else self.state.turned(-2, by_hand=share)

    def _told(self, what: str, found: Finding, at_ms: int | None) -> Told:
        topic, partition, offset = self._rollouts.place()
        _, shares = self.policy()
        named = tuple(zip(self._step.arms, shares.tolist(), strict=True))
        state, section = self.state, self._rollouts.section
        return Told(
            self._step.name, what, state.number, state.policy, section, topic, partition, offset, found.why, named, found.figures, at_ms
        )

    def heard(self, told: Told) -> list[Command]:
        """Another task rolled back: so do we, if it is about the same challenger."""
        if told.what != REVERTED or told.number != self.state.number or not self.state.step >= 0:
            return []
        if told.section == self._rollouts.section and told.partition == self._rollouts.place()[1]:
            return []
        self.state = self.state.turned(-1)
        self._fresh = True
        found = Finding(f"{told.section}[{told.partition}] rolled back: {told.why}", told.figures)
        return [self._rollouts.tell(self._told(STEP, found, told.at_ms))]

    def answered(self, choice: Choice, ok: Bools) -> None:
        """A chunk was answered; ended() follows. ok: bool[rows], False for rejected ones."""
        arms, faults = choice.arm, ~ok
        new = arms == CHALLENGER
        compared = differing = 0
        if self._settings.differ_by is not None:
            theirs, mine = (choice.outputs.get(name) for name in self._step.arms)
            if theirs is not None and mine is not None:
                apart = np.abs(mine[new & ok, 0] - theirs[new & ok, 0])
                compared = int(np.count_nonzero(~np.isnan(apart)))
                differing = int(np.count_nonzero(apart > self._settings.differ_by))
        rows = (int(np.count_nonzero(~new)), int(np.count_nonzero(new)))
        rejected = (int(np.count_nonzero(faults & ~new)), int(np.count_nonzero(faults & new)))
        self._counts = Counts(rows, rejected, compared, differing)

    def ended(self, chunk: int) -> None:
        """A chunk is over, and its feedback has met its decisions."""
        counts, self._counts = self._counts, Counts()
        if counts != Counts() or self.state.gathered != self.state.judged:
            self.state = self.state.counted(chunk, counts)
            self._fresh = True

    @property
    def judges_rewards(self) -> bool:
        """Whether rewards count."""
        return self._settings.reward_below is not None

    def rewarded(self, joined: Joined) -> None:
        """Decisions met their feedback. Those count that the two might have had, since this challenger's trial began."""
        known = ~np.isnan(joined.rewards) & (joined.propensity < 1.0) & (joined.policy_version >= self.state.since)
        if known.any():
            gathered = self.state.gathered
            rewards = gathered.rewards.then(joined.arm[known], joined.rewards[known], joined.propensity[known])
            self.state = replace(self.state, gathered=replace(gathered, rewards=rewards))
            self._fresh = True

    def passed(self, model: str, seconds: float, champion_s: float) -> None:
        """Live, a forward pass of a model took so long; champion_s: what the champion takes for as many rows."""
        if self._settings.latency_above is None or model != self._step.arms[CHALLENGER] or champion_s <= 0.0:
            return
        gathered = self.state.gathered
        self.state = replace(self.state, gathered=replace(gathered, times=gathered.times.then(seconds, champion_s)))
        self._fresh = True

    @property
    def champion(self) -> str:
        """The model that the challenger is measured against."""
        return self._step.arms[CHAMPION]

    # -- Store -----------------------------------------------------------------------------------------------------------------

    def changes(self) -> tuple[Text, Text]:
        """Store: the state, if it changed since the last call."""
        fresh, self._fresh = self._fresh, False
        return pack_text([b"canary"] if fresh else []), pack_text([self.state.to_bytes()] if fresh else [])

    def restore(self, keys: Text, values: Text) -> None:
        """Store: undo changes()."""
        assert len(keys) == len(values)
        for value in values.raw():
            if value is not None:
                self.state = CanaryState.from_bytes(value)

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Store: the state as a block of bytes."""
        return {"canary": np.frombuffer(self.state.to_bytes(), dtype=np.uint8)}

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Store: undo snapshot()."""
        self.state = CanaryState.from_bytes(arrays["canary"].tobytes())

    def bytes_used(self) -> int:
        """Store: about what it takes."""
        return 1500


def split_shares(step: DecideStep, rollouts: Rollouts) -> tuple[int, Floats]:
    """(version, shares) of a split: those set by hand last, else the topology's."""
    standing = rollouts.standing(step.name)
    by_hand = dict(standing.shares)
    shares = [by_hand[arm] for arm in step.arms] if by_hand else list(step.policy.shares)
    return standing.number, np.array(shares)
