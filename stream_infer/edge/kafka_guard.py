"""kafka guard: the small process between the dev broker and whoever started it. kafka_process → *kafka_guard* → java.

Run as a script: `kafka_guard.py OWNER PID_FILE java …`. OWNER is the process id to outlive no longer than a moment; 0 starts the
broker to stay and returns at once. Nothing here imports anything but the standard library: it starts in 40 ms and stays small.

The guard asks who its parent is, four times a second: the answer changes when the owner dies of anything, kill -9 included. Neither
a pipe (children of the owner inherit it) nor the kernel's parent-death signal on java itself (it fires when the *thread* that
started it ends) is as sure. The kernel's signal serves for the one case left: the guard itself is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.25
STOP_S = 15.0
_PR_SET_PDEATHSIG = 1


def main(owner: int, pid_file: Path, command: list[str]) -> int:
    """Start the command and, unless owner is 0, end it when the owner ends. Returns the exit code."""
    # Sound with preexec_fn: this process has one thread.
    watch = _die_with_parent if owner and sys.platform == "linux" else None
    # close_fds=False: java inherits the open file whose lock says that somebody works on the folder; with java's end it is free.
    java = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, start_new_session=owner == 0, preexec_fn=watch)  # noqa: S603, PLW1509
    os.closerange(3, 256)  # java alone holds the lock now
    fresh = pid_file.with_suffix(".new")
    fresh.write_text(str(java.pid))
    fresh.replace(pid_file)
    if owner == 0:
        os._exit(0)  # without waiting for java, which is no longer ours
    while java.poll() is None:
        if os.getppid() != owner:
            _stop(java)
        time.sleep(POLL_S)
    return java.returncode


def _stop(java: subprocess.Popen[bytes]) -> None:
    java.terminate()
    try:
        java.wait(STOP_S)
    except subprocess.TimeoutExpired:
        java.kill()
        java.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
