"""Windows by key: count, sum, mean, min, max over a minute, ten minutes and an hour, one answer per event, state that survives a restart.

    python -m benchmarks.windows --cases ours-eo,quix-state-eo --n 300000

100,000 keys by Zipf's law (1.1), a hundred events a second of event time. Every case is held to the numbers of a slow walk over the
same events: tumbling windows with the event itself, or, as ours reads them, before it; our sliding rows to sliding ones.
"""

from __future__ import annotations

import sys

from benchmarks.harness import events, floors, ours, peers, window_oracle
from benchmarks.harness.bench import Bench, main
from benchmarks.harness.case import Case


def cases(fmt: str) -> list[Case]:
    return [
        ours.case("ours-eo", "stream-infer, tumbling windows, exactly once", "eo", ours.windowed("tumbling")),
        ours.case("ours-alo", "stream-infer, tumbling windows, at least once", "alo", ours.windowed("tumbling")),
        ours.case("ours-sliding-eo", "stream-infer, sliding windows, exactly once", "eo", ours.windowed("sliding")),
        *peers.windows(fmt),
        *floors.cases("windows", fmt),
    ]


BENCH = Bench(
    "windows",
    "3 windows with 5 numbers each by key → score → produce",
    cases,
    window_oracle.scores,
    events.spec(windows=True),
    formats=("avro",),
    given={"keys": 100_000, "zipf": 1.1, "per_second": 100.0},
)

if __name__ == "__main__":
    sys.exit(main(BENCH))
