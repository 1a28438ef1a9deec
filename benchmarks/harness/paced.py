"""paced: events sent on a schedule by a process of its own; prints as JSON how it was kept. loadgen.openloop → *paced* → latency.

python -m benchmarks.harness.paced BOOTSTRAP TOPIC '{"rate": 5000, "count": 100000, "number": 0, "begin_us": …, "format": "avro", …}'
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

from benchmarks.harness import events
from loadgen.openloop import schedule, send_on_schedule
from stream_infer.records import Ints

AHEAD_US_MIN = 100_000


def made(given: dict[str, Any]) -> tuple[events.Events, Ints]:
    """The events of one phase, and when each is due. given: rate (0: all at once), count, number, begin_us, seed."""
    due_us = schedule(given["rate"] or 1e12, given["count"], given["begin_us"])
    return events.events(given["count"], seed=given["seed"]).due(due_us, given["number"]), due_us


def main() -> None:
    bootstrap, topic, text = sys.argv[1:]
    given = json.loads(text)
    of, due_us = made(given)
    write = events.avro if given["format"] == "avro" else events.json_texts
    keys, values, places = events.keys(of).tolist(), write(of, 0, len(of)), of.partition(given["partitions"]).tolist()
    late = time.time_ns() // 1000 + AHEAD_US_MIN > given["begin_us"]
    kept = send_on_schedule(bootstrap, topic, keys, values, due_us, places)
    print(json.dumps(dataclasses.asdict(kept) | {"valid": kept.valid and not late, "late_start": late}))


if __name__ == "__main__":
    main()
