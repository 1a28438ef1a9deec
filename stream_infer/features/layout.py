"""features.layout: what must be kept about a key so that every aggregate can be told. settings → *layout* → engine, packing.

Aggregates that need the same thing share it: one running sum serves count, sum and mean of a field in every window. The
layout depends on the settings alone, never on history, for it is also the form of the changelog's values.

A key has one row of 8-byte numbers: what features.keys keeps of it, then its totals, then of each frame where its tiles lie and
the extremes over all of them, then the newest values. Its tiles themselves lie in blocks of the rings (see features.engine).
`plan` says all of this to the kernels, as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_infer.features import words as w
from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.hashing import hash64_bytes
from stream_infer.records import Floats, Ints

SUM_BOUND = 2.0**43  # of a scaled value in count, sum, mean: half a million rows of the largest still fit 2^62
SQUARE_BOUND = 2.0**31  # of a scaled value in std: its square fits 2^62
CELLS_MAX = 1 << 20  # tiles of one window
_KINDS = {
    "count": w.IS_COUNT,
    "sum": w.IS_SUM,
    "mean": w.IS_MEAN,
    "std": w.IS_STD,
    "min": w.IS_EXTREME,
    "max": w.IS_EXTREME,
    "last": w.IS_NEWEST,
    "last_k": w.IS_NEWEST,
    "since_last": w.IS_SINCE,
}


@dataclass(frozen=True)
class Window:
    """A stretch of event time that ends with a row, in tiles of hop_ms. width_ms None: all time, one tile.

    Sliding: the row's tile and `back` tiles before it, back = width / hop rounded up. Tumbling: the row's tile alone.
    A key keeps the newest back + 1 tiles in a ring.
    """

    width_ms: int | None
    hop_ms: int
    back: int

    @staticmethod
    def of(aggregate: Aggregate) -> Window:
        """The window of an aggregate; hop = width / hops rounded up to whole ms, so the window is never too short."""
        width = aggregate.window_ms
        if width is None:
            return Window(None, 0, 0)
        if aggregate.shape == "tumbling":
            return Window(width, width, 0)
        hop = -(-width // aggregate.hops)
        return Window(width, hop, -(-width // hop))

    @property
    def cells(self) -> int:
        """Tiles in the ring, at most."""
        return self.back + 1


@dataclass(frozen=True)
class Lane:
    """Running sums over rows. field None: the rows themselves, one column. Else columns n and s (count and fixed-point
    sum of the values), with squares also the upper and lower 31 bits of the squares. column: the first one of the sums."""

    field: str | None
    decimals: int
    squares: bool
    column: int

    @property
    def width(self) -> int:
        """Columns of this lane."""
        return 1 if self.field is None else 4 if self.squares else 2


@dataclass(frozen=True)
class Frame:
    """A window and what is kept in it: columns of the sums, and of the extremes, each ascending."""

    window: Window
    sums: tuple[int, ...]
    extremes: tuple[int, ...]

    @property
    def tile_words(self) -> int:
        """Numbers per tile: its number, the totals before it, its extremes. 0 without a ring."""
        has_ring = self.window.width_ms is not None and (self.sums or self.extremes)
        return 1 + len(self.sums) + len(self.extremes) if has_ring else 0


@dataclass(frozen=True)
class Output:
    """An aggregate, the index of its frame, its lane or place (in the frame, or in the lists), its first output column."""

    aggregate: Aggregate
    frame: int
    place: int
    column: int


@dataclass
class _Parts:
    lanes: dict[tuple[str | None, int, bool], Lane] = field(default_factory=dict)
    extremes: list[tuple[str, int]] = field(default_factory=list)
    lists: dict[str, int] = field(default_factory=dict)
    frames: dict[Window, tuple[set[int], set[int]]] = field(default_factory=dict)
    decimals: dict[str, int] = field(default_factory=dict)  # by field, the most that any aggregate of it has
    width: int = 0

    def lane(self, aggregate: Aggregate) -> Lane:
        kept = None if aggregate.kind == "count" else aggregate.field
        key = (kept, 0 if kept is None else aggregate.decimals, aggregate.kind == "std")
        if key not in self.lanes:
            self.lanes[key] = Lane(*key, column=self.width)
            self.width += self.lanes[key].width
        return self.lanes[key]

    def extreme(self, aggregate: Aggregate) -> int:
        key = (_field(aggregate), 1 if aggregate.kind == "max" else -1)
        if key not in self.extremes:
            self.extremes.append(key)
        return self.extremes.index(key)


class Layout:
    """lanes: what is summed, sum_columns wide in all; extremes: (field, 1 for max or -1 for min); lists: (field, how many
    of its newest values); frames: per window; empty: the features of an unknown key.

    For kernels: plan: int64[rows, ENTRY], see features.words; picks: int64, columns of sums and extremes by frame; like: int64, of
    each sum and then of each pick the one before it (in the frame) that mostly has the same value, or -1; scales: float64, by place
    what values are multiplied by to become whole, and the bound of what may be summed then. state_words: numbers in a row behind
    those of features.keys; form: 24 bits that tell layouts apart.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        parts = _Parts()
        for aggregate in settings.values:
            sums, extremes = parts.frames.setdefault(Window.of(aggregate), (set(), set()))
            if aggregate.field is not None:
                parts.decimals[aggregate.field] = max(parts.decimals.get(aggregate.field, 0), aggregate.decimals)
            if aggregate.kind in ("count", "sum", "mean", "std"):
                lane = parts.lane(aggregate)
                sums.update(range(lane.column, lane.column + lane.width))
            elif aggregate.kind in ("min", "max"):
                extremes.add(parts.extreme(aggregate))
            elif aggregate.kind != "since_last":
                name = _field(aggregate)
                parts.lists[name] = max(parts.lists.get(name, 0), aggregate.k if aggregate.kind == "last_k" else 1)
        self.lanes = tuple(parts.lanes.values())
        self.sum_columns = parts.width
        self.extremes = tuple(parts.extremes)
        self.lists = tuple(parts.lists.items())
        self.frames = tuple(Frame(window, tuple(sorted(s)), tuple(sorted(e))) for window, (s, e) in parts.frames.items())
        assert all(frame.window.cells <= CELLS_MAX for frame in self.frames), f"a window has more than {CELLS_MAX} tiles"
        self.outputs = tuple(self._outputs(settings, parts))
        self.columns = len(settings.columns())
        self.empty: Floats = np.full(self.columns, np.nan)
        for output in self.outputs:
            if output.aggregate.kind in ("count", "sum"):
                self.empty[output.column] = 0.0
        self.form = hash64_bytes(repr((self.lanes, self.extremes, self.lists, self.frames)).encode()) & 0xFFFFFF
        self._plan(settings, parts.decimals)

    @property
    def ring_words(self) -> int:
        """The numbers in the rings of a key all of whose tiles are there."""
        return sum(frame.window.cells * frame.tile_words for frame in self.frames)

    def _plan(self, settings: FeatureSettings, decimals: dict[str, int]) -> None:
        fields, at = settings.fields(), w.ROW + self.sum_columns
        picks: list[int] = []
        frames: list[list[int]] = []
        outputs: list[list[int]] = []
        scales = {(d, square): place for place, (d, square) in enumerate(sorted({(lane.decimals, lane.squares) for lane in self.lanes}))}
        for name in sorted(decimals):
            scales.setdefault((decimals[name], False), len(scales))
        for number, frame in enumerate(self.frames):
            first, window = len(outputs), frame.window
            outputs += [self._output_row(output, scales) for output in self.outputs if output.frame == number]
            sums_at, extremes_at = len(picks), len(picks) + len(frame.sums)
            picks += [*frame.sums, *frame.extremes]
            sizes = (len(frame.sums), sums_at, len(frame.extremes), extremes_at)
            frames.append([window.hop_ms, window.back, window.cells, frame.tile_words, at, *sizes, first, len(outputs)])
            at += 3 + len(frame.extremes)
        lanes = [
            [-1 if lane.field is None else fields.index(lane.field), lane.squares, lane.column, scales[lane.decimals, lane.squares]]
            for lane in self.lanes
        ]
        extremes = [[fields.index(name), sign, scales[decimals[name], False]] for name, sign in self.extremes]
        lists = []
        for name, k in self.lists:
            lists.append([fields.index(name), k, at, scales[decimals[name], False]])
            at += 1 + 2 * k
        self.state_words = at - w.ROW
        parts, begin, head = [frames, lanes, extremes, lists, outputs], 1, []
        for part in parts[:4]:
            head += [begin, len(part)]
            begin += len(part)
        for entry in frames:
            entry[w.OUTPUTS_FROM] += begin
            entry[w.OUTPUTS_TO] += begin
        idle = -1 if settings.idle_ms is None else settings.idle_ms
        longest = max([1, *(frame.window.cells for frame in self.frames), *(k for _, k in self.lists)])
        columns = 8 + self.sum_columns + sum(3 + frame.tile_words + len(frame.extremes) for frame in self.frames) + 3 * len(self.lists)
        head += [self.sum_columns, -(-at // 8) * 8, idle, self.ring_words, self.columns, longest, columns * (1 + 8 * longest)]
        self.plan: Ints = np.zeros((begin + len(outputs), w.ENTRY), dtype=np.int64)
        for row, entry in enumerate([head, *(entry for part in parts for entry in part)]):
            self.plan[row, : len(entry)] = entry
        self.picks: Ints = np.array([*picks, 0], dtype=np.int64)
        self.scales: Floats = np.array([x for d, square in scales for x in (10.0**d, SQUARE_BOUND if square else SUM_BOUND)] or [1.0])
        self.like: Ints = np.array(self._alike(), dtype=np.int64)

    def _alike(self) -> list[int]:
        """Rows, and counts and sums of one field, are mostly the same number in several lanes: none is absent or too large."""
        like = [-1] * self.sum_columns
        sums: dict[tuple[str, int], int] = {}
        counted = -1
        for lane in self.lanes:
            like[lane.column] = counted
            counted = lane.column
            if lane.field is not None:
                like[lane.column + 1] = sums.get((lane.field, lane.decimals), -1)
                sums[lane.field, lane.decimals] = lane.column + 1
        picked = []
        for frame in self.frames:
            for place, column in enumerate(frame.sums):
                # What it is like may not be kept in this frame, but something that that is like in turn.
                while column >= 0 and like[column] not in frame.sums[:place]:
                    column = like[column]
                picked.append(frame.sums.index(like[column]) if column >= 0 else -1)
            picked += [-1] * len(frame.extremes)
        return [*like, *picked, -1]

    def _output_row(self, output: Output, scales: dict[tuple[int, bool], int]) -> list[int]:
        aggregate = output.aggregate
        summed = aggregate.kind in ("sum", "mean", "std")
        scale = scales[aggregate.decimals, aggregate.kind == "std"] if summed else 0
        return [_KINDS[aggregate.kind], output.place, output.column, len(aggregate.columns()), scale]

    def _outputs(self, settings: FeatureSettings, parts: _Parts) -> list[Output]:
        windows = list(parts.frames)
        outputs, column = [], 0
        for aggregate in settings.values:
            frame = windows.index(Window.of(aggregate))
            place = 0
            if aggregate.kind in ("count", "sum", "mean", "std"):
                place = self.frames[frame].sums.index(parts.lane(aggregate).column)
            elif aggregate.kind in ("min", "max"):
                place = self.frames[frame].extremes.index(parts.extreme(aggregate))
            elif aggregate.kind != "since_last":
                place = list(parts.lists).index(_field(aggregate))
            outputs.append(Output(aggregate, frame, place, column))
            column += len(aggregate.columns())
        return outputs


def _field(aggregate: Aggregate) -> str:
    assert aggregate.field is not None, f"aggregate {aggregate.name} of kind {aggregate.kind} needs a field"
    return aggregate.field
