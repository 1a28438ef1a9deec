"""The good topologies of this folder, and how the tests read them."""

from __future__ import annotations

from pathlib import Path

from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan

GOOD = Path(__file__).parent / "good"
NAMES = ("flights", "functions", "local", "minimal", "repartition", "wide")


def text_of(name: str) -> str:
    return (GOOD / f"{name}.yaml").read_text()


def files(relative: str) -> str | None:
    path = GOOD / relative
    return path.read_text() if path.is_file() else None


def plan_of(name: str, *changes: tuple[str, str]) -> Plan:
    """The plan of a good topology, after replacing texts that must be there."""
    text = text_of(name)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return load(text, f"{name}.yaml", files)
