"""Explanations on a real broker, whatever is killed. Oracle: a ledger of ids, and 2 · (spent - baseline), as the model is linear."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stream_infer.edge.devbroker import Broker
from tests.broker.chaos import SPENT, Chaos, Stream, records, until
from tests.support import create_topics, read_all
from tests.support_run import score_case, twice

pytestmark = pytest.mark.broker
BASELINE = 7.0
EXPLAIN = f"  reasons: {{kind: explain, from: score, to: explanations, share: 1, rows_max: 10000, baseline: {{spent: {BASELINE}}}}}\n"
STREAM = "  explanations: {{topic: {name}-explanations, partitions: {partitions}, format: json, framing: bare}}"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_answer_has_one_explanation_whatever_is_killed(broker: Broker, topic: str, tmp_path: Path) -> None:
    parts: dict[str, Any] = SPENT | {"more_stages": SPENT["more_stages"] + EXPLAIN, "more_streams": STREAM}
    case = score_case(broker.bootstrap, tmp_path, topic, partitions=2, **parts)
    (tmp_path / "spent.safetensors").write_bytes(twice(("spent",)).to_bytes())
    create_topics(broker.bootstrap, {case.topic("explanations"): 2, case.topic("predictions"): 2})
    with ExitStack() as stack:
        chaos = Chaos(case, stack, 1)
        chaos.revive("a")
        stream = Stream(case, 1000)
        stream.start()
        for _ in range(3):
            before = records(case, "predictions")
            until(lambda: records(case, "predictions") > before, "it works")  # noqa: B023
            chaos.kill("a")
            chaos.revive("a")
        ledger = chaos.quiet(stream.stop(), "a")

    assert ledger.problems() == []
    answers = {row["prediction_id"]: row["answer"] for row in ledger.predictions}
    told = read_all(case.bootstrap, case.topic("explanations"))
    explained = {row["prediction_id"]: row for row in (json.loads(record.value or b"") for record in told)}
    assert Counter(record.key for record in told) == {name.encode(): 1 for name in answers}
    assert {record.key for record in told} == {name.encode() for name in explained}
    for name, row in explained.items():
        assert (row["answer"], row["value"], row["method"], row["fault"]) == (answers[name], answers[name], "linear", None)
        (spent,) = row["values"]
        assert 2 * spent + 1 == answers[name]
        assert row["attributions"] == [2 * (spent - BASELINE)]
        assert (row["baseline"], row["error"], row["rest"]) == (2 * BASELINE + 1, 0, 0)
    assert len(answers) > 2_000
