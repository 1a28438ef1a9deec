"""edge.comparing: what a replay answers, gathered and laid beside what was answered then. replaying → *comparing* → edge.replaying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stream_infer.edge.recorded_answers import NAMES, Columns, Told, floats
from stream_infer.errors import EnvironmentMissing
from stream_infer.feedback import rewards
from stream_infer.feedback_settings import RewardSettings
from stream_infer.flow.calling import answered
from stream_infer.flow.channel import BEGIN, END
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.merge import Chunk
from stream_infer.flow.replaying import Again, Replaying
from stream_infer.learn import whatif
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Numbers, Text, concat_columns
from stream_infer.topology.plan import DecideStep, FeedbackStep, Plan


@dataclass(frozen=True)
class Stretch:
    """Which rows are compared: those whose place in event time lies in [begin, end) and, where told, whose offset does.

    offsets: partition of the stream that is answered → (first, after the last); None: all.
    """

    begin: int = BEGIN
    end: int = END
    offsets: Mapping[int, tuple[int, int]] | None = None

    def holds(self, flowing: Flowing) -> Bools:
        """bool[rows]."""
        inside = (flowing.keys >= self.begin) & (flowing.keys < self.end)
        if self.offsets is None:
            return inside
        places = np.zeros(len(flowing), dtype=np.bool_)
        for partition, (first, after) in self.offsets.items():
            places |= (flowing.partition == partition) & (flowing.offsets >= first) & (flowing.offsets < after)
        return inside & places


@dataclass(frozen=True)
class Replayed:
    """What was found, row by row. versions: of the models, then and now; faults: row → why it has no answer now.

    seconds: of reading and answering alone; state: what is exact, in words.
    """

    compared: whatif.Compared
    ids: list[str]
    partition: Ints
    offset: Ints
    versions: tuple[list[str | None], list[str | None]]
    faults: dict[int, str]
    groups: list[str] | None
    records: int
    seconds: float
    state: str

    def summary(self) -> dict[str, object]:
        """As JSON can hold it."""
        found: dict[str, object] = {"state": self.state, "records_read": self.records, "seconds": round(self.seconds, 3)}
        found["records_per_s"] = round(self.records / self.seconds) if self.seconds else None
        found["all"] = whatif.figures(self.compared)
        arms = [self.compared.arms[arm] if arm >= 0 else "none" for arm in self.compared.recorded.arm.tolist()]
        found["by_arm_then"] = whatif.by(self.compared, arms)
        if self.groups is not None:
            found["by_group"] = whatif.by(self.compared, self.groups)
        found["off_policy"] = whatif.off_policy(self.compared)
        return found

    def rows(self, *, everything: bool = False) -> Iterator[dict[str, object]]:
        """The rows that differ (everything: all of them), as JSON can hold them."""
        both = self.compared
        for row in np.flatnonzero(both.differs() | everything).tolist():
            found: dict[str, object] = {"prediction_id": self.ids[row], "event_time": int(both.time[row])}
            found |= {"source_partition": int(self.partition[row]), "source_offset": int(self.offset[row])}
            for name, side, versions in (("then", both.recorded, self.versions[0]), ("now", both.replayed, self.versions[1])):
                arm = both.arms[side.arm[row]] if side.arm[row] >= 0 else None
                there = bool(side.answered[row])
                values = (float(side.answer[row]), arm, float(side.propensity[row]), versions[row]) if there else (None,) * 4
                found[name] = dict(zip(("answer", "arm", "propensity", "model_version"), values, strict=True))
            if row in self.faults:
                found["reason"] = self.faults[row]
            label = float(both.label[row])
            yield found | {"label": label if label == label else None}


@dataclass
class Gather:
    """What the replay says of the rows of a stretch, chunk by chunk. passed_over: rows without an answer."""

    stretch: Stretch
    group_by: str | None
    step: DecideStep
    answered: list[Columns] = field(default_factory=list)
    shares: list[Floats] = field(default_factory=list)
    passed_over: list[tuple[int, int, int, bytes]] = field(default_factory=list)  # partition, offset, time, id …
    reasons: list[str] = field(default_factory=list)  # … and why
    groups: list[str] = field(default_factory=list)  # of the answered rows …
    groups_over: list[str] = field(default_factory=list)  # … and of the others

    def wants(self, _: Chunk, flowing: Flowing) -> bool:
        """Whether a chunk holds rows of the stretch."""
        return bool(self.stretch.holds(flowing).any())

    def tell(self, work: Replaying, again: Again) -> None:
        """Take in a chunk."""
        begun, choice = again.begun, again.begun.choice
        if begun.left_out is not None:
            self._pass_over(work, begun.left_out, ["`where` leaves it out"] * len(begun.left_out))
        for refused in begun.refused:
            self._pass_over(work, refused.rows, refused.reasons)
        if choice is None:
            return
        bad = np.array(sorted(choice.faults), dtype=np.int64)
        self._pass_over(work, choice.flowing.take(bad), [choice.faults[row] for row in bad.tolist()])
        ok = answered(choice) & self.stretch.holds(choice.flowing)
        if ok.any():
            columns = work.said(again, ok, (*NAMES, "propensities"))
            self.shares.append(_matrix(columns.pop("propensities")))
            self.answered.append(columns)
            self.groups += self._group(choice.flowing.take(ok))

    def _pass_over(self, work: Replaying, rows: Flowing, reasons: list[str]) -> None:
        if not len(rows):
            return
        inside = np.flatnonzero(self.stretch.holds(rows))
        mine = rows.take(inside)
        assert work.deciding is not None
        ids = [one or b"" for one in work.deciding.decider.ids(mine).raw()]
        self.passed_over += zip(mine.partition.tolist(), mine.offsets.tolist(), mine.times.tolist(), ids, strict=True)
        self.reasons += [reasons[row] for row in inside.tolist()]
        self.groups_over += self._group(mine)

    def _group(self, rows: Flowing) -> list[str]:
        name = self.group_by
        if name is None:
            return []
        if name not in rows.columns:
            raise EnvironmentMissing(f"--by: no column `{name}` reaches stage {self.step.name}", expected=", ".join(rows.columns))
        return [str(value) for value in rows.columns[name].to_list()]

    def found(self, plan: Plan, recorded: Columns, told: Told, work: tuple[int, float, str]) -> Replayed:
        """Both sides, row by row. work: records read, seconds, what is exact."""
        now = {name: concat_columns([part[name] for part in self.answered]) for name in self.answered[0]} if self.answered else {}
        count, over = len(now["answer"]) if now else 0, len(self.passed_over)
        if not count + over:
            raise EnvironmentMissing("no row lies in the stretch", fix="widen --from and --to (event times, or offsets of the input)")
        partition = np.concatenate([_ints(now, "source_partition"), np.array([one[0] for one in self.passed_over], dtype=np.int64)])
        offset = np.concatenate([_ints(now, "source_offset"), np.array([one[1] for one in self.passed_over], dtype=np.int64)])
        times = np.concatenate([_ints(now, "event_time"), np.array([one[2] for one in self.passed_over], dtype=np.int64)])
        ids = [one or b"" for one in _text(now, "prediction_id").raw()] + [one[3] for one in self.passed_over]
        at = _places(recorded, partition, offset)
        arms = list(self.step.arms)
        arms += sorted({str(one) for one in _text(recorded, "arm").to_list()} - set(arms))
        then = _side(recorded, at, arms)
        shares = np.zeros((count + over, len(arms)))
        if count:
            shares[:count, : len(self.step.arms)] = np.concatenate(self.shares)
        one = np.append(np.arange(count), np.full(over, -1))
        replayed = replace(_side(now, one, arms), shares=shares)
        label, reward = told.of(ids)
        settings = _reward_settings(plan)
        earned = rewards.reward(settings, replayed.answer, label) if settings is not None else np.full(len(ids), np.nan)
        same = _same(recorded, at, now, one)
        compared = whatif.Compared(then, replayed, same, tuple(arms), times, label, reward, earned)
        faults = dict(zip(range(count, count + over), self.reasons, strict=True))
        groups = self.groups + self.groups_over if self.group_by is not None else None
        versions = _versions(recorded, at), _versions(now, one)
        return Replayed(compared, [i.decode() for i in ids], partition, offset, versions, faults, groups, *work)


# -- columns of both sides -----------------------------------------------------------------------------------------------------


def _places(recorded: Columns, partition: Ints, offset: Ints) -> Ints:
    """Which record holds the answer to each row; -1: none. Of several the first."""
    if not recorded:
        return np.full(len(offset), -1, dtype=np.int64)
    known = _ints(recorded, "source_partition") << 48 | _ints(recorded, "source_offset")
    order = np.argsort(known, kind="stable")
    wanted = partition << 48 | offset
    at = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    return np.where(known[order[at]] == wanted, order[at], -1)


def _side(columns: Columns, at: Ints, arms: list[str]) -> whatif.Side:
    there = at >= 0
    answer, propensity = np.full(len(at), np.nan), np.full(len(at), np.nan)
    arm = np.full(len(at), -1, dtype=np.int64)
    if there.any():
        answer[there] = floats(columns["answer"])[at[there]]
        if "propensity" in columns:
            propensity[there] = floats(columns["propensity"])[at[there]]
        number = {name: n for n, name in enumerate(arms)}
        names = _text(columns, "arm").to_list()
        arm[there] = np.array([number[str(one)] for one in names], dtype=np.int64)[at[there]] if names else 0
    return whatif.Side(there, answer, arm, propensity)


def _same(recorded: Columns, at: Ints, now: Columns, one: Ints) -> Bools:
    """bool[n]: the same outputs (the same answer, where outputs are not on record) to the bit; False where one side has none."""
    both = (at >= 0) & (one >= 0)
    same = np.zeros(len(at), dtype=np.bool_)
    if not both.any():
        return same
    then, after = recorded["answer"].take(at[both]), now["answer"].take(one[both])
    same[both] = _bits(floats(then)) == _bits(floats(after))
    if "outputs" in recorded:
        lists = recorded["outputs"].take(at[both]).to_list(), now["outputs"].take(one[both]).to_list()
        texts = [[np.array(row or (), dtype=np.float64).tobytes() for row in side] for side in lists]
        same[both] &= np.array([a == b for a, b in zip(*texts, strict=True)])
    return same


def _bits(values: Floats) -> Ints:
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _versions(columns: Columns, at: Ints) -> list[str | None]:
    names = _text(columns, "model_version").to_list()
    return [str(names[row]) if row >= 0 and names else None for row in at.tolist()]


def _ints(columns: Columns, name: str) -> Ints:
    column = columns.get(name)
    assert column is None or isinstance(column, Numbers)
    return np.zeros(0, dtype=np.int64) if column is None else column.values.astype(np.int64)


def _text(columns: Columns, name: str) -> Text:
    column = columns.get(name)
    assert column is None or isinstance(column, Text)
    return Text.of([]) if column is None else column


def _matrix(column: Column) -> Floats:
    """float64[n, k] of lists of k numbers each."""
    assert isinstance(column, Lists)
    width = int(column.size[0])
    out: Floats = column.items[column.start[:, None] + np.arange(width, dtype=np.int64)].astype(np.float64)
    return out


def _reward_settings(plan: Plan) -> RewardSettings | None:
    steps = [step for section in plan.sections for step in section.steps if isinstance(step, FeedbackStep)]
    return steps[0].settings.reward if steps else None
