"""sim.verdict: what must hold of a whole run, and of two runs over the same logs. world → *verdict* → cli.

On top of the checkers: what every prediction was made from (the oracle), what feedback counted, what the policies learnt, that a record
of each core leads to the same commands again; and that faults changed no byte of any answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.decide.graph import Graph
from stream_infer.flow.channel import TOLD
from stream_infer.flow.learning import Learning
from stream_infer.flow.versions import MARK_KEY
from stream_infer.hashing import ABSENT_HASH
from stream_infer.learn.stats import MILLI, NAMES, WEIGHT_MAX
from stream_infer.sim.broker import EVERYTHING
from stream_infer.sim.checkers import check
from stream_infer.sim.history import Answer, History, Input, Partition, Place
from stream_infer.sim.oracle import Oracle
from stream_infer.sim.reading import Read, all_of, answer_of, joined_of, predictions_of, rejects_of, source_of, watermarks
from stream_infer.sim.story import replay
from stream_infer.sim.world import World
from stream_infer.topology.plan import CallStep, DecideStep, FeedbackStep, LearnStep, RepartitionStep

NEAR = 1e-6  # of a feature: float32 keeps 7 digits


def judge(world: World) -> list[str]:
    """Everything that is wrong with a run that came to rest."""
    if world.violations:
        return world.violations
    history = history_of(world)
    found = [line for line in check(history) if world.settings.deterministic or not line.startswith("I8")]  # live, a chunk is not repeated
    found += order_of_keys(world)
    if world.settings.legs == 1:  # at the end of a leg decisions are forgotten: one that is repeated after it counts again
        found += once_joined(world)
    if world.settings.deterministic and world.settings.legs == 1:  # what the first leg answered had not seen the rows of the second
        oracle = Oracle(world.plan, world.settings.scenario.calls)
        oracle.run(world.written)
        found += features_are_the_oracles(world, oracle) + labels_are_the_oracles(world, oracle)
    found += learnt_what_was_joined(world)
    for flow in world.flows if world.settings.record else []:
        found += replay(flow.recorded())
    return found


# -- the checkers' view ------------------------------------------------------------------------------------------------------


def history_of(world: World) -> History:
    """The run as checkers want it."""
    plan, broker, ledger = world.plan, world.broker, world.ledger
    predictions, rejects = predictions_of(plan), rejects_of(plan)
    hops = any(isinstance(step, RepartitionStep) for section in plan.sections for step in section.steps)
    ids = {place: _id(world, place) for place in (*ledger.expected, *ledger.exempt)}
    inputs: dict[Partition, list[Input]] = {}
    for place in sorted(ids):
        inputs.setdefault(place[:2], []).append(Input(place[2], ids[place]))

    def answers(*, committed: bool) -> tuple[list[Answer], list[Answer]]:
        given = [answer_of(predictions.topic, read, id_="", whole=not hops) for read in all_of(broker, predictions, committed=committed)]
        refused = [read for read in all_of(broker, rejects, committed=committed) if source_of(read.row) in ids]
        return given, [answer_of(rejects.topic, read, id_=ids[source_of(read.row)], whole=False) for read in refused]

    seen, written = answers(committed=True), answers(committed=False)
    sections = [section for section in plan.sections if any(isinstance(step, DecideStep) for step in section.steps)]
    flowing = {}
    for section in sections:
        columns = [
            i.stream for i in section.inputs if i.stream not in TOLD for _ in range(plan.streams[i.stream].partitions if i.is_global else 1)
        ]
        flowing[plan.streams[section.flowing].topic] = columns.index(section.flowing)
    return History(
        inputs=inputs,
        predictions=seen[0],
        rejects=seen[1],
        predictions_uncommitted=written[0],
        rejects_uncommitted=written[1],
        waiting=frozenset(ledger.exempt),
        unordered=frozenset(stream.topic for stream in plan.streams.values() if hops or stream.decide_at is not None),
        flowing=flowing,
        committed=dict(broker.group(plan.name).committed),
        watermarks=watermarks(broker, plan),
    )


def _id(world: World, place: Place) -> str:
    record = world.ledger.expected.get(place) or world.ledger.exempt[place]
    name = world.plan.streams[record.stream].id
    return f"{place[0]}-{place[1]}-{place[2]}" if name is None or record.row is None else str(record.row[name])


def order_of_keys(world: World) -> list[str]:
    """Of one source partition and one key, the answers in a partition stand in the order of the input. Rows that wait have an order of
    their own; rows that changed partition keep that of the last key."""
    found = []
    sections = [s for s in world.plan.sections if any(isinstance(step, DecideStep) for step in s.steps)]
    key = world.plan.streams[sections[0].flowing].key
    last: dict[tuple[object, ...], int] = {}
    for read in all_of(world.broker, predictions_of(world.plan)):
        topic, partition, offset = place = source_of(read.row)
        record = world.ledger.expected.get(place)
        if record is None or record.row is None or world.plan.streams[record.stream].decide_at is not None:
            continue
        of = (read.partition, topic, partition, record.row[key] if key is not None else None)
        if last.get(of, -1) >= offset:
            found.append(f"{_at(place)} of key {of[-1]} is answered after offset {last[of]}")
        last[of] = offset
    return found


# -- features and labels -------------------------------------------------------------------------------------------------------


def features_are_the_oracles(world: World, oracle: Oracle) -> list[str]:
    """Every prediction of a model that shows its inputs shows those of the oracle; nobody else was answered."""
    found = []
    seen = set()
    after = [step for section in world.plan.sections for step in section.steps if isinstance(step, CallStep) and step.of_answers]
    for read in all_of(world.broker, predictions_of(world.plan)):
        place, row = source_of(read.row), read.row
        expected = oracle.expected.get(place)
        seen.add(place)
        if expected is None or not expected.answered:
            found.append(f"{_at(place)} is answered, the oracle does not answer it")
            continue
        made = [name for step in after for name, _ in step.gives if name in row and row[name] != expected.columns[name]]
        found += [f"{_at(place)} left with {name} = {row[name]}, the oracle says {expected.columns[name]}" for name in made]
        if row["event_time"] != expected.time:
            found.append(f"{_at(place)} is answered as of {row['event_time']}, the oracle says {expected.time}")
        # The models that a composed one asks all show the same inputs, whoever of them answers.
        name = Graph.of((str(row["model"]),), world.plan.models, world.plan.composed).leaves[0]
        settings = world.plan.models[name]
        if settings.learns is not None:
            continue
        outputs = row["outputs"]
        assert isinstance(outputs, list)
        for entry, shown in zip(settings.inputs, outputs, strict=False):
            value = expected.columns[entry.field]
            right = math.nan if value is None else float(str(value))
            right = float(entry.missing) if math.isnan(right) and entry.missing is not None else right
            if not math.isclose(shown, float(np.float32(right)), rel_tol=NEAR):
                found.append(f"{_at(place)} was answered with {entry.field} = {shown}, the oracle says {right}")
    found += [
        f"{_at(place)} is not answered, the oracle answers it" for place, e in oracle.expected.items() if e.answered and place not in seen
    ]
    return found


def labels_are_the_oracles(world: World, oracle: Oracle) -> list[str]:
    """The joined rows are the oracle's, each with its label."""
    if not any(isinstance(step, FeedbackStep) for section in world.plan.sections for step in section.steps):
        return []
    joined: Counter[tuple[str, float | None]] = Counter((str(row["prediction_id"]), _rounded(row["label"])) for row in _joined(world))
    right = Counter((key, _rounded(label)) for key, label in oracle.labels)
    found = [
        f"{key} is joined {count} times too often with label {label}" for (key, label), count in sorted((joined - right).items(), key=str)
    ]
    return found + [f"{key} is not joined with label {label}" for key, label in sorted((right - joined), key=str)]


