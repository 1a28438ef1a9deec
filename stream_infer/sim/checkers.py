"""sim.checkers: what must hold of a run, whatever was killed during it. history → *checkers*.

Named after the invariants I1 to I11 that they check. Each returns one line per violation, with topic[partition]@offset and the id; an
empty list means that it holds. They are sharp only if a broken worker fails them, so their tests plant every violation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from stream_infer.sim.history import Answer, History, Input, Partition, Place


def each_input_once(history: History) -> list[str]:
    """I1: every input has exactly one committed prediction or reject; those that wait have none."""
    answered: dict[Place, list[Answer]] = {}
    for answer in _answers(history):
        answered.setdefault(answer.source, []).append(answer)
    found = []
    for place, row in _inputs(history):
        answers = answered.get(place, [])
        if len(answers) > 1:
            found.append(f"I1 {_at(place)} id {row.id} is answered {len(answers)} times: {', '.join(_at(a.place) for a in answers)}")
        elif not answers and place not in history.waiting:
            found.append(f"I1 {_at(place)} id {row.id} is not answered")
        elif answers and place in history.waiting:
            found.append(f"I1 {_at(place)} id {row.id} is answered at {_at(answers[0].place)} and still waits")
    return found


def no_answer_without_input(history: History) -> list[str]:
    """I2: every prediction and reject names an input that exists, by place and by id."""
    ids = {place: row.id for place, row in _inputs(history)}
    found = []
    for answer in _answers(history):
        if answer.source not in ids:
            found.append(f"I2 {_at(answer.place)} id {answer.id} answers {_at(answer.source)}, which does not exist")
        elif ids[answer.source] != answer.id:
            found.append(f"I2 {_at(answer.place)} has id {answer.id}, its input {_at(answer.source)} has {ids[answer.source]}")
    return found


def in_order(history: History) -> list[str]:
    """I3: within an output partition the answers to one input partition stand in the order of the input, and chunks in theirs."""
    found = []
    last: dict[tuple[Partition, Partition], Answer] = {}
    for answer in history.predictions:
        task = ((answer.topic, answer.partition), answer.source[:2])
        before = last.get(task)
        last[task] = answer
        if before is None:
            continue
        if answer.source[0] not in history.unordered and answer.source[2] <= before.source[2]:
            found.append(f"I3 {_at(answer.place)} id {answer.id} answers {_at(answer.source)} after {_at(before.source)} was answered")
        if answer.cut < before.cut:
            found.append(f"I3 {_at(answer.place)} id {answer.id} is of chunk {answer.cut}, after chunk {before.cut}")
    return found


def no_gap_below_the_committed_offset(history: History) -> list[str]:
    """I4: every input below the group's committed offset is answered or waits, and none at or above it is."""
    answered = {answer.source for answer in _answers(history)}
    found = []
    for place, row in _inputs(history):
        done = history.committed.get(place[:2], 0)
        if place[2] < done and place not in answered and place not in history.waiting:
            found.append(f"I4 {_at(place)} id {row.id} is not answered, yet the group committed {done}")
        elif place[2] >= done and place in answered:
            found.append(f"I4 {_at(place)} id {row.id} is answered, yet the group committed only {done}")
    return found


def nothing_aborted_is_visible(history: History) -> list[str]:
    """I5: what a read-committed reader gets was written, and whatever was written in vain was written again."""
    found = []
    for visible, written in ((history.predictions, history.predictions_uncommitted), (history.rejects, history.rejects_uncommitted)):
        if not written:
            continue
        places, sources = {a.place: a.id for a in written}, {a.source for a in _answers(history)}
        found += [f"I5 {_at(a.place)} id {a.id} is visible but was never written there" for a in visible if places.get(a.place) != a.id]
        vain = [a for a in written if a.source not in sources]
        found += [f"I5 {_at(a.place)} id {a.id} was aborted and {_at(a.source)} never answered again" for a in vain]
    return found


def chunks_are_whole(history: History) -> list[str]:
    """I6: the answers of a chunk became visible together: the chunk says where it began, the next one where it ended."""
    tasks: dict[Partition, dict[int, list[Answer]]] = {}
    for answer in history.predictions:
        if answer.cut >= 0 and answer.offsets:
            tasks.setdefault(answer.source[:2], {}).setdefault(answer.cut, []).append(answer)
    found = []
    for task, chunks in tasks.items():
        for cut, answers in sorted(chunks.items()):
            if len(starts := {answer.offsets for answer in answers}) > 1:
                found.append(f"I6 {task[0]}[{task[1]}] chunk {cut} began at {len(starts)} places: {sorted(starts)}")
        if task[0] in history.flowing and task[0] not in history.unordered:
            found += _torn(history, task, chunks, history.flowing[task[0]])
    return found


def state_is_what_the_log_makes(history: History) -> list[str]:
    """I7: the changelog's last values equal those of a reference that read the same inputs in order."""
    if history.state is None:
        return []
    found = []
    for partition in sorted(set(history.changelog) | set(history.state)):
        kept = {key: value for key, value in history.changelog.get(partition, {}).items() if value is not None}
        right = history.state.get(partition, {})
        wrong = [key for key in sorted(set(kept) | set(right)) if kept.get(key) != right.get(key)]
        where = f"I7 {partition[0]}[{partition[1]}]"
        found += [f"{where} key {key!r} is {kept.get(key)!r}, the log makes it {right.get(key)!r}" for key in wrong]
    return found


