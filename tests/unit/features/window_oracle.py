"""The oracle of windows: one row after the other, plain lists and exact fractions, nothing shared with the code under test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from stream_infer.features.settings import Aggregate, FeatureSettings


@dataclass
class Life:
    """What is known about a key: all its updates as (time, order, values), and per window the tiles still in the ring."""

    newest: int | None = None
    turn: int = 0
    updates: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    rings: dict[tuple[object, ...], dict[int, list[dict[str, float]]]] = field(default_factory=dict)


def tiling(a: Aggregate) -> tuple[int, int]:
    assert a.window_ms is not None
    if a.shape == "tumbling":
        return a.window_ms, 0
    hop = math.ceil(Fraction(a.window_ms, a.hops))
    return hop, math.ceil(Fraction(a.window_ms, hop))


class Oracle:
    def __init__(self, settings: FeatureSettings, sweep_rows: int) -> None:
        self.settings, self.sweep_rows = settings, sweep_rows
        self.windows = list(dict.fromkeys((a.window_ms, *tiling(a)) for a in settings.values if a.window_ms is not None))
        self.lives: dict[bytes, Life] = {}
        self.turns = self.late = self.clipped = self.evicted = 0
        self.clock: int | None = None
        self.swept_at: int | None = None

    def row(self, key: bytes | None, time: int, values: dict[str, float], updates: bool, reads: bool) -> list[float] | None:
        answer = self.read(key, time) if reads else None
        if updates:
            self.turns += 1
            self.clock = time if self.clock is None else max(self.clock, time)
            if key is not None:
                self.update(key, time, values)
            if self.turns % self.sweep_rows == 0:
                self.sweep()
        return answer

    def update(self, key: bytes, time: int, values: dict[str, float]) -> None:
        life = self.lives.setdefault(key, Life())
        idle = self.settings.idle_ms
        if idle is not None and life.newest is not None and time - life.newest > idle:
            life = self.lives[key] = Life()
        life.newest = time if life.newest is None else max(life.newest, time)
        life.turn = self.turns
        life.updates.append((time, len(life.updates), values))
        for window in self.windows:
            _, hop, back = window
            ring = life.rings.setdefault(window, {})
            oldest = life.newest // hop - back
            if time // hop < oldest:
                self.late += 1
            else:
                ring.setdefault(time // hop, []).append(values)
            for tile in [tile for tile in ring if tile < oldest]:
                del ring[tile]
        self.clipped += len(clips(self.settings, values))

    def sweep(self) -> None:
        idle, most = self.settings.idle_ms, self.settings.keys_max
        if idle is not None and self.clock is not None and (self.swept_at is None or self.clock - self.swept_at > idle // 8):
            self.swept_at = self.clock
            self.evict([key for key, life in self.lives.items() if life.newest is not None and life.newest < self.clock - idle])
        if len(self.lives) > most:
            oldest = sorted(self.lives, key=lambda key: self.lives[key].turn)
            self.evict(oldest[: len(self.lives) - (most - most // 16)])

    def evict(self, keys: list[bytes]) -> None:
        self.evicted += len(keys)
        for key in keys:
            del self.lives[key]

    def read(self, key: bytes | None, time: int) -> list[float]:
        life = Life() if key is None else self.lives.get(key, Life())
        if life.newest is not None and self.settings.idle_ms is not None and time - life.newest > self.settings.idle_ms:
            life = Life()
        return [number for a in self.settings.values for number in self.aggregate(a, life, time)]

    def aggregate(self, a: Aggregate, life: Life, time: int) -> list[float]:
        if a.kind in ("last", "last_k"):
            return self.newest_values(a, life, time)
        if a.kind == "since_last":
            if life.newest is None or not self.inside(a, life, life.newest, time):
                return [math.nan]
            return [max(time - life.newest, 0) / 1000]
        if a.window_ms is None:
            rows = [values for _, _, values in life.updates]
        else:
            hop, back = tiling(a)
            ring = life.rings.get((a.window_ms, hop, back), {})
            rows = [values for tile, kept in ring.items() if time // hop - back <= tile <= time // hop for values in kept]
        if a.kind == "count":
            return [float(len(rows))]
        assert a.field is not None
        return [number_of(a, [values[a.field] for values in rows])]

    def inside(self, a: Aggregate, life: Life, when: int, time: int) -> bool:
        if a.window_ms is None:
            return True
        assert life.newest is not None
        hop, back = tiling(a)
        return max(time // hop, life.newest // hop) - back <= when // hop <= time // hop

    def newest_values(self, a: Aggregate, life: Life, time: int) -> list[float]:
        assert a.field is not None
        known = sorted(
            ((when, order, values[a.field]) for when, order, values in life.updates if values[a.field] == values[a.field]), key=_when
        )
        width = a.k if a.kind == "last_k" else 1
        found = [value for when, _, value in known[::-1][:width] if self.inside(a, life, when, time)]
        return found + [math.nan] * (width - len(found))


def number_of(a: Aggregate, values: list[float]) -> float:
    if a.kind in ("min", "max"):
        finite = [value for value in values if math.isfinite(value)]
        return math.nan if not finite else min(finite) if a.kind == "min" else max(finite)
    fixed = [n for n in (fixed_point(a, value) for value in values) if n is not None]
    scale = 10**a.decimals
    if a.kind == "sum":
        return float(Fraction(sum(fixed), scale))
    if a.kind == "mean":
        return float(Fraction(sum(fixed), scale * len(fixed))) if fixed else math.nan
    if len(fixed) < 2:
        return math.nan
    middle = Fraction(sum(fixed), len(fixed))
    variance = sum((n - middle) ** 2 for n in fixed) / (len(fixed) - 1)
    return math.sqrt(variance / scale**2)


def fixed_point(a: Aggregate, value: float) -> int | None:
    scaled = value * 10.0**a.decimals
    if not math.isfinite(scaled):
        return None
    n = round(scaled)
    return n if abs(n) < (2**31 if a.kind == "std" else 2**43) else None


def clips(settings: FeatureSettings, values: dict[str, float]) -> set[tuple[object, ...]]:
    """What a row's values would have gone into but did not, for they were not NaN and yet unusable."""
    out: set[tuple[object, ...]] = set()
    for a in settings.values:
        if a.field is None or values[a.field] != values[a.field]:
            continue
        if a.kind in ("sum", "mean", "std") and fixed_point(a, values[a.field]) is None:
            out.add((a.field, a.decimals, a.kind == "std"))
        if a.kind in ("min", "max") and math.isinf(values[a.field]):
            out.add((a.field, a.kind))
    return out


def _when(entry: tuple[int, int, float]) -> tuple[int, int]:
    return entry[:2]
