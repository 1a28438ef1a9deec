"""edge.host: one process of a topology, from the plan to the last commit. cli → *host* → flow.worker, kafka, workers, status page."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, cast

from confluent_kafka import KafkaException

from stream_infer.edge.answer_cache import AnswerCache, Closing
from stream_infer.edge.call_setup import calls_of, redis_steps
from stream_infer.edge.calls import Calls
from stream_infer.edge.health import Health
from stream_infer.edge.installing import Installer
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.measuring import measured
from stream_infer.edge.observing import Observer
from stream_infer.edge.progress import Progress
from stream_infer.edge.redis_calls import RedisCalls
from stream_infer.edge.secrets import resolved
from stream_infer.edge.snapshots import SnapshotFolder
from stream_infer.edge.status_page import StatusPage
from stream_infer.edge.stores import Stores, run_stores, stores_of
from stream_infer.edge.telemetry import Telemetry
from stream_infer.edge.topics import cluster_id, create_topics
from stream_infer.edge.version_loading import version_loader
from stream_infer.edge.workers import InProcess, start_models
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model, Registry
from stream_infer.topology.plan import Plan

log = logging.getLogger("stream_infer.host")
POLL_WAIT_MS = 20  # how long a step waits when nothing is there: bounds what a stop or a tick waits for


@dataclass(frozen=True)
class RunSettings:
    """How this process runs. slot: names it among the processes of the topology, and must stay the same over restarts.

    stages: run only the sections with these stages (None: all). state: folder of snapshots (None: no snapshots).
    standby_bytes_max: so much memory is for warm copies of what other processes own (0: none is kept).
    port: of the status page on loopback (None: none; 0: any free one). create: make missing topics of those that are written.
    admitted: modules of the user's model classes, for processes of models to import.
    """

    bootstrap: str
    slot: str = "0"
    deterministic: bool = False
    stages: tuple[str, ...] | None = None
    state: Path | None = None
    snapshot_every_s: float = 60.0
    standby_bytes_max: int = 0
    port: int | None = None
    create: bool = True
    session_timeout_ms: int = 10_000
    admitted: tuple[str, ...] = ()


def sections_of(plan: Plan, stages: tuple[str, ...] | None) -> list[str] | None:
    """Names of the sections that hold these stages, none for store stages; EnvironmentMissing for a stage that is not there."""
    if stages is None:
        return None
    known = {step.name: section.name for section in plan.sections for step in section.steps}
    stores = [store.name for store in plan.stores]
    unknown = [stage for stage in stages if stage not in (*known, *stores)]
    if unknown:
        expected = ", ".join([*known, *stores])
        raise EnvironmentMissing("--stages names what the topology does not have", got=", ".join(unknown), expected=expected)
    return list(dict.fromkeys(known[stage] for stage in stages if stage in known))


def written_topics(plan: Plan) -> list[tuple[str, int, bool]]:
    """What we write: internal topics, predictions, rejects. Those we only read are not ours to make: a misspelt one would stay empty."""
    inputs = {plan.streams[i.stream].topic for section in plan.sections for i in section.inputs}
    return [topic for topic in plan.topics if topic[0] not in inputs or topic[0].startswith(f"{plan.name}.")]


def transport_of(plan: Plan, settings: RunSettings) -> KafkaTransport:
    """The Kafka side of a worker. EnvironmentMissing when the broker is not there."""
    client = resolved(plan.client)
    return KafkaTransport(
        KafkaSettings(
            bootstrap=settings.bootstrap,
            group=plan.name,
            transactional_id=f"{plan.name}.{settings.slot}",
            guarantee=cast("Literal['exactly_once', 'at_least_once']", plan.emit.guarantee),
            client=client,
            session_timeout_ms=settings.session_timeout_ms,
        ),
        header_topics=[stream.topic for stream in plan.streams.values() if stream.framing == "header"],
    )


class Host:
    """A worker with everything around it. registry: user's model classes by name; calls: what runs the calls of the plan."""

    def __init__(self, plan: Plan, settings: RunSettings, registry: Registry, progress: Progress, calls: Calls | None = None) -> None:
        self.settings = settings
        sections = sections_of(plan, settings.stages)
        self.telemetry = Telemetry(plan.name)
        self.health = Health()
        models, self._processes = start_models(plan, registry, settings.admitted)
        try:
            self._set_up(plan, models, sections, registry, calls)
        except BaseException:
            self._processes.close()
            raise
        self.progress = progress
        self._stop = False

    def _set_up(
        self, plan: Plan, models: dict[str, Model], sections: list[str] | None, registry: Registry, calls: Calls | None
    ) -> None:
        settings = self.settings
        if not settings.deterministic:
            plan = measured(plan, models, time.perf_counter)
        self.plan = plan
        self.health.holds("models loaded")
        if settings.create:
            create_topics(settings.bootstrap, written_topics(plan), resolved(plan.client))
        self._calls = calls or calls_of(plan, {}, strict=settings.deterministic)
        installer = Installer(version_loader(plan.models, plan.base, registry, self._processes.load))
        self._forwarder: Closing = InProcess(models, installer, self._processes.keepers)
        self._cache: AnswerCache | None = None
        caches = {name: model.cache for name, model in plan.models.items() if model.cache is not None}
        if caches and not settings.deterministic:
            self._forwarder = self._cache = AnswerCache(self._forwarder, caches)
        self._transport = transport = transport_of(plan, settings)
        transport.on_read = self.health.beat
        self.worker = Worker(
            plan,
            statics(plan.models, models),
            transport,
            self._forwarder,
            lambda: time.monotonic_ns() // 1_000_000,
            deterministic=settings.deterministic,
            snapshots=self._snapshots(),
            snapshot_every_ms=round(settings.snapshot_every_s * 1000),
            sections=sections,
            slot=settings.slot,
            standby_bytes_max=settings.standby_bytes_max,
            wall=lambda: time.time_ns() // 1_000_000,
            caller=self._calls,
        )
        # A deterministic run answers again what was answered long ago: nobody who reads Redis wants that there.
        stores = [] if settings.deterministic else stores_of(plan, settings.stages)
        self.stores = Stores(plan, stores, settings.bootstrap, self.telemetry, session_timeout_ms=settings.session_timeout_ms)
        self.observer = Observer(self.worker, transport, self.telemetry, self.health, self._calls, self._processes)

    def _snapshots(self) -> SnapshotFolder | None:
        if self.settings.state is None:
            return None
        features = repr([(section.name, section.steps) for section in self.plan.sections])
        cluster = cluster_id(self.settings.bootstrap, resolved(self.plan.client))
        stamp = hashlib.sha256(f"{self.plan.name} {cluster} {features}".encode()).hexdigest()
        return SnapshotFolder(self.settings.state, stamp)

    def stop(self) -> None:
        """Finish what is in flight, commit and leave; the loop ends soon."""
        self._stop = True

    def run(self, watch: Callable[[], None] | None = None) -> None:
        """Work until stop(), or to the end of the logs when deterministic. watch: called once per turn."""
        with self._page(), self.stores:
            self.worker.start()
            try:
                while not self._stop:
                    self.worker.step(POLL_WAIT_MS)
                    self.observer.look()
                    if self.stores.look():
                        self._tell()
                    if self.progress.due():
                        self.progress.show(self.telemetry.snapshot())
                    if watch is not None:
                        watch()
                    if self.settings.deterministic and self.worker.finished():
                        break
                self.health.drain()
                self.worker.close()
                self.observer.look(last=True)
            except BaseException as error:
                self.health.fail(f"{type(error).__name__}: {error}".splitlines()[0])
                with suppress(KafkaException, RuntimeError):  # closed already, or past closing: the first error is what matters
                    self._transport.abandon()
                raise
            finally:
                self._forwarder.close()
                self._processes.close()
                self._calls.close()

    def _tell(self) -> None:
        """What only some topologies have, as metrics."""
        if self._cache is not None:
            self._cache.tell(self.telemetry)
        for step, _ in redis_steps(self.plan):
            executor = self._calls.executor(step.name)
            if isinstance(executor, RedisCalls):
                executor.tell(self.telemetry.put)

    @contextmanager
    def _page(self) -> Iterator[None]:
        if self.settings.port is None:
            yield
            return
        with StatusPage(self.health, self.telemetry, port=self.settings.port, status=self.observer.status) as page:
            host, port = page.address
            self.progress.say(f"status: http://{host}:{port}/status, metrics: http://{host}:{port}/metrics")
            yield

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C drain; a second one ends the process at once, which aborts the open transaction."""

        def on_signal(number: int, _: FrameType | None) -> None:
            if self._stop:
                os._exit(128 + number)
            self.progress.say("stopping: finishing what is in flight (again to end at once)")
            self.stop()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(plan: Plan, settings: RunSettings, registry: Registry, calls: Calls) -> None:
    """`stream-infer run`."""
    progress = Progress(sys.stderr)
    if settings.stages is not None and not sections_of(plan, settings.stages):
        timeout = settings.session_timeout_ms
        run_stores(plan, settings.stages, settings.bootstrap, settings.port, progress, session_timeout_ms=timeout)
        return
    host = Host(plan, settings, registry, progress, calls)
    # What was loaded stays: collecting garbage need not look at it again, nor after every 700 messages (1.29 → 0.92 µs a record read).
    gc.freeze()
    gc.set_threshold(100_000)
    with host.signals():
        host.run()
    progress.finish(host.telemetry.snapshot())