def _rounded(label: object) -> float | None:
    return round(label, 6) if isinstance(label, float) else None


def _joined(world: World) -> Iterator[dict[str, object]]:
    if joined_of(world.plan).topic in world.plan.streams:
        yield from (read.row for read in all_of(world.broker, joined_of(world.plan)))


def once_joined(world: World) -> list[str]:
    """No decision is joined twice, and none is joined that nobody was told of."""
    answered = {(row["prediction_id"], row["event_time"]) for row in (r.row for r in all_of(world.broker, predictions_of(world.plan)))}
    counts = Counter((row["prediction_id"], row["event_time"]) for row in _joined(world))
    found = [f"the decision {key} of {time} is joined {count} times" for (key, time), count in counts.items() if count > 1]
    return found + [
        f"the decision {key} of {time} is joined, but was never answered" for key, time in counts if (key, time) not in answered
    ]


def learnt_what_was_joined(world: World) -> list[str]:
    """The sums of each policy are those of the joined rows with a reward, each once."""
    found = []
    for section in world.plan.sections:
        for step in section.steps:
            if not isinstance(step, LearnStep):
                continue
            work = world.works.get((section.name, 0))
            arms = len(
                next(s.arms for other in world.plan.sections for s in other.steps if isinstance(s, DecideStep) and s.name == step.policy_of)
            )
            right: dict[int, list[int]] = {ABSENT_HASH: [0] * arms}  # by segment; of all rows, under the hash of none
            for row in _joined(world):
                arm, propensity = row["arm"], row["propensity"]
                assert isinstance(arm, int)
                assert isinstance(propensity, float)
                if row["reward"] is not None:
                    for segment in dict.fromkeys((ABSENT_HASH, row.get("segment", ABSENT_HASH))):
                        assert isinstance(segment, int)
                        right.setdefault(segment, [0] * arms)[arm] += round(min(1.0 / propensity, WEIGHT_MAX) * MILLI)
            assert isinstance(work, Learning)
            learnt = _weights(work.stores[step.policy_of].snapshot())
            if learnt != right:
                found.append(f"the policy {step.policy_of} learnt weights {learnt}, the joined rows give {right}")
    return found


