"""support_flights: what the flights topology must answer with, found the slow way: every feature of one flight from the whole history.

Nothing here is shared with the product but the events themselves. A feature is a filter over all rows of its stream, followed
by a sum; windows are cut as the topology's reference says: the tail moves in steps of a twelfth of the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.tables import Table

LEAD_MS = 1_800_000
HOPS = 12
HOUR_S = 3600
DAY_S = 86_400

# feature: (kept stream, key, aggregate, field, window in seconds or None for the key's whole life)
WINDOWS: dict[str, tuple[str, str, str, str, int | None]] = {
    "origin_delay_mean_1h": ("departed", "origin", "mean", "dep_delay_min", HOUR_S),
    "origin_delay_std_1h": ("departed", "origin", "std", "dep_delay_min", HOUR_S),
    "origin_departures_1h": ("departed", "origin", "count", "dep_delay_min", HOUR_S),
    "origin_delay_mean_24h": ("departed", "origin", "mean", "dep_delay_min", DAY_S),
    "dest_delay_mean_2h": ("departed", "dest", "mean", "dep_delay_min", 2 * HOUR_S),
    "dest_delay_mean_24h": ("departed", "dest", "mean", "dep_delay_min", DAY_S),
    "carrier_delay_mean_2h": ("departed", "carrier", "mean", "dep_delay_min", 2 * HOUR_S),
    "dest_arrival_mean_24h": ("arrived", "dest", "mean", "arr_delay_min", DAY_S),
    "number_arrival_mean_28d": ("arrived", "flight_code", "mean", "arr_delay_min", 28 * DAY_S),
    "tail_delay_last_min": ("arrived", "tail_num", "last", "arr_delay_min", None),
    "tail_delay_mean_12h": ("arrived", "tail_num", "mean", "arr_delay_min", 12 * HOUR_S),
}
# feature: (table, key, its value where the table has none)
LOOKUPS: dict[str, tuple[str, str, float]] = {
    "visibility_mi": ("weather", "origin", 10.0),
    "pressure_mb": ("weather", "origin", 1018.0),
    "wind_mph": ("weather", "origin", 10.0),
    "precip_in": ("weather", "origin", 0.0),
    "plane_year": ("planes", "tail_num", math.nan),
}


@dataclass(frozen=True)
class History:
    """The events as plain arrays. times: ms, by stream; texts and numbers: by (stream, column); absent texts are "", absent numbers NaN."""

    times: dict[str, NDArray[np.int64]]
    texts: dict[tuple[str, str], NDArray[np.str_]]
    numbers: dict[tuple[str, str], NDArray[np.float64]]

    @staticmethod
    def of(tables: Mapping[str, Table]) -> History:
        """tables: of loadgen.flights.tables()."""
        keys = _kept_keys()
        keys |= {("scheduled", key) for _, key in keys} | {("scheduled", "flight_id"), ("arrived", "flight_id")}
        fields = {(stream, field) for stream, _, _, field, _ in WINDOWS.values()} | {(table, name) for name, (table, *_) in LOOKUPS.items()}
        fields |= {("scheduled", "departs_at_ms"), ("arrived", "arr_delay_min")}
        texts = {place: np.array([value or "" for value in tables[place[0]].columns[place[1]].to_list()]) for place in sorted(keys)}
        numbers = {place: np.array(tables[place[0]].columns[place[1]].to_list(), dtype=np.float64) for place in sorted(fields)}
        return History({name: table.event_time for name, table in tables.items()}, texts, numbers)

    def flight(self, flight_id: str) -> int:
        """The row of a flight in `scheduled`."""
        return int(np.flatnonzero(self.texts["scheduled", "flight_id"] == flight_id)[0])

    def decided_at(self, row: int) -> int:
        """The instant (ms) at which the flight of that row is answered."""
        return int(self.numbers["scheduled", "departs_at_ms"][row]) - LEAD_MS

    def arr_delay_min(self, flight_id: str) -> float | None:
        """The truth, None where it never came."""
        rows = np.flatnonzero(self.texts["arrived", "flight_id"] == flight_id)
        return float(self.numbers["arrived", "arr_delay_min"][rows[0]]) if len(rows) else None


def features(history: History, flight_id: str) -> dict[str, float]:
    """Every window and lookup feature of one flight at its decision; NaN where there is none.

    Rows of the very instant of the decision count: where times are equal, streams that are kept come before those that ask.
    """
    row = history.flight(flight_id)
    found = {name: _window(history, row, *setting) for name, setting in WINDOWS.items()}
    return found | {name: _lookup(history, row, name, *setting) for name, setting in LOOKUPS.items()}


def _kept_keys() -> set[tuple[str, str]]:
    """Every (stream, key) that a feature reads."""
    return {(stream, key) for stream, key, *_ in WINDOWS.values()} | {(table, key) for table, key, _ in LOOKUPS.values()}


def _rows(history: History, row: int, stream: str, key: str, begin_ms: float) -> NDArray[np.bool_]:
    wanted = history.texts["scheduled", key][row]
    times = history.times[stream]
    of_key: NDArray[np.bool_] = (history.texts[stream, key] == wanted) & (wanted != "")
    return of_key & (times >= begin_ms) & (times <= history.decided_at(row))


def _window(history: History, row: int, stream: str, key: str, aggregate: str, field: str, window_s: int | None) -> float:
    now = history.decided_at(row)
    step_ms = (window_s or 0) * 1000 // HOPS
    begin_ms = -math.inf if window_s is None else now // step_ms * step_ms - window_s * 1000
    values = history.numbers[stream, field][_rows(history, row, stream, key, begin_ms)].tolist()
    if aggregate == "count":
        return float(len(values))
    if not values:
        return math.nan
    if aggregate == "last":
        return float(values[-1])
    mean = math.fsum(values) / len(values)
    if aggregate == "mean":
        return mean
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)) if len(values) > 1 else math.nan


def _lookup(history: History, row: int, field: str, table: str, key: str, default: float) -> float:
    known = np.flatnonzero(_rows(history, row, table, key, -math.inf))
    value = history.numbers[table, field][known[-1]] if len(known) else math.nan
    return default if math.isnan(value) else float(value)
