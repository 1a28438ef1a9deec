"""replay: how fast a log is worked through again, beside the live run that answered it. preload, harness → *replay*.

    python -m benchmarks.replay [--count 300000]

One process answers a full topic, exactly once; then the same stretch is replayed as recorded, with the same model, and must not differ in
a bit; then one prediction from the end is made again. Linear model without state, and the whole path with windows and a net.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import bench, ours, preload
from benchmarks.harness.broker import ROOT, Cluster, cluster
from stream_infer.cli import load_plan
from stream_infer.cli_replay import read_only
from stream_infer.edge.comparing import Stretch
from stream_infer.edge.host import Host, RunSettings
from stream_infer.edge.progress import Progress
from stream_infer.edge.rebuilding import Sought, rebuild
from stream_infer.edge.replaying import ReplaySettings, replay
from stream_infer.edge.workers import load_models

RESULTS = ROOT / "benchmarks/results/replay.json"
PARTITIONS = 4
CASES = {"transform": ours.linear, "full": ours.network}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="how fast a log is worked through again")
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "replay", "machine": bench.machine(), "count": wanted.count, "cases": {}}
    with cluster(wanted.broker_folder) as broker:
        for name in CASES:
            result["cases"][name] = found = run_case(broker, name, wanted.count)
            print(name, json.dumps(found), flush=True)
    wanted.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def run_case(broker: Cluster, name: str, count: int) -> dict[str, float]:
    """Records a second of the live run and of the replay; seconds that one prediction took."""
    topic = preload.fill(broker, {"count": count, "format": "avro", "partitions": PARTITIONS})
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        group = f"bench-replay-{name}-{time.time_ns() % 10**9}"
        path = ours.write_topology(folder, CASES[name], group=group, source=topic, out=f"{group}-out", partitions=PARTITIONS)
        plan = load_plan(path)
        live_s = _live(Host(plan, RunSettings(broker.bootstrap), {}, Progress(io.StringIO())), count)
        logs, models = read_only(plan, broker.bootstrap), load_models(plan, {})
        try:
            found = replay(plan, logs, models, ReplaySettings(Stretch()))
            if len(found.ids) != count or any(found.rows()):
                raise RuntimeError(f"{name}: {len(found.ids)} rows of {count}, or some that differ")
            began = time.perf_counter()
            again = rebuild(plan, logs, models, Sought(found.ids[-1]))
            rebuild_s = time.perf_counter() - began
            if not again.identical:
                raise RuntimeError(f"{name}: {again.reason}")
        finally:
            logs.close()
    rates = {"live_per_s": count / live_s, "replay_per_s": count / found.seconds}
    return {key: round(value) for key, value in rates.items()} | {"cuts": again.cut, "one_prediction_s": round(rebuild_s, 2)}


def _live(host: Host, count: int) -> float:
    """Seconds from the first answer to the commit of the last."""
    begun: list[float] = []

    def watch() -> None:
        answered = host.worker.stats.rows_answered
        if answered and not begun:
            begun.append(time.perf_counter())
        if answered >= count and host.worker.settled():
            begun.append(time.perf_counter())
            host.stop()

    host.run(watch)
    return begun[1] - begun[0]


if __name__ == "__main__":
    raise SystemExit(main())
