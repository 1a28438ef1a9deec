"""Answers of models made of models, made again. Oracle: the records of a live run, byte for byte, whoever was late for whom."""

from __future__ import annotations

import re

import pytest

from stream_infer.edge.comparing import Stretch
from stream_infer.edge.replaying import ReplaySettings, replay
from stream_infer.flow.recorded import read_cuts
from stream_infer.flow.rerun import deciding_section
from stream_infer.sim.transport import SimTransport
from tests.unit.edge.support_rebuilding import HELD, Live, live, sample

MODELS = """
models:
  net: {kind: torch, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, limit]}
  deep: {kind: torch, artifact: none.safetensors, inputs: [amount, limit]}
  plain: {kind: torch, artifact: none.safetensors, inputs: [n]}
  head: {kind: torch, artifact: none.safetensors, inputs: [n, {output_of: net}]}
  judge: {kind: torch, artifact: none.safetensors, inputs: [{output_of: net, missing: 0.5}, {output_of: deep, missing: 0.5}]}
  pair: {kind: ensemble, members: [net, plain], quorum: 1%s}
  court: {kind: ensemble, members: [net, deep], combine: {stack: judge}, quorum: 1, fallback: head%s}
  crowd: {kind: ensemble, members: {pair: 2, deep: 1, head: 1}, combine: weighted_mean, quorum: 1%s}
  doubt: {kind: cascade, first: pair, then: crowd, unless: confidence >= 0.2}
  each: {kind: route, when: [{where: n > 6, use: doubt}], otherwise: court}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true}, total: {sum: amount}}}
  known: {kind: lookup, from: spent, table: cards, key: card, take: {limit: -1}}
"""
ENDS = "  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}\n"
WAITS = ", wait_ms_max: 40"
KINDS = {
    "pipeline": "{kind: model, from: known, model: head}",
    "ensemble": "{kind: model, from: known, model: pair}",
    "judged": "{kind: model, from: known, model: court}",
    "cascade": "{kind: model, from: known, model: doubt}",
    "nested": "{kind: bandit, from: known, arms: [each, crowd], policy: {epsilon_greedy: {epsilon: 0.5}}, shadow: [deep]}",
}


def run_of(kind: str, seed: int, waits: str = WAITS, payments: str = "") -> Live:
    text = MODELS % (waits, waits, waits) + f"  score: {KINDS[kind]}\n"
    return live(seed, stages=needed(text) + ENDS, payments=payments)


def needed(text: str) -> str:
    """The text without models that nobody asks, which is an error."""
    while True:
        names = [line.split(":")[0].strip() for line in text.splitlines() if line.startswith("  ")]
        unused = [name for name in names if name not in ("score", "spent", "known") and len(re.findall(rf"\b{name}\b", text)) == 1]
        if not unused:
            return text
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"  {unused[0]}:")) + "\n"


def missing(run: Live) -> set[object]:
    return {read.row.get("missing") for read in run.pay.predictions()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_several_models_is_made_again_to_the_bit(kind: str) -> None:
    run = run_of(kind, 21, payments=HELD if kind == "nested" else "")
    run.run(60, deaths=1)
    if kind != "pipeline":
        assert len(missing(run)) > 1, "some went without somebody, others did not"
    late = [id_ for id_, row in ((str(r.row["prediction_id"]), r.row) for r in run.pay.predictions()) if row.get("missing")]
    for id_ in {*sample(run, 10), *late[:: max(1, len(late) // 10)]}:
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason, found.fault)
        assert found.features, "whoever was asked about the row is told with its inputs"


@pytest.mark.parametrize("kind", ["cascade", "nested"])
def test_a_stretch_worked_through_again_differs_in_nothing(kind: str) -> None:
    run = run_of(kind, 22)
    run.run(60, deaths=1)
    assert len(missing(run)) > 1
    logs = SimTransport(run.pay.broker, "x", "x", guarantee="at_least_once")
    found = replay(run.pay.plan, logs, run.pay.models, ReplaySettings(Stretch()))
    assert set(found.ids) >= set(run.pay.ids())
    assert list(found.rows()) == [], "who was rejected is rejected again"


def test_chunks_in_which_nobody_was_late_say_nothing_of_it() -> None:
    run = run_of("nested", 23, waits="")
    run.run(30)
    section, _ = deciding_section(run.pay.plan)
    logs = SimTransport(run.pay.broker, "x", "x", guarantee="at_least_once")
    assert [cut.late for p in range(2) for cut in read_cuts(logs, run.pay.plan, section.name, p) if cut.late] == []
    for id_ in sample(run, 8):
        assert run.rebuilt(id_).identical
