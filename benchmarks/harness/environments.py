"""environments: a virtual environment for each peer, made when it is first asked for. *environments* → peers, report.

    python -m benchmarks.harness.environments          all of them

They stand in .bench/, apart from ours, since peers pin other versions of the same packages. What they hold is what
benchmarks/peers/NAME/requirements.txt says; a changed file makes the environment anew.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from benchmarks.harness.broker import ROOT, SCRATCH

PEERS = ROOT / "benchmarks/peers"


def python_of(name: str) -> str:
    """Where the environment's Python stands once it is ready."""
    return str(SCRATCH / name / "bin/python")


@cache
def ready(name: str) -> Path | None:
    """The environment's Python; None where its packages cannot be installed, the reason in .bench/NAME.log."""
    folder, wanted = SCRATCH / name, (PEERS / name / "requirements.txt").read_text()
    python, stamp = folder / "bin/python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    SCRATCH.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PEERS / name / "requirements.txt")]
    print(f"environment of {name}: installing {', '.join(wanted.split())}", flush=True)
    with (SCRATCH / f"{name}.log").open("wb") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            return None
    stamp.write_text(wanted)
    return python


def absent(name: str) -> str | None:
    """Why the peer cannot run here; None where it can."""
    if ready(name) is not None:
        return None
    return f"its packages do not install on Python {sys.version_info.major}.{sys.version_info.minor} here"


if __name__ == "__main__":
    for one in sorted(path.parent.name for path in PEERS.glob("*/requirements.txt")):
        print(f"{one}: {absent(one) or 'ready'}")
