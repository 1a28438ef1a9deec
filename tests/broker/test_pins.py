"""A model that learns, held at a version from the command line while it runs. Oracle: the version that each answer names."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.cli import load_plan, main
from stream_infer.edge.control import Control
from stream_infer.edge.devbroker import Broker
from tests.support import create_topics, wait_until
from tests.support_run import BEGIN_MS, FEEDBACK, OUTCOMES, event, event_row, outcome_row, running, score_case

pytestmark = pytest.mark.broker
MODEL = "{kind: linear, learns: {by: sgd, rate: 0.01}, inputs: [amount], versions_kept: 1}"


def test_a_learner_is_held_and_let_go_while_it_runs(broker: Broker, tmp_path: Path, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    teach = "  teach: {kind: learn, from: outcome, every_s: 2}\n"
    case = score_case(broker.bootstrap, tmp_path, topic, model=MODEL, more_streams=OUTCOMES, feedback=FEEDBACK + teach)
    create_topics(broker.bootstrap, {case.topic("outcomes"): 1})
    sent = [0]

    def send(count: int) -> None:
        first, sent[0] = sent[0], sent[0] + count
        numbers = range(first, sent[0])
        case.send("events", (event_row(event(n, amount=float(n % 9))) for n in numbers))
        case.send("outcomes", (outcome_row(f"e{n}", BEGIN_MS + n * 1000 + 1, 3.0 * (n % 9), outcome_id=f"o{n}") for n in numbers))
        wait_until(lambda: len(case.predictions()) == sent[0], "every event is answered", timeout_s=60.0)

    def models(word: str, *arguments: str) -> str:
        code = main(["models", word, str(case.path), "twice", *arguments, "--bootstrap", case.bootstrap])
        out, err = capsys.readouterr()
        return out if code == 0 else err

    def last() -> int:
        label = str(max(case.predictions(), key=lambda row: row["source_offset"])["model_version"])
        return int(label[1:].split("-")[0]) if label.startswith("v") else 0

    control = Control(load_plan(case.path), broker.bootstrap)
    with running(case):
        send(40)
        wait_until(lambda: len(control.learned("twice")) >= 3, "it has learned", timeout_s=60.0)
        send(40)
        held = min(control.learned("twice"))
        assert "model twice cannot be pinned to it" in models("pin", "999")
        assert f"twice is pinned to v{held} (change 1)" in models("pin", str(held))
        wait_until(lambda: len(control.book().told.get("twice", [])) == 1, "it is held", timeout_s=60.0)
        send(60)
        assert last() == held
        assert f"twice: v{held} is to answer, pinned" in models("show")
        assert "no longer pinned" in models("pin", "--off")
        wait_until(lambda: len(control.book().told.get("twice", [])) == 2, "it is let go", timeout_s=60.0)
        send(20)
        assert last() > held
