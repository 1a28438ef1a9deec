"""broker folder: what the folder of a dev broker holds, and who may start there. errors → *broker_folder* → devbroker.

cluster_id (ours, made once), server.properties (the ports of the last time), data/ (Kafka's logs), broker.json (who runs now),
broker.log, lock. Any of them may be stale, torn or somebody else's: whoever reads here decides what to believe.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_infer.edge import kafka_process
from stream_infer.errors import EnvironmentMissing

LOCK_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answers. pid: java's process id, 0 when it is not ours; owner: the process it ends with, 0 when it stays.

    The marks tell a process from a later one with the same id.
    """

    bootstrap: str
    cluster_id: str
    folder: Path
    pid: int = 0
    mark: str = ""
    owner: int = 0
    owner_mark: str = ""


def own_cluster_id(folder: Path) -> str:
    """The folder's cluster id, made at its first use. Raises when the logs in it are another cluster's."""
    path, meta = folder / "cluster_id", folder / "data" / "meta.properties"
    ours = path.read_text().strip() if path.exists() else ""
    if meta.exists():
        theirs = re.search(r"^cluster\.id=(.*)$", meta.read_text(), re.MULTILINE)
        found = theirs.group(1).strip() if theirs else "none"
        if found != ours:
            raise foreign(folder, found, ours or "none yet", "the logs in the folder")
        return ours
    # Before formatting: a format that is cut short is done again with the same id.
    fresh = kafka_process.new_cluster_id()
    path.write_text(fresh + "\n")
    return fresh


def foreign(folder: Path, got: str, expected: str, whose: str) -> EnvironmentMissing:
    """The refusal to touch what belongs to another cluster."""
    return EnvironmentMissing(
        f"{whose}: another cluster's", got=f"cluster id {got}", expected=f"cluster id {expected}, of {folder}",
        fix="nothing was written to it; take another folder, or delete this one if its data may go",
    )


def last_ports(folder: Path) -> tuple[int, int] | None:
    """Broker's and controller's port of the last start."""
    path = folder / "server.properties"
    line = re.search(r"^listeners=\D+[\d.]+:(\d+)\D+[\d.]+:(\d+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return (int(line.group(1)), int(line.group(2))) if line else None


def read_state(folder: Path) -> Broker | None:
    """What broker.json says, if the process it names still lives; a stale or torn file counts as none."""
    try:
        said = json.loads((folder / "broker.json").read_text())
        broker = Broker(**{**said, "folder": folder})
    except (OSError, ValueError, TypeError):
        return None
    return broker if broker.mark and kafka_process.started_at(broker.pid) == broker.mark else None


def write_state(broker: Broker) -> None:
    """Say in broker.json who runs: whole or not at all."""
    path = broker.folder / "broker.json"
    path.with_suffix(".new").write_text(json.dumps({**asdict(broker), "folder": str(broker.folder)}, indent=1) + "\n")
    path.with_suffix(".new").replace(path)


@contextlib.contextmanager
def locked(folder: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """One at a time starts a broker here. The lock dies with its holder."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        began = said = time.monotonic()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                if now - began > LOCK_S_MAX:
                    what = f"another process has been starting the broker of {folder} for {LOCK_S_MAX:.0f} s"
                    raise EnvironmentMissing(what, fix="end that process") from None
                if now - said > 2.0:
                    progress("another process is starting the same broker; waiting for it")
                    said = now
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
