from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.__main__ import main
from loadgen.send import Report
from loadgen.wiring import read_wires

TOPOLOGY = Path("topologies/flights/flights.yaml")


def test_the_streams_of_the_flights_topology_have_their_topics() -> None:
    wires = read_wires(TOPOLOGY)
    assert {name: (wire.topic, wire.partitions, wire.compacted) for name, wire in wires.items()} == {
        "scheduled": ("flights-scheduled", 4, False),
        "departed": ("flights-departed", 4, False),
        "arrived": ("flights-arrived", 4, False),
        "weather": ("flights-weather", 4, True),
        "planes": ("flights-planes", 1, True),
    }


def test_a_topology_without_the_streams_is_told_before_a_broker_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["payments", "--bootstrap", "nowhere.invalid:1", "--topology", str(TOPOLOGY), "--rate", "1", "--duration-s", "1"]) == 69
    assert "has no streams for these events" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--speed-up", "0"], ["--speed-up", "-1"], ["--flat-out", "--speed-up", "2"], ["--from", "July"]])
def test_senseless_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["flights", "--bootstrap", "nowhere.invalid:1", *arguments])
    assert refused.value.code == 2


def test_the_report_says_when_the_rate_was_not_kept() -> None:
    assert str(Report(1_000, 0, 0.5)) == "1,000 records in 0.50 s: 2,000/s, 0 lost"
    assert str(Report(1_000, 2, 0.5, behind_s_max=1.26)).endswith("2 lost; could not keep the rate: up to 1.3 s behind")
