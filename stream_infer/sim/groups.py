"""sim.groups: a consumer group of the simulated broker: members, generations, range assignment, offsets. *groups* → broker.

The classic eager protocol: a change makes everyone give back all partitions and join again; when the last has, a new generation
begins. Who does not come back in time, or is silent for longer than its session, is expelled. By changes (KIP-848), a member gives back
only what moves, and whoever is to have it takes it then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Partition = tuple[str, int]


@dataclass(slots=True)
class Member:
    """joined: has asked to be in the coming generation; silent_since: when its heartbeats stopped, None while they come."""

    topics: tuple[str, ...]
    session_timeout_ms: int
    joined: bool = True
    silent_since: int | None = None


class Group:
    """counts: partitions of a topic, asked when partitions are given out."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.assignment: dict[str, list[Partition]] = {}
        self.rebalancing_since: int | None = None
        self.committed: dict[Partition, int] = {}
        self._pending: dict[int, dict[Partition, int]] = {}  # transaction → offsets that it will commit

    def join(self, member_id: str, topics: Sequence[str], session_timeout_ms: int, now_ms: int) -> None:
        """A new member; the others must come back."""
        self.members[member_id] = Member(tuple(topics), session_timeout_ms)
        self._start_rebalance(now_ms, but=member_id)

    def rejoin(self, member_id: str) -> None:
        """A member gave everything back and waits for the next generation."""
        self.members[member_id].joined = True
        self._finish_if_all_joined()

    def leave(self, member_id: str, now_ms: int) -> None:
        """A member is gone, by its own will or not."""
        if self.members.pop(member_id, None) is not None:
            self.assignment.pop(member_id, None)
            self._start_rebalance(now_ms)

    def expel(self, now_ms: int, rebalance_timeout_ms: int) -> None:
        """Remove whoever was silent for a session, or did not come back to a rebalance."""
        late = self.rebalancing_since is not None and now_ms - self.rebalancing_since > rebalance_timeout_ms
        for member_id, member in list(self.members.items()):
            silent = member.silent_since is not None and now_ms - member.silent_since > member.session_timeout_ms
            if silent or (late and not member.joined):
                self.leave(member_id, now_ms)

    def accepts(self, member_id: str, generation: int) -> bool:
        """Whether a commit of this member and generation is taken. Says nothing of partitions: Kafka does not look at them."""
        return member_id in self.members and generation == self.generation

    def owned(self, member_id: str) -> list[Partition]:
        """What the current generation gives to a member."""
        return list(self.assignment.get(member_id, ()))

    def prepare(self, transaction: int, offsets: Mapping[Partition, int]) -> None:
        """Offsets that wait for the end of a transaction."""
        self._pending.setdefault(transaction, {}).update(offsets)

    def end(self, transaction: int, *, committed: bool) -> None:
        """The transaction ended; its offsets count, or never were."""
        offsets = self._pending.pop(transaction, {})
        if committed:
            self.committed.update(offsets)

    def is_unstable(self, partitions: Sequence[Partition]) -> bool:
        """True while an open transaction may still change the offset of one of these."""
        return any(partition in offsets for offsets in self._pending.values() for partition in partitions)

    def _start_rebalance(self, now_ms: int, but: str = "") -> None:
        if self.rebalancing_since is None:
            self.rebalancing_since = now_ms
            for member_id, member in self.members.items():
                member.joined = member_id == but
        self._finish_if_all_joined()

    def _finish_if_all_joined(self) -> None:
        if self.rebalancing_since is not None and all(member.joined for member in self.members.values()):
            self.rebalancing_since = None
            self.generation += 1
            self.assignment = range_assignment({name: member.topics for name, member in self.members.items()}, self._counts)


class ChangingGroup(Group):
    """The same by changes. A member has joined when it has given back what others are to have."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        super().__init__(counts)
        self._held: dict[str, dict[Partition, None]] = {}

    def accepts(self, member_id: str, generation: int) -> bool:  # noqa: ARG002 — see there
        """Whether a commit of this member is taken: since Kafka 4.3 (KIP-1251) an older epoch counts for partitions that stayed."""
        return member_id in self.members

    def leaving(self, member_id: str) -> list[Partition]:
        """What this member is asked to give back."""
        return [p for p in self._held.get(member_id, ()) if p not in self.assignment[member_id]]

    def give_back(self, member_id: str, partitions: Sequence[Partition]) -> None:
        """These are no longer this member's."""
        for partition in partitions:
            self._held[member_id].pop(partition, None)
        self._look_who_joined()

    def take(self, member_id: str) -> list[Partition]:
        """What is to be this member's and nobody else's any more: it has it from now on."""
        others = {p for held in self._held.values() for p in held}
        fresh = [p for p in self.assignment[member_id] if p not in others]
        self._held.setdefault(member_id, {}).update(dict.fromkeys(fresh))
        return fresh

    def _start_rebalance(self, now_ms: int, but: str = "") -> None:  # noqa: ARG002 — nobody waits for anybody
        self.generation += 1
        self.assignment = range_assignment({name: member.topics for name, member in self.members.items()}, self._counts)
        self._held = {name: held for name, held in self._held.items() if name in self.members}
        self.rebalancing_since = now_ms
        self._look_who_joined()

    def _look_who_joined(self) -> None:
        for member_id, member in self.members.items():
            member.joined = not self.leaving(member_id)
        if all(member.joined for member in self.members.values()):
            self.rebalancing_since = None


def range_assignment(topics_of: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> dict[str, list[Partition]]:
    """Kafka's range assignor: each topic in stretches over its members by name, the first ones longer by one if it does not divide."""
    given: dict[str, list[Partition]] = {name: [] for name in topics_of}
    for topic in sorted({topic for topics in topics_of.values() for topic in topics}):
        names = sorted(name for name, topics in topics_of.items() if topic in topics)
        size, longer = divmod(counts[topic], len(names))
        first = 0
        for place, name in enumerate(names):
            after = first + size + (place < longer)
            given[name] += [(topic, number) for number in range(first, after)]
            first = after
    return given
