"""Every small topology as a new user tries it: its made-up rows sent to a real broker, then a run to the end of the logs.

Oracle: what the simulated broker, model passes and calls make of the same rows, in every field and to the bit.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from loadgen.__main__ import main as loadgen
from loadgen.drawn import FILE
from stream_infer.cli import load_plan
from stream_infer.edge.call_setup import answerers, calls_of, held_lookups
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.devredis import DevRedis
from stream_infer.edge.host import Host, RunSettings
from stream_infer.edge.looking import rows_of
from stream_infer.edge.progress import Progress
from stream_infer.edge.workers import load_models
from stream_infer.sim.play import make_broker, read, run_to_end
from stream_infer.topology.plan import Plan
from tests.support import read_all
from topologies.rules.order_rules import STREAM_INFER_FUNCTIONS

pytestmark = pytest.mark.broker
FOLDER = Path("topologies")
SMALL = sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))
# Three hours of event time: time enough to learn, and for the steps of a canary.
SIZES = ["--rate", "0.06", "--duration-s", "10800"]
LONGER = {"payments", "pipeline", "shadow", "explain", "online_store"}  # the others, and tests of their own, have what is in these


@dataclass(frozen=True)
class Tried:
    """A topology with topics of its own, and whether all of its rows are answered."""

    plan: Plan
    bootstrap: str
    sent: int

    def run(self) -> None:
        calls = calls_of(self.plan, STREAM_INFER_FUNCTIONS, strict=True)
        with Path("/dev/null").open("w") as nowhere:
            Host(self.plan, RunSettings(self.bootstrap, deterministic=True), {}, Progress(nowhere), calls).run()

    def outputs(self) -> list[str]:
        read_by_it = {i.stream for section in self.plan.sections for i in section.inputs}
        return [name for name in self.plan.streams if name not in read_by_it and not name.startswith(f"{self.plan.name}.")]

    def simulated(self) -> Iterator[tuple[str, list[dict[str, object]]]]:
        """The outputs of a run over the records that the real broker holds."""
        sim = make_broker(self.plan)
        for stream in self.plan.streams.values():
            if stream.event_time is not None:
                for row in read_all(self.bootstrap, stream.topic):
                    sim.append(stream.topic, [row.key], [row.value], row.partition, timestamps=np.array([row.timestamp_ms]))
        calls = answerers(self.plan, STREAM_INFER_FUNCTIONS) | held_lookups(self.plan, {})
        run_to_end(self.plan, sim, load_models(self.plan, {}), calls)
        for name in self.outputs():
            yield name, read(sim, self.plan.streams[name])


def tried(name: str, bootstrap: str, folder: Path, topic: str) -> Tried:
    """A copy of the topology whose name and topics nobody else has, with its rows sent."""
    shutil.copytree(FOLDER / name, folder / name)
    (path,) = [path for path in (folder / name).glob("*.yaml") if path.name != FILE]
    text = re.sub(r"(?m)^name: *", f"name: t{topic[-8:]}-", path.read_text(), count=1)
    path.write_text(re.sub(r"\btopic: *", f"topic: t{topic[-8:]}-", text))
    kind = "rows" if name in SMALL else name
    assert loadgen([kind, *SIZES, "--flat-out", "--bootstrap", bootstrap, "--topology", str(path)]) == 0
    return Tried(load_plan(path), bootstrap, 648)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONGER else []) for name in (*SMALL, "payments")])
def test_a_small_topology_answers_on_a_real_broker_as_on_the_simulated_one(
    name: str, broker: Broker, topic: str, tmp_path: Path, redis_server: DevRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    case = tried(name, broker.bootstrap, tmp_path, topic)
    case.run()
    for stream, expected in case.simulated():
        found = [{key: row[key] for key in row if key not in ("partition", "offset")} for row in rows_of(case.plan, stream, case.bootstrap)]
        assert list(map(repr, found)) == list(map(repr, expected)), stream
        if stream in ("scores", "answers", "estimates", "alarms", "verdicts"):
            assert len(found) == case.sent
