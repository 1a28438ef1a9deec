"""processes: how much processor time a tree of processes has used so far, and the whole machine. *processes* → run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LEAVE_S_MAX = 15.0


def tree(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds of one process with all its threads, and of those children that it has waited for."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / TICKS


def tree_cpu_s(pid: int) -> float:
    """The same, with all living descendants."""
    return sum(cpu_s(one) for one in tree(pid))


def rss_mb(pid: int) -> float:
    """Resident memory of the tree."""
    total = 0
    for one in tree(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * PAGE / 1e6


def machine_cpu_s() -> float:
    """Seconds that all cores together were busy since boot, steal left out: it is nobody's here."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


class Program:
    """A fresh process in a session of its own, its words in a file."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], log: Path, cwd: Path | None = None) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, cwd=cwd
            )
        self.pid = self._process.pid
        self.ended: int | None = None
        self.whole_s = 0.0

    def cpu_s(self) -> float:
        """Of the whole tree, so far."""
        return tree_cpu_s(self.pid)

    def alive(self) -> bool:
        """Whether it still runs; notes what it used once it does not."""
        if self.ended is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.whole_s = max(self.whole_s, used.ru_utime + used.ru_stime)
                self.ended = os.waitstatus_to_exitcode(status)
                self._process.returncode = self.ended  # waited for here: it must not be waited for again
        return self.ended is None

    def end(self) -> bool:
        """SIGTERM, then, where it does not leave in time, SIGKILL to the tree. Returns whether it left by itself."""
        if not self.alive():
            return True
        self.whole_s = self.cpu_s()  # what is killed unwaited-for shows in no later figure
        os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + LEAVE_S_MAX
        while self.alive() and time.monotonic() < until:
            self.whole_s = max(self.whole_s, self.cpu_s())
            time.sleep(0.05)
        if left := self.alive():
            for one in reversed(tree(self.pid)):
                os.kill(one, signal.SIGKILL)
            while self.alive():
                time.sleep(0.02)
        return not left

    def words(self, lines: int = 15) -> str:
        """The end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
