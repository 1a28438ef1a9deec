"""Latency: from the moment a record was due to be sent until a read_committed consumer has its answer, at three loads. Ours beside others.

    python -m benchmarks.latency                                    all cases, 15 s a load, 3 repeats
    python -m benchmarks.latency --cases ours-eo,quix-eo --seconds 5 --repeats 1

Each case is started once per repeat and goes through these phases: a few records to wake it; all at once, which is how fast it works off
what waits; smaller and smaller shares of that, until it keeps up with records that come one by one (small batches cost everybody more, and
generator, broker and reader share the machine with it); then a low rate, half and 80 % of what it kept up with. The generator is open-loop
(loadgen/openloop.py): a stall of the case makes later records late, not fewer. A phase whose generator missed its own schedule is
not valid and shows no figures.

Last in each repeat comes the floor, a C program, at the loads that ours with the same guarantee was given just before: how much of a delay
is the machine's and the broker's.
"""

from __future__ import annotations

import sys

from benchmarks.harness import events, floors, ours, peers
from benchmarks.harness.case import Case
from benchmarks.harness.delay import main

FLOOR_COMMIT_MS = 20  # no pacing, so it has to choose: 10 did not keep up with 80,000 a second, 40 made p50 41 ms instead of 35


def cases(fmt: str) -> list[Case]:
    return [
        ours.case("ours-eo", "stream-infer, exactly once", "eo", ours.linear),
        ours.case("ours-alo", "stream-infer, at least once", "alo", ours.linear),
        *[case for case in peers.loops(fmt) if case.name != "bare"],
        *[case for case in peers.frameworks(fmt) if case.name in ("aiokafka", "quix-alo", "quix-eo", "faust-best")],
        *floors.cases("transform", fmt, FLOOR_COMMIT_MS),
    ]


if __name__ == "__main__":
    sys.exit(main(cases, events.spec()))
