"""loadgen.wiring: where the events of a stream go, as its topology file says. topology.yaml → *wiring* → send.

Only the `streams` section is read, without the checks of `stream-infer check`: a producer must not depend on its consumer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Wire:
    """One stream's topic and form. schema: text of its Avro schema; format: avro | json; framing: confluent | header | bare.

    event_time, key, id: fields of the schema ("": none is named); a stream without an id has None.
    """

    stream: str
    topic: str
    schema: str
    partitions: int
    format: str = "avro"
    framing: str = "confluent"
    compacted: bool = False
    event_time: str = ""
    key: str = ""
    id: str | None = None


def read_wires(topology: Path) -> dict[str, Wire]:
    """The streams of a topology file that have a schema, by name. Errors: OSError, KeyError and such for a file that `check` refuses."""
    streams: dict[str, dict[str, Any]] = yaml.safe_load(topology.read_text())["streams"]
    return {name: _wire(name, stream, topology.parent) for name, stream in streams.items() if "schema" in stream}


def _wire(name: str, stream: dict[str, Any], folder: Path) -> Wire:
    return Wire(
        stream=name,
        topic=stream["topic"],
        schema=(folder / stream["schema"]).read_text(),
        partitions=stream["partitions"],
        format=stream.get("format", "avro"),
        framing=stream.get("framing", "confluent"),
        compacted=stream.get("compacted", False),
        event_time=stream.get("event_time", ""),
        key=stream.get("key", ""),
        id=stream.get("id"),
    )
