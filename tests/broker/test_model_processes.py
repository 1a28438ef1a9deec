"""Models in processes that are killed all the time, on a real broker. Oracle: the ledger of tests/broker/chaos.py."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stream_infer.edge.devbroker import Broker
from tests.broker.chaos import JUNK, SPENT, Chaos, Stream, records, until
from tests.support import wait_until
from tests.support_run import Case, Running, score_case

pytestmark = [pytest.mark.broker, pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")]
MODEL = (
    "{kind: torch, class: twice, artifact: spent.safetensors, inputs: [{name: spent, missing: 0}],"
    " workers: {where: process, count: 2, pass_s_max: 5}}"
)


def started(case: Case, *arguments: str) -> Running:
    return Running(case, "--admit", "tests.admitted", "--port", "0", *arguments)


def children(process: int) -> list[int]:
    """Processes that run models for this one. What ends while it is looked at is passed over."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(int(pid))
    return found


def status(process: Running) -> dict[str, Any]:
    found = re.search(r"http://[\d.]+:\d+/status", process.stderr_text())
    assert found
    with urllib.request.urlopen(found[0], timeout=5) as answer:
        return dict(json.load(answer))


@pytest.mark.slow
def test_each_input_is_answered_once_whichever_worker_is_killed(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic, partitions=4, **(SPENT | {"model": MODEL}))
    weight = {"weight": np.full((1, 1), 2.0, dtype=np.float32)}
    (tmp_path / "spent.safetensors").write_bytes(safetensors.numpy.save(weight, metadata={"columns": json.dumps(["spent"])}))
    with ExitStack() as stack:
        chaos = Chaos(case, stack, 1, start=started)
        chaos.revive("a")
        host = chaos.workers["a"]
        wait_until(lambda: len(children(host.pid)) == 2, "the model's processes are there", timeout_s=60)
        stream = Stream(case, 300)
        stream.start()
        until(lambda: records(case, "predictions") > 100, "it works")
        draw, killed = random.Random(2), 0
        while killed < 8:
            time.sleep(draw.uniform(0.1, 1.5))  # the moment of a kill is what is tried out here
            there = children(host.pid)
            with suppress(ProcessLookupError):
                if there:
                    os.kill(draw.choice(there), signal.SIGKILL)
                    killed += 1
        sent = stream.stop()
        until(lambda: records(case, "predictions") + records(case, "rejects") >= sent, "all is answered")
        assert host.poll() is None, host.stderr_text()
        wait_until(lambda: sum(w["restarts"] for w in status(host)["workers"]) >= killed - 2, "counted")
        workers = children(host.pid)
        ledger = chaos.quiet(sent, "a")
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "ended with the process")

    print(f"{len(ledger.inputs)} inputs, {len(ledger.rejects)} rejected, {killed} workers killed")
    assert ledger.problems() == []
    assert len(ledger.rejects) == sum(row.value == JUNK for row in ledger.inputs), "no row was blamed"
