"""engine: what windows cost per event, without a broker: key lookup, reading 15 features, updating them; and their changelog.

    python -m benchmarks.engine [--rounds 5] [--out FILE]

Each event reads 15 features of its key (count, mean, std, min and max over one minute, ten minutes and an hour) and then updates them.
Time moves on by 1 ms per event; states are warm: four million events have gone through each. µs of CPU per event, medians of rounds in
which every case runs once. Beside it, a dict of deques in plain Python, event by event.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness.bench import RESULTS, machine
from stream_infer.features.keys import KeyTable
from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.features.windows import FeatureState
from stream_infer.records import Floats, Ints, Text

WIDTHS = (60_000, 600_000, 3_600_000)
SETTINGS = FeatureSettings(
    tuple(Aggregate(f"{kind}_{width}", kind, "v", width) for width in WIDTHS for kind in ("count", "mean", "std", "min", "max")),
    keys_max=2_000_000,
)
SIZES = (16, 64, 256, 1024, 4096)
CASES = {"100k keys, Zipf 1.1": (100_000, 1.1), "100k keys, uniform": (100_000, None), "1M keys, uniform": (1_000_000, None)}
WARM, PER_ROUND, DEQUE_ROWS = 4_000_000, 65_536, 20_000
# The loops over arrays that came before the compiled ones: best of 40 calls, by case and size, with the same settings.
NUMPY_US = {"100k keys, Zipf 1.1": (59.5, 18.1, 6.0, 3.6, 2.8), "100k keys, uniform": (54.6, 19.6, 7.1, 4.5, 4.0)}


class Feed:
    """Events of skewed or uniform keys, one batch after the other. Keys have 12 bytes and lie as a decoder leaves them."""

    def __init__(self, keys: int, skew: float | None) -> None:
        self.rng, self.keys, self.now = np.random.default_rng(1), keys, 1_700_000_000_000
        weights = np.arange(1, keys + 1, dtype=np.float64) ** -(skew or 0.0)
        self.mass = np.cumsum(weights) / weights.sum()
        self.names = np.frombuffer(b"".join(b"user%08d" % n for n in self.rng.permutation(keys).tolist()), dtype="S12")

    def all_keys(self) -> Text:
        return Text(self.names.view(np.uint8), np.arange(self.keys, dtype=np.int64) * 12, np.full(self.keys, 12, dtype=np.int64))

    def batch(self, size: int) -> tuple[Text, Ints, dict[str, Floats]]:
        names = self.names[np.searchsorted(self.mass, self.rng.random(size))]
        keys = Text(names.view(np.uint8), np.arange(size, dtype=np.int64) * 12, np.full(size, 12, dtype=np.int64))
        times = self.now + np.arange(size)
        self.now += size
        return keys, times, {"v": self.rng.normal(10, 3, size).round(2)}


class Case:
    """A warm state and its feed. spent: µs of CPU per event, by what was done."""

    def __init__(self, name: str, keys: int, skew: float | None) -> None:
        self.name, self.feed, self.state = name, Feed(keys, skew), FeatureState(SETTINGS)
        self.spent: dict[str, list[float]] = defaultdict(list)
        for _ in range(WARM // 16_384):
            self._apply(16_384)
        self.state.changes()
        self.table = KeyTable(24)
        self.table.slots(self.feed.all_keys(), insert=True)

    def _apply(self, size: int) -> float:
        keys, times, values = self.feed.batch(size)
        every = np.ones(size, dtype=np.bool_)
        return cpu(lambda: self.state.apply(keys, times, values, every, every))

    def _look_up(self, keys: list[Text]) -> float:
        return cpu(lambda: [self.table.slots(k) for k in keys])

    def round(self) -> None:
        for size in SIZES:
            calls = max(1, PER_ROUND // size)
            self.spent[f"apply {size}"].append(sum(self._apply(size) for _ in range(calls)) / calls / size * 1e6)
            keys = [self.feed.batch(size)[0] for _ in range(min(calls, 256))]
            spent = self._look_up(keys)
            self.spent[f"lookup {size}"].append(spent / len(keys) / size * 1e6)
        self.spent["deques"].append(deques(self.feed))

    def changelog(self) -> None:
        """What was touched by 50,000 events and more, and then everything: packed, read back."""
        written: list[tuple[Text, Text]] = []
        self._apply(50_000)
        spent = cpu(lambda: written.append(self.state.changes()))
        keys, values = written[0]
        self.spent["changes, per key"].append(spent / len(keys) * 1e6)
        self.spent["bytes of a record"].append(float(values.size.mean() + keys.size.mean()))
        arrays = self.state.snapshot()
        count = len(self.state)
        self.spent["snapshot, per key"].append(cpu(self.state.snapshot) / count * 1e6)
        fresh = FeatureState(SETTINGS)
        self.spent["load, per key"].append(cpu(lambda: fresh.load(arrays)) / count * 1e6)
        again = FeatureState(SETTINGS)
        self.spent["restore, per key"].append(cpu(lambda: again.restore(keys, values)) / len(keys) * 1e6)
        self.spent["bytes in memory, per key"] = [self.state.bytes_used() / count]


def cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def deques(feed: Feed) -> float:
    """The usual way: per key and window a deque of (time, value), aggregated anew for each event. µs of CPU per event, from cold."""
    kept: dict[bytes, list[deque[tuple[int, float]]]] = defaultdict(lambda: [deque() for _ in WIDTHS])
    texts, times, values = feed.batch(DEQUE_ROWS)
    keys = [key or b"" for key in texts.raw()]
    begin = time.process_time()
    for key, when, value in zip(keys, times.tolist(), values["v"].tolist(), strict=True):
        for window, width in zip(kept[key], WIDTHS, strict=True):
            while window and window[0][0] <= when - width:
                window.popleft()
            seen = [v for _, v in window]
            if seen:
                mean = sum(seen) / len(seen)
                _ = len(seen), mean, min(seen), max(seen), sum((v - mean) ** 2 for v in seen)
            window.append((when, value))
    return (time.process_time() - begin) / DEQUE_ROWS * 1e6


def main(rounds: int, out: Path) -> None:
    cases = [Case(name, *how) for name, how in CASES.items()]
    for _ in range(rounds):
        for case in cases:
            case.round()
            case.changelog()
    for case in cases:
        median = {what: statistics.median(spent) for what, spent in case.spent.items()}
        print(f"{case.name}: µs of CPU per event; a dict of deques takes {median.pop('deques'):.1f} from cold")
        for place, size in enumerate(SIZES):
            before = f", {NUMPY_US[case.name][place]:5.1f} as loops over arrays" if case.name in NUMPY_US else ""
            print(f"    n={size:<5} {median.pop(f'apply {size}'):6.2f}, of which the key {median.pop(f'lookup {size}'):5.2f}{before}")
        print("".join(f"    {what}: {value:.2f}\n" for what, value in median.items()), end="")
    result = {"machine": machine(), "rounds": {case.name: case.spent for case in cases}, "numpy_us": NUMPY_US, "sizes": SIZES}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    wanted = argparse.ArgumentParser(description="what windows cost per event")
    wanted.add_argument("--rounds", type=int, default=5)
    wanted.add_argument("--out", type=Path, default=RESULTS / "engine.json")
    arguments = wanted.parse_args()
    main(arguments.rounds, arguments.out)
