"""topology.hop_schema: the Avro schema of rows that go on under another key. placement → *hop_schema* → build."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

AT_MS = "_at_ms"  # when the row happened, or was due, in ms of event time
ORDER_MS = "_order_ms"  # where it stood among all rows: a late row went on after younger ones, and stays behind them
OWN_FIELDS: tuple[tuple[str, str], ...] = (
    (AT_MS, "long"),
    (ORDER_MS, "long"),
    ("_topic", "string"),  # where the row was read first: a prediction points there
    ("_partition", "long"),
    ("_offset", "long"),
)


def hop_schema(schema: str, name: str, added: Mapping[str, str]) -> str:
    """The text of the schema: fields of the first stream as they are, columns that stages added, and our own fields.

    schema: text of the first stream's schema; name: of the internal topic; added: columns with their Avro kinds, each of which may be null.
    """
    record = json.loads(schema)
    fields = list(record["fields"])
    # A second hop starts at the first stream's schema again, so our fields are never there twice.
    fields += [{"name": column, "type": made_type(kind), "default": None} for column, kind in added.items()]
    fields += [{"name": field, "type": kind} for field, kind in OWN_FIELDS]
    return json.dumps({**{key: value for key, value in record.items() if key != "aliases"}, "name": avro_name(name), "fields": fields})


def made_type(kind: str) -> list[object]:
    """The Avro type of a column that a stage made: of this kind, or null."""
    return ["null", {"type": "array", "items": "double"} if kind == "array" else kind]


def avro_name(topic: str) -> str:
    """A topic's name as an Avro name: letters, digits and _."""
    return re.sub(r"[^A-Za-z0-9_]", "_", topic)