def same_inputs_same_answer(history: History, tolerance: float = 0.0) -> list[str]:
    """I8: two attempts at a row with the same chunk, model and policy gave the same answer, arm and propensity, aborted ones included."""
    first: dict[tuple[object, ...], Answer] = {}
    found = []
    for answer in (*history.predictions, *history.predictions_uncommitted):
        attempt = (answer.source, answer.offsets, answer.cut, answer.model_version, answer.policy_version)
        before = first.setdefault(attempt, answer)
        alike = _close(before.answer, answer.answer, tolerance) and _close(before.propensity, answer.propensity, tolerance)
        if not alike or before.arm != answer.arm:
            found.append(
                f"I8 {_at(answer.place)} id {answer.id} answers {answer.answer} by {answer.arm} ({answer.propensity}); "
                f"{_at(before.place)} answered {before.answer} by {before.arm} ({before.propensity}) from the same"
            )
    return found


def came_to_rest(history: History) -> list[str]:
    """I9: no lag, and no transaction left open in front of a reader."""
    found = []
    for partition, rows in history.inputs.items():
        done = history.committed.get(partition, 0)
        if rows and done <= rows[-1].offset:
            found.append(f"I9 {partition[0]}[{partition[1]}]@{done} is committed, the last input is at {rows[-1].offset}")
    for (topic, number), (stable, high) in history.watermarks.items():
        if stable != high:
            found.append(
                f"I9 {topic}[{number}]@{stable} has an open transaction before it, {high - stable} offsets below the high watermark"
            )
    return found


def each_feedback_once(history: History) -> list[str]:
    """I10: no prediction is joined twice, and the policies learnt exactly the joined rows."""
    found = []
    seen: dict[str, Place] = {}
    counts: dict[str, int] = {}
    for place, prediction_id, arm in history.joined:
        if prediction_id in seen:
            found.append(f"I10 {_at(place)} id {prediction_id} is joined again, first at {_at(seen[prediction_id])}")
        seen.setdefault(prediction_id, place)
        counts[arm] = counts.get(arm, 0) + 1
    if history.credited is not None:
        credited = {arm: history.credited.get(arm, 0) for arm in sorted(set(counts) | set(history.credited))}
        wrong = [arm for arm, learnt in credited.items() if learnt != counts.get(arm, 0)]
        found += [f"I10 arm {arm} learnt {credited[arm]:g} rows, {counts.get(arm, 0)} were joined for it" for arm in wrong]
    return found


def store_is_not_ahead(history: History) -> list[str]:
    """I11: an online store shows nothing beyond the committed offset, and at rest what the changelog says."""
    found = []
    for partition, view in (history.store or {}).items():
        done = history.committed.get(partition, 0)
        right = history.changelog.get(partition, {})
        for key, (offset, value) in view.items():
            if offset >= done:
                found.append(f"I11 {partition[0]}[{partition[1]}]@{offset} is in the store under {key!r}, the group committed {done}")
            if right.get(key) != value:
                found.append(
                    f"I11 {partition[0]}[{partition[1]}] key {key!r} is {value!r} in the store, {right.get(key)!r} in the changelog"
                )
    return found


CHECKS: Mapping[str, Callable[[History], list[str]]] = {
    "I1": each_input_once,
    "I2": no_answer_without_input,
    "I3": in_order,
    "I4": no_gap_below_the_committed_offset,
    "I5": nothing_aborted_is_visible,
    "I6": chunks_are_whole,
    "I7": state_is_what_the_log_makes,
    "I8": same_inputs_same_answer,
    "I9": came_to_rest,
    "I10": each_feedback_once,
    "I11": store_is_not_ahead,
}


def check(history: History) -> list[str]:
    """All violations of all invariants."""
    return [line for one in CHECKS.values() for line in one(history)]


def _torn(history: History, task: Partition, chunks: Mapping[int, list[Answer]], column: int) -> list[str]:
    """Answers outside of their chunk's stretch of the input, and inputs inside it that have none though its other rows have."""
    rejected = {answer.source for answer in history.rejects}
    found = []
    for cut, following in pairwise(sorted(chunks)):
        first, after = chunks[cut][0].offsets[column], chunks[following][0].offsets[column]
        answered = {answer.source for answer in chunks[cut]}
        strangers = [answer for answer in chunks[cut] if not first <= answer.source[2] < after]
        found += [f"I6 {_at(a.place)} id {a.id} is of chunk {cut}, which read {first} to {after}" for a in strangers]
        if following != cut + 1:
            continue  # a chunk without predictions lies between
        for row in history.inputs.get(task, ()):
            place = (*task, row.offset)
            if first <= row.offset < after and place not in answered and place not in rejected and place not in history.waiting:
                found.append(f"I6 {_at(place)} id {row.id} is missing of chunk {cut}, whose other rows are there")
    return found


def _answers(history: History) -> Iterable[Answer]:
    return (*history.predictions, *history.rejects)


def _inputs(history: History) -> Iterable[tuple[Place, Input]]:
    return (((topic, number, row.offset), row) for (topic, number), rows in history.inputs.items() for row in rows)


def _at(place: Place) -> str:
    return f"{place[0]}[{place[1]}]@{place[2]}"


def _close(a: float, b: float, tolerance: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance
