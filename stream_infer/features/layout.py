"""features.layout: what must be kept about a key so that every aggregate can be told. settings → *layout* → windows.

Aggregates that need the same thing share it: one running sum serves count, sum and mean of a field in every window. The
layout depends on the settings alone, never on history, for it is also the form of the changelog's values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.records import Floats, Ints

SUM_BOUND = 2.0**43  # of a scaled value in count, sum, mean: half a million rows of the largest still fit 2^62
SQUARE_BOUND = 2.0**31  # of a scaled value in std: its square fits 2^62


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
            return Window(None, 1, 0)
        if aggregate.shape == "tumbling":
            return Window(width, width, 0)
        hop = -(-width // aggregate.hops)
        return Window(width, hop, -(-width // hop))

    @property
    def cells(self) -> int:
        """Tiles in the ring."""
        return self.back + 1

    def tiles(self, times: Ints) -> Ints:
        """The number of the tile in which each time lies: floor(time / hop), tiles are aligned to 1970."""
        return np.zeros_like(times) if self.width_ms is None else times // self.hop_ms


@dataclass(frozen=True)
class Lane:
    """Running sums over rows. field None: the rows themselves, one column. Else columns n and s (count and fixed-point
    sum of the values), with squares also the upper and lower 31 bits of the squares. column: the first one in the block."""

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
    """A window and what is kept in it: columns of the block of sums, and of the extremes, each ascending."""

    window: Window
    sums: tuple[int, ...]
    extremes: tuple[int, ...]


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
    of its newest values); frames: per window; dtype: the state of one key; empty: the features of an unknown key."""

    def __init__(self, settings: FeatureSettings) -> None:
        parts = _Parts()
        for aggregate in settings.values:
            sums, extremes = parts.frames.setdefault(Window.of(aggregate), (set(), set()))
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
        self.outputs = tuple(self._outputs(settings, parts))
        self.columns = len(settings.columns())
        self.dtype = self._dtype()
        self.empty: Floats = np.full(self.columns, np.nan)
        for output in self.outputs:
            if output.aggregate.kind in ("count", "sum"):
                self.empty[output.column] = 0.0

    def blank(self, rows: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """State of keys of which nothing is known."""
        state = np.zeros(rows, dtype=self.dtype)
        for number, frame in enumerate(self.frames):
            if frame.extremes:
                state[f"extremes_{number}"] = -np.inf
        for number in range(len(self.lists)):
            state[f"values_{number}"] = np.nan
        return state

    def _dtype(self) -> np.dtype[np.void]:
        """One structure of 8-byte numbers: a key's state lies together in memory and is its changelog value as it is."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [("total", "<i8", (self.sum_columns,))]
        for number, frame in enumerate(self.frames):
            if frame.sums and frame.window.width_ms is not None:
                fields.append((f"sums_{number}", "<i8", (frame.window.cells, len(frame.sums))))
            if frame.extremes:
                fields.append((f"extremes_{number}", "<f8", (len(frame.extremes), frame.window.cells)))
        for number, (_, k) in enumerate(self.lists):
            fields += [(f"times_{number}", "<i8", (k,)), (f"values_{number}", "<f8", (k,))]
        return np.dtype(fields)

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
