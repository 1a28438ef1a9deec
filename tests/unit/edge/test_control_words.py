"""What stands on the changes topic, in words and as JSON. Oracle: the records that were written."""

from __future__ import annotations

from stream_infer.edge.control import Entry
from stream_infer.edge.control_words import listed, shown
from stream_infer.models.rollout import PIN, REVERTED, UNPIN, Change, Told
from tests.support_flow import plan_of

STAGES = """
models:
  old: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  online: {kind: linear, learns: {by: sgd}, inputs: [amount], versions_kept: 1}
stages:
  score: {kind: canary, from: payments, champion: old, challenger: online, steps: [0.5], every_s: 60, reward_below: 0.02}
  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 3, reward: {value: {}}}
  teach: {kind: learn, from: outcome, every_s: 2}
  out: {kind: emit, from: score, to: scores}
"""


def entries(*records: Change | Told) -> list[Entry]:
    return [Entry(offset, 1_700_000_000_000 + offset, record.to_bytes()) for offset, record in enumerate(records)]


def test_a_way_back_is_told_with_the_figures_that_decided_it() -> None:
    figures = (("reward_difference", -0.25), ("radius", 0.1), ("confidence", 0.95))
    told = Told("score", REVERTED, 0, 3, "main", "payments", 0, 17, "it earns 0.25 less", (("old", 1.0), ("online", 0.0)), figures, 4000)
    found, text = shown(plan_of(STAGES), entries(told), "score")
    (change,) = found["changes"]
    assert (change["who"], change["figures"], change["event_ms"]) == ("main[0]", dict(figures), 4000)
    line = "reverted 3 old 1, online 0 from payments[0]@17: it earns 0.25 less (reward_difference -0.25, radius 0.1, confidence 0.95)"
    assert f"  2023-11-14T22:13:20.000Z  main[0]  {line}\n" in text


def test_a_learner_is_told_as_the_newest_unless_it_is_pinned() -> None:
    plan = plan_of(STAGES)
    pinned = Change("online", 1, PIN, 7, "ann", "astray", 0, "w", payload=b"x")
    loose = Change("online", 2, UNPIN, 7, "ann", "", 0, "v")
    assert "online: the newest that it learned\n" in listed(plan, entries())[1]
    assert "online: v7  pinned\n" in listed(plan, entries(pinned))[1]
    assert "online: the newest that it learned\n" in listed(plan, entries(pinned, loose))[1]
    assert shown(plan, entries(pinned), "online")[1].startswith("online: v7 is to answer, pinned\n")
    assert shown(plan, entries(pinned, loose), "online")[1].startswith("online: the newest that it learned is to answer\n")


def test_what_nobody_has_changed_is_told_as_it_will_begin() -> None:
    plan = plan_of(STAGES.replace("artifact: none.safetensors,", "artifact: none.safetensors, versions_kept: 1,"))
    found, text = listed(plan, [])
    assert text.splitlines() == ["old: v0, the only one", "online: the newest that it learned", "score: canary  all old 0.5, online 0.5"]
    assert found["score"]["shares"] == {"all": {"old": 0.5, "online": 0.5}}
    assert shown(plan, [], "old")[1] == "old: v0 is to answer\nchanges: none yet\n"
