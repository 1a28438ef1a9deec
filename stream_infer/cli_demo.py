"""cli_demo: the whole system on a year of real flights: broker, events, training, predictions with feedback, report."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import webbrowser
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from stream_infer.cli import load_plan
from stream_infer.edge import devbroker
from stream_infer.edge.host import Host, RunSettings, transport_of
from stream_infer.edge.progress import Progress
from stream_infer.edge.readback import read_outcome
from stream_infer.edge.report.columns import Period, RunFigures, RunTrace
from stream_infer.edge.report.figures import Figures
from stream_infer.edge.report.summary import summary
from stream_infer.edge.report.write import write_report
from stream_infer.edge.topics import delete_group, delete_topics
from stream_infer.edge.trainset import TrainsetSettings, write_trainset
from stream_infer.errors import EnvironmentMissing
from stream_infer.topology.plan import Plan

REPOSITORY = Path(__file__).resolve().parent.parent
TRAINED_UNTIL = "2013-07-01"
JUDGED = Period.of_dates("October to December", "2013-10-01", "2014-01-01")


@dataclass(frozen=True)
class DemoSettings:
    """topology: None for the flights. out: folder of the report. bootstrap: None for an own broker. port: of the status page.

    begin, end: event time in ms of what is sent (None: the whole year).
    """

    topology: Path | None
    out: Path
    bootstrap: str | None
    port: int = 0
    begin: int | None = None
    end: int | None = None


def demo(settings: DemoSettings) -> int:
    """Run it from nothing to the report; returns the exit code."""
    topology = settings.topology or REPOSITORY / "topologies" / "flights" / "flights.yaml"
    if not topology.is_file():
        raise EnvironmentMissing(f"there is no {topology}", fix="run the demo from a checkout: pip install -e .")
    progress = Progress(sys.stderr)
    plan = load_plan(topology)
    bootstrap = settings.bootstrap or _own_broker(settings, progress)
    with progress.phase("clearing what an earlier demo left"):
        delete_group(bootstrap, plan.name, {})  # first: nothing is taken from a process that still works on it
        delete_topics(bootstrap, [topic for topic, _, _ in plan.topics], {})
    records = _send(settings, topology, bootstrap, progress)
    _train(plan, topology, bootstrap, settings, progress)
    host, seconds = _run(plan, RunSettings(bootstrap, deterministic=True, port=settings.port), records)
    figures = _report(plan, bootstrap, host, seconds, settings, progress)
    print(summary(figures, colour=sys.stdout.isatty()))
    page = (settings.out / "report.html").resolve()
    print(f"\nreport: {page}\n        {page.with_name('report.json')}")
    if sys.stdout.isatty():
        webbrowser.open(page.as_uri())
    return 0


def _own_broker(settings: DemoSettings, progress: Progress) -> str:
    broker = devbroker.reach(settings.out / ".broker", progress=progress.say)
    progress.say(f"Kafka runs at {broker.bootstrap}")
    return broker.bootstrap


def _send(settings: DemoSettings, topology: Path, bootstrap: str, progress: Progress) -> int:
    from loadgen import flights
    from loadgen.merge import MergedLog
    from loadgen.send import ensure_topics, send_flat_out
    from loadgen.wiring import read_wires

    with progress.phase("reading the flights of 2013"):
        tables = flights.tables()
        wires = read_wires(topology)
        begin, end = settings.begin or 0, settings.end or 1 << 62
        spans = {name: table.between(0 if wires[name].compacted else begin, end) for name, table in tables.items()}
        log = MergedLog(spans, wires)
    with progress.phase(f"sending {len(log):,} records to Kafka"):
        ensure_topics(bootstrap, [wires[name] for name in tables])
        report = send_flat_out(bootstrap, log)
    progress.say(f"sent {report}")
    if report.lost:
        raise EnvironmentMissing(f"the broker lost {report.lost} records", fix="look at its log and at the disk")
    return report.rows


def _train(plan: Plan, topology: Path, bootstrap: str, settings: DemoSettings, progress: Progress) -> None:
    trainset = settings.out / "trainset.npz"
    until = round(datetime.fromisoformat(TRAINED_UNTIL).replace(tzinfo=UTC).timestamp() * 1000)
    with progress.phase("making the training set of January to June from the log"):
        rows = write_trainset(plan, TrainsetSettings(bootstrap, None, until), trainset)
    progress.say(f"training set: {rows:,} flights")
    with progress.phase("training the models"):
        trained = subprocess.run(  # noqa: S603 — our own script beside the topology
            [sys.executable, str(topology.parent / "train.py"), str(trainset), "--topology", str(topology)],
            capture_output=True, text=True, check=False, cwd=REPOSITORY,
        )  # fmt: skip
    if trained.returncode:
        raise EnvironmentMissing("training failed", got=trained.stderr[-2000:])
    for line in trained.stdout.splitlines():
        progress.say(line)


def _run(plan: Plan, settings: RunSettings, records: int) -> tuple[Host, float]:
    progress = Progress(sys.stderr, total=records)
    progress.say("predicting: every record of the log, deterministic, exactly once")
    began = time.monotonic()
    host = Host(plan, settings, {}, progress)
    with host.signals():
        host.run()
    progress.finish(host.telemetry.snapshot())
    return host, time.monotonic() - began


def _report(plan: Plan, bootstrap: str, host: Host, seconds: float, settings: DemoSettings, progress: Progress) -> Figures:
    with progress.phase("reading back what was written"):
        transport = transport_of(plan, RunSettings(bootstrap, slot="report"))
        outcome = read_outcome(plan, transport)
        transport.close()
    stats, pace = host.worker.stats, host.worker.pace
    run = RunFigures(
        name=plan.name,
        seconds=seconds,
        baseline=outcome.predictions.shadow_names[0] if outcome.predictions.shadow_names else None,
        rows_read=stats.records_read,
        rows_rejected=sum(stats.rows_rejected.values()),
        feedback_late=_count(stats.feedback, "late"),
        feedback_duplicate=_count(stats.feedback, "feedback_repeated"),
        feedback_unknown=_count(stats.feedback, "unknown"),
        versions_published=max(stats.versions.values(), default=0) and len(set(outcome.predictions.policy_version.tolist())),
        commits=pace.commits,
        guarantee=plan.emit.guarantee,
        sha256=outcome.sha256,
        machine=f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        began_at=datetime.now(UTC).isoformat(timespec="seconds"),
        periods=(JUDGED,),
    )
    return write_report(settings.out, outcome.predictions, outcome.labels, _trace(host), run)


def _count(feedback: dict[str, int], word: str) -> int:
    return sum(count for name, count in feedback.items() if word in name)


def _trace(host: Host) -> RunTrace:
    """The samples of the run, as columns."""
    samples = host.observer.samples
    seconds = np.array([at - samples[0][0] for at, _, _ in samples])
    total = np.array([0, *(rows for _, rows, _ in samples)], dtype=np.int64)
    rows = total[1:] - total[:-1]
    lag = np.array([lag for _, _, lag in samples], dtype=np.int64)
    sizes = sorted(host.observer.batch_rows)
    counts = [host.observer.batch_rows[size] for size in sizes]
    latency = np.repeat(np.array(host.worker.pace.latency_ms, dtype=np.float64), np.array(host.worker.pace.latency_rows, dtype=np.int64))
    rate = np.maximum(rows / np.maximum(np.diff(seconds, prepend=-1.0), 1e-3), 1.0)
    return RunTrace(
        seconds,
        rows,
        lag,
        lag / rate,
        latency,
        np.array(sizes, dtype=np.int64),
        np.array(counts, dtype=np.int64),
        "from being taken up to committed",
    )