def _weights(sums: dict[str, NDArray[np.generic]]) -> dict[int, list[int]]:
    """Weights of each arm in a policy's state: by segment, as the joined rows name it."""
    if "segments" not in sums:
        return {ABSENT_HASH: sums["weight"].tolist()}
    segments = sums["segments"].view(np.int64).tolist()
    return dict(zip(segments, sums["sums"][:, NAMES.index("weight")].tolist(), strict=True))


# -- two runs ------------------------------------------------------------------------------------------------------------------


Visible = dict[str, list[tuple[bytes | None, object]]]


def answers_of(world: World) -> Visible:
    """Keys and values of all that is visible, in the order that is promised: predictions and rejects per source partition, joined rows per
    task, versions.

    Of rows that changed partition the predictions are sorted by their source, and shown without `offsets`: those are of an internal topic,
    where the ends of transactions take offsets too.
    """
    plan = world.plan
    found: Visible = {}
    hops = any(isinstance(step, RepartitionStep) for section in plan.sections for step in section.steps)

    def put(name: str, read: Read) -> None:
        found.setdefault(name, []).append((read.key, read.value))

    for stream in (predictions_of(plan), rejects_of(plan)):
        for read in sorted(all_of(world.broker, stream), key=(lambda read: source_of(read.row)) if hops else lambda _: ("", 0, 0)):
            topic, partition, _ = source_of(read.row)
            name = f"{stream.topic} of {topic}[{partition}]"
            if hops and "offsets" in read.row:
                found.setdefault(name, []).append((read.key, repr({k: v for k, v in read.row.items() if k != "offsets"})))
            else:
                put(name, read)
    if joined_of(plan).topic in plan.streams:
        for read in all_of(world.broker, joined_of(plan)):
            # Their rows, not their records: how many close at once depends on how much was read by then.
            found.setdefault(f"joined of task {read.row['source']}", []).append((None, repr(read.row)))
        records, _ = world.broker.log((plan.models_topic, 0)).fetch(0, EVERYTHING)
        found["versions"] = [(record.key, record.value) for record in records if record.key != MARK_KEY]
    return found


def differences(one: World, other: World) -> list[str]:
    """Where two runs over the same logs did not answer byte for byte alike."""
    left, right = answers_of(one), answers_of(other)
    found = []
    for name in sorted({*left, *right}):
        a, b = left.get(name, []), right.get(name, [])
        if a != b:
            place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            found.append(f"{name}: {len(a)} and {len(b)} records, the first that differs is number {place}")
    return found


def _at(place: Sequence[object]) -> str:
    return f"{place[0]}[{place[1]}]@{place[2]}"
