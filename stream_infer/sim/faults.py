"""sim.faults: what may go wrong in a simulated run, and how often. *faults* → world."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Shares are per step of the world. A run under CALM and one under any other must answer alike.

    crash: kill -9 of a worker, which starts again in the same slot; leave: a worker goes in good order, another comes; stall: SIGSTOP,
    now and then past the session and the transaction timeout; commit: the next commit aborts, or nobody knows how it ended; hold: models
    of a worker answer nothing for a while; compact: the log cleaner runs over state topics; forget: a worker's snapshots are lost.
    slow_fetch: share of fetches that give less, or later. workers_max: at most so many at a time.
    """

    crash: float = 0.0
    leave: float = 0.0
    stall: float = 0.0
    commit: float = 0.0
    hold: float = 0.0
    compact: float = 0.0
    forget: float = 0.0
    slow_fetch: float = 0.0
    workers_max: int = 1


CALM = Faults()
SLOW = Faults(slow_fetch=0.5)
STORM = Faults(crash=0.004, leave=0.003, stall=0.003, commit=0.02, hold=0.005, compact=0.005, forget=0.002, slow_fetch=0.3, workers_max=3)
