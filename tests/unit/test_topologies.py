"""Every topology that is shipped is sound, and its own tests hold; those of the flights in tests/broker/test_flights.py, with models."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.cli import main

FOLDER = Path(__file__).parents[2] / "topologies"
SHIPPED = sorted(path for path in FOLDER.glob("*/*.yaml") if path.parent.name != "bad" and path.name != "load.yaml")
NEEDS_TRAINING = {"flights.yaml"}
ADMITTED = {"rules.yaml": ["--admit", "topologies.rules.order_rules"]}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_is_sound(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["check", str(path)]), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.name not in NEEDS_TRAINING], ids=lambda path: path.stem)
def test_its_own_tests_hold(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["test", str(path), *ADMITTED.get(path.name, [])])
    out = capsys.readouterr().out
    assert code == 0, out
    assert ": ok" in out
