"""devbroker: a real Kafka of one node for development, tests and the demo. kafka_process, broker_folder → *devbroker* → cli, tests.

A folder is a cluster. It holds the cluster id, server.properties with the ports of the last time (taken again when they are still
free, so clients find the broker where it was), the logs, and broker.json, which says who runs now. Starting twice gives the one
that runs; it ends with the process that started it, unless told to stay. Nothing is written to a broker whose cluster id is
not the folder's: ports move from one owner to another, data must not.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_infer.edge import broker_folder, kafka_jars, kafka_process, kafka_settings
from stream_infer.edge.broker_folder import Broker
from stream_infer.errors import EnvironmentMissing

__all__ = ["Broker", "Progress", "quiet", "reach", "start", "status", "stop"]

Progress = Callable[[str], None]

START_S_MAX = 90.0
PORT_ATTEMPTS = 3
DISK_FREE_MIN = 200_000_000  # the logs of a demo take 100 MB; Kafka ends when a write fails

# Guards that this process started, by java's process id: they are its children and must be waited for.
_guards: dict[int, subprocess.Popen[bytes]] = {}


def quiet(_text: str) -> None:
    """Progress for those who want none."""


def reach(folder: Path, *, progress: Progress = quiet, wait_s: float = 10.0) -> Broker:
    """The broker of STREAM_INFER_BOOTSTRAP where that is set, else the dev broker of this folder, started if need be."""
    bootstrap = os.environ.get("STREAM_INFER_BOOTSTRAP")
    if not bootstrap:
        return start(folder, progress=progress)
    cluster_id = _ask_cluster_id(bootstrap, wait_s)
    if cluster_id is None:
        raise EnvironmentMissing(
            "no Kafka answers", got=f"STREAM_INFER_BOOTSTRAP={bootstrap}", expected="host:port of a Kafka that runs",
            fix="start it, correct the address, or unset STREAM_INFER_BOOTSTRAP to have a dev broker started",
        )
    return Broker(bootstrap, cluster_id, folder)


def start(folder: Path, *, stay: bool = False, heap_mb: int = 512, progress: Progress = quiet) -> Broker:
    """The broker of this folder, ready to serve: the running one, or a new one on the folder's data.

    stay: it outlives this process, until stop(folder). Raises EnvironmentMissing, with what to do, when it cannot start.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with broker_folder.locked(folder, progress):
            _sweep()
            running = _running(folder)
            if running is not None:
                return running
            return _start_new(folder, stay=stay, heap_mb=heap_mb, progress=progress)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise
        raise EnvironmentMissing(f"the dev broker cannot use {folder}", got=str(error), fix="make room, or take another folder") from error


def stop(folder: Path) -> bool:
    """End the broker of this folder and wait until it has closed its logs. Returns whether one ran."""
    folder = folder.resolve()
    said = broker_folder.read_state(folder)
    if said is not None:
        kafka_process.end(said.pid, said.mark)
        (folder / "broker.json").unlink(missing_ok=True)
        _reap(said.pid)
    return said is not None


def status(folder: Path) -> dict[str, object]:
    """What the folder holds. Always: folder, running, data_mb; of a running one also bootstrap, cluster_id, pid, stay, rss_mb, answers."""
    folder = folder.resolve()
    data_bytes = sum(_size(path) for path in (folder / "data").rglob("*")) if folder.exists() else 0
    found: dict[str, object] = {"folder": str(folder), "running": False, "data_mb": round(data_bytes / 1e6, 1)}
    said = broker_folder.read_state(folder)
    if said is not None:
        answers = _ask_cluster_id(said.bootstrap, 2.0) == said.cluster_id
        found |= {"running": True, "bootstrap": said.bootstrap, "cluster_id": said.cluster_id, "pid": said.pid, "stay": said.owner == 0}
        found |= {"answers": answers, "rss_mb": _rss_mb(said.pid)}
    return found


# ------------------------------------------------------------------------------------------------------------------ starting


def _start_new(folder: Path, *, stay: bool, heap_mb: int, progress: Progress) -> Broker:
    free = shutil.disk_usage(folder).free
    if free < DISK_FREE_MIN:
        wanted = f"{DISK_FREE_MIN / 1e6:.0f} MB"
        raise EnvironmentMissing(f"too little room in {folder}", got=f"{free / 1e6:.0f} MB free", expected=wanted, fix="make room")
    install = kafka_process.Install(kafka_process.java(), tuple(kafka_jars.ensure(progress)), heap_mb)
    claimed = kafka_process.claim(folder)
    try:
        return _start_claimed(folder, install, claimed, stay=stay, progress=progress)
    finally:
        os.close(claimed)  # java has its own


