"""Transform: consume, one small linear model, produce. Ours beside every Python peer and the plain loops, on one broker in one run.

    python -m benchmarks.transform                                  all cases, 300,000 records
    python -m benchmarks.transform --cases ours-eo,bare --n 300000 --formats avro
    python -m benchmarks.transform --n 1000000 --repeats 5          the official figures

benchmarks/harness/README.md says what a case is and what is measured.
"""

from __future__ import annotations

import sys

from benchmarks.harness import events, floors, ours, peers
from benchmarks.harness.bench import Bench, main
from benchmarks.harness.case import Case


def cases(fmt: str) -> list[Case]:
    return [
        ours.case("ours-eo", "stream-infer, exactly once", "eo", ours.linear, lean=True),
        ours.case("ours-alo", "stream-infer, at least once", "alo", ours.linear, lean=True),
        ours.case("ours-whole-eo", "stream-infer, whole predictions, exactly once", "eo", ours.linear),
        *peers.loops(fmt),
        *peers.frameworks(fmt),
        *floors.cases("transform", fmt),
    ]


BENCH = Bench("transform", "consume → score = x·w → produce", cases, events.scores, events.spec())

if __name__ == "__main__":
    sys.exit(main(BENCH))
