"""Windows: microseconds per event, ours against a dict of deques. Run: python -m benchmarks.windows [keys]

Each event reads 15 features of its key (count, mean, std, min and max over one minute, ten minutes and an hour) and then
updates them. The state is warm; time moves on by 1 ms per event. Best of several rounds, for the machine is shared.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque

import numpy as np

from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.features.windows import FeatureState
from stream_infer.records import Floats, Ints, Text

WIDTHS = (60_000, 600_000, 3_600_000)
SETTINGS = FeatureSettings(
    tuple(Aggregate(f"{kind}_{width}", kind, "v", width) for width in WIDTHS for kind in ("count", "mean", "std", "min", "max"))
)


def keys_of(number: Ints) -> Text:
    """Keys of 12 bytes, laid out as a decoder leaves them: one block, spans into it."""
    blob = np.frombuffer(b"".join(b"user%08d" % n for n in number.tolist()), dtype=np.uint8)
    size = np.full(len(number), 12, dtype=np.int64)
    return Text(blob, np.arange(len(number), dtype=np.int64) * 12, size)


class Feed:
    """Events of skewed or uniform keys, one batch after the other."""

    def __init__(self, keys: int, skew: float | None, step_ms: int, late: float = 0.0) -> None:
        self.rng = np.random.default_rng(1)
        self.keys, self.skew, self.step_ms, self.late = keys, skew, step_ms, late
        self.now = 1_700_000_000_000

    def batch(self, size: int) -> tuple[Ints, Ints, Floats]:
        rng = self.rng
        number = rng.integers(0, self.keys, size) if self.skew is None else np.minimum(rng.zipf(self.skew, size) - 1, self.keys - 1)
        times = self.now + np.arange(size) * self.step_ms
        self.now += size * self.step_ms
        if self.late:
            times = times - np.where(rng.random(size) < self.late, rng.integers(0, 30_000, size), 0)
        return number, times, rng.normal(10, 3, size).round(2)


def ours(feed: Feed, size: int, rounds: int) -> tuple[float, float, float]:
    state = FeatureState(SETTINGS)
    for begin in range(0, feed.keys, 4096):
        number = np.arange(begin, min(begin + 4096, feed.keys))
        _run(state, number, np.full(len(number), feed.now), np.ones(len(number)))
    spent = []
    for _ in range(rounds):
        number, times, values = feed.batch(size)
        spent.append(_run(state, number, times, values))
    return min(spent) / size * 1e6, float(np.median(spent)) / size * 1e6, state.bytes_used() / len(state)


def _run(state: FeatureState, number: Ints, times: Ints, values: Floats) -> float:
    keys, every = keys_of(number), np.ones(len(number), dtype=np.bool_)
    begin = time.perf_counter()
    state.apply(keys, times, {"v": values}, every, every)
    return time.perf_counter() - begin


def deques(feed: Feed, rows: int) -> float:
    """The usual way: per key and window a deque of (time, value), aggregated anew for each event."""
    kept: dict[int, list[deque[tuple[int, float]]]] = defaultdict(lambda: [deque() for _ in WIDTHS])
    number, times, values = feed.batch(rows)
    begin = time.perf_counter()
    for key, when, value in zip(number.tolist(), times.tolist(), values.tolist(), strict=True):
        for window, width in zip(kept[key], WIDTHS, strict=True):
            while window and window[0][0] <= when - width:
                window.popleft()
            seen = [v for _, v in window]
            if seen:
                mean = sum(seen) / len(seen)
                _ = len(seen), mean, min(seen), max(seen), sum((v - mean) ** 2 for v in seen)
            window.append((when, value))
    return (time.perf_counter() - begin) / rows * 1e6


def main(keys: int) -> None:
    cases = {
        "uniform, 1 ms apart": (None, 1, 0.0),
        "skewed (zipf 1.2), 1 ms apart": (1.2, 1, 0.0),
        "skewed, 1 % up to 30 s late": (1.2, 1, 0.01),
        "catch-up: uniform, 1 min apart": (None, 60_000, 0.0),
        "catch-up: skewed, 1 min apart": (1.2, 60_000, 0.0),
    }
    for name, (skew, step_ms, late) in cases.items():
        print(name)
        for size in (1, 16, 64, 256, 1024, 4096):
            best, median, held = ours(Feed(keys, skew, step_ms, late), size, 60 if size < 4096 else 25)
            print(f"    n={size:<5} {best:8.2f} us/event best {median:8.2f} median, {held:.0f} bytes a key")
        print(f"    deques  {deques(Feed(keys, skew, step_ms, late), 20_000):8.2f} us/event")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