def _start_claimed(folder: Path, install: kafka_process.Install, claimed: int, *, stay: bool, progress: Progress) -> Broker:
    cluster_id = broker_folder.own_cluster_id(folder)
    began = time.monotonic()
    for attempt in range(1, PORT_ATTEMPTS + 1):
        ports = kafka_process.free_ports(wanted=broker_folder.last_ports(folder) if attempt == 1 else None)
        settings = kafka_settings.properties(*ports, data=str(folder / "data"))
        (folder / "server.properties").write_text(kafka_settings.to_properties_file(settings))
        if not (folder / "data" / "meta.properties").exists():
            progress(f"preparing {folder} for a new Kafka cluster")
            kafka_process.format_storage(install, folder / "server.properties", cluster_id)
        broker = _launch(install, folder, claimed, cluster_id, ports[0], stay=stay, progress=progress)
        if broker is not None:
            progress(f"Kafka {kafka_settings.KAFKA_VERSION} answers at {broker.bootstrap} after {time.monotonic() - began:.1f} s")
            return broker
        progress(f"port {ports[0]} or {ports[1]} was taken in between; trying others")
    got = f"{PORT_ATTEMPTS} times another program took the port between looking and starting"
    raise EnvironmentMissing("the dev broker finds no port", got=got, fix="start it again")


def _launch(
    install: kafka_process.Install, folder: Path, claimed: int, cluster_id: str, port: int, *, stay: bool, progress: Progress
) -> Broker | None:
    """The broker once it answers; None when its port was taken in between."""
    log = folder / "broker.log"
    pid, guard = kafka_process.launch(install, folder, claimed, stay=stay)
    owner = 0 if guard is None else os.getpid()
    if guard is not None:
        _guards[pid] = guard
        atexit.register(_end_at_exit, folder, owner)
    mark = kafka_process.started_at(pid)
    broker = Broker(f"{kafka_process.LOOPBACK}:{port}", cluster_id, folder, pid, mark, owner, kafka_process.started_at(owner))
    # Before it answers, so that stop() reaches it even if we are interrupted while waiting.
    broker_folder.write_state(broker)
    try:
        _wait_until_ready(broker, port, log, progress)
    except BaseException:  # KeyboardInterrupt too: whoever gives up waiting leaves no broker behind
        stop(folder)
        _reap(pid)
        if kafka_process.port_was_taken(log):
            return None
        raise
    return broker


def _end_at_exit(folder: Path, owner: int) -> None:
    """The guard would do it too, a moment later: whoever starts the next broker here should not meet this one going down."""
    if os.getpid() == owner:  # not in a fork that inherited the list of what to do at exit
        said = broker_folder.read_state(folder)
        if said is not None and said.owner == owner:
            stop(folder)
        _sweep()


def _sweep() -> None:
    """Wait for the guards of brokers that ended by themselves, or by another's hand."""
    for pid in list(_guards):
        if not kafka_process.started_at(pid):
            _reap(pid)


def _reap(pid: int) -> None:
    guard = _guards.pop(pid, None)
    if guard is not None:
        guard.wait()


def _wait_until_ready(broker: Broker, port: int, log: Path, progress: Progress) -> None:
    began = said = time.monotonic()
    while True:
        now = time.monotonic()
        if kafka_process.started_at(broker.pid) != broker.mark or not broker.mark:
            raise kafka_process.failure(log, broker.folder)
        if kafka_process.accepts(port):
            answered = _ask_cluster_id(broker.bootstrap, 5.0)
            if answered == broker.cluster_id:
                return
            if answered is not None:
                raise broker_folder.foreign(broker.folder, answered, broker.cluster_id, f"the broker at {broker.bootstrap}")
        if now - began > START_S_MAX:
            raise EnvironmentMissing("the dev broker does not answer", got=f"nothing within {START_S_MAX:.0f} s", fix=f"its log is {log}")
        if now - said > 2.0:
            progress(f"waiting for Kafka to answer: {now - began:.0f} s")
            said = now
        time.sleep(0.05)


def _ask_cluster_id(bootstrap: str, wait_s: float) -> str | None:
    """The id of the cluster that answers there and has a broker to serve with; None when nobody does in time."""
    deadline = time.monotonic() + wait_s
    admin = AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 0})
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            found = admin.describe_cluster(request_timeout=1.0).result()
            if found.nodes and found.cluster_id:
                return str(found.cluster_id)
        time.sleep(0.02)
    return None


def _running(folder: Path) -> Broker | None:
    """The broker that runs on this folder. Raises when its process lives but does not answer as it should."""
    said = broker_folder.read_state(folder)
    if said is None:
        (folder / "broker.json").unlink(missing_ok=True)
        return None
    if said.owner and kafka_process.started_at(said.owner) != said.owner_mark:
        stop(folder)  # its guard is about to
        return None
    answered = _ask_cluster_id(said.bootstrap, 10.0)
    if answered is None and broker_folder.read_state(folder) is None:
        return None  # it ended while we asked
    if answered is None:
        got = f"process {said.pid}, {said.bootstrap}"
        raise EnvironmentMissing(f"the dev broker of {folder} runs but does not answer", got=got, fix="stop it, then start it again")
    if answered != said.cluster_id:
        raise broker_folder.foreign(folder, answered, said.cluster_id, f"the broker at {said.bootstrap}")
    return said


def _size(path: Path) -> int:
    """Bytes on the disk: Kafka's index files are mostly holes. 0 for what is deleted while we look."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _rss_mb(pid: int) -> float | None:
    try:
        line = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return None
    return round(int(line.group(1)) / 1024, 1) if line else None
