"""codec.rows: records as they were read → good rows in columns, and back. framing, avro_*, json_codec → *rows* → flow.

Step 2 of an event's life. Whatever a record holds, it ends in exactly one of three lists: rows, tombstones, rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.avro_encode import AvroEncoder
from stream_infer.codec.framing import FRAMINGS, Framed, headers_of, prefix_of, split_headers, split_prefix
from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.json_encode import JsonEncoder
from stream_infer.codec.resolution import constant
from stream_infer.codec.schema import RecordSchema, schema_error
from stream_infer.records import Column, Fetched, Ints, Rejected, Same, Text, concat_columns

FORMATS = ("avro", "json", "faust")  # faust: JSON too, once its keys are unwrapped (codec.faust_table)
_BARE = -1  # the id of the only writer, where records name none
_NO_ROWS: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Decoded:
    """rows: int64[m], places of the good rows in what was fetched, ascending; columns: of these m rows, by reader field.

    tombstones: int64[k], places of the null values; rejected: places and reasons of all others, ascending.
    """

    rows: Ints
    columns: dict[str, Column]
    tombstones: Ints
    rejected: Rejected


class RowDecoder:
    """Reads records of one topic. writers: every schema that may have written them, by the id that records carry.

    The reader's own id is always known. With framing `bare` the one writer is meant, or the reader itself when none is given. For JSON
    the ids are checked alike, but the reader alone says what the columns are. Raises SchemaError when the reader cannot read a writer.
    """

    def __init__(self, reader: RecordSchema, format: str, framing: str, writers: Mapping[int, RecordSchema], record_bytes_max: int) -> None:  # noqa: A002
        _check(format, framing)
        if framing == "bare" and len(writers) > 1:
            got = ", ".join(str(one) for one in sorted(writers))
            raise schema_error(
                "", f"schema {reader.name}: bare records cannot tell their writers apart", got=got, expected="one writer", fix="frame them"
            )
        self._reader = reader
        self._framing = framing
        self._bytes_max = record_bytes_max
        known = {reader.schema_id: reader, **writers}
        if framing == "bare":
            known = {_BARE: next(iter(writers.values()), reader)}
        self._guids = {schema.guid: one for one, schema in known.items()}
        common = JsonDecoder(reader)
        self._decoders: dict[int, AvroDecoder | JsonDecoder] = {
            one: AvroDecoder(schema, reader) if format == "avro" else common for one, schema in sorted(known.items())
        }

    def decode(self, fetched: Fetched) -> Decoded:
        """Splits what was fetched into good rows, tombstones and rejected rows."""
        values = fetched.values
        reasons: dict[int, str] = {}
        if values.valid is None and len(values) and values.size.min() > 0 and values.size.max() <= self._bytes_max:
            places, tombstones = np.arange(len(values)), _NO_ROWS  # as nearly always
        else:
            places, tombstones = self._usable(values, reasons)
            values = values.take(places)
        framed = self._framed(values, fetched.headers, places)
        for row, reason in zip(framed.rejected.index, framed.rejected.reason, strict=True):
            reasons[int(places[row])] = reason
        rows, columns = self._grouped(framed, places, reasons)
        rejected = Rejected()
        for row in sorted(reasons):
            rejected.add(row, reasons[row])
        return Decoded(rows, columns, tombstones, rejected)

    def _usable(self, values: Text, reasons: dict[int, str]) -> tuple[Ints, Ints]:
        """Places of the values that may be decoded, and of those that are null."""
        none = np.zeros(len(values), dtype=np.bool_) if values.valid is None else ~values.valid
        usable = ~none & (values.size > 0) & (values.size <= self._bytes_max)
        for row in np.flatnonzero(~usable & ~none).tolist():
            size = int(values.size[row])
            reasons[row] = f"{size} bytes, the limit is {self._bytes_max}" if size else "the value is empty"
        return np.flatnonzero(usable), np.flatnonzero(none)

    def _framed(self, values: Text, headers: list[list[tuple[str, bytes]]] | None, places: Ints) -> Framed:
        if self._framing == "confluent":
            return split_prefix(values)
        if self._framing == "header":
            return split_headers(values, None if headers is None else [headers[row] for row in places.tolist()], self._guids)
        return Framed(np.full(len(values), _BARE, dtype=np.int64), values, Rejected())

    def _grouped(self, framed: Framed, places: Ints, reasons: dict[int, str]) -> tuple[Ints, dict[str, Column]]:
        """Decodes each writer's rows together, then puts all rows back into log order."""
        parts: list[tuple[Ints, dict[str, Column]]] = []
        ids = framed.ids
        alike = len(ids) > 0 and bool((ids == ids[0]).all())
        for one in ids[:1].tolist() if alike else np.unique(ids).tolist():
            if one < 0 and self._framing != "bare":
                continue  # rejected already
            members = np.arange(len(ids)) if alike else np.flatnonzero(ids == one)
            decoder = self._decoders.get(one)
            if decoder is None:
                reasons.update(dict.fromkeys(places[members].tolist(), f"schema id {one} is not known"))
                continue
            bodies = framed.bodies if len(members) == len(places) else framed.bodies.take(members)
            columns, rejected = decoder.decode(bodies)
            if rejected:
                for row, reason in zip(rejected.index, rejected.reason, strict=True):
                    reasons[int(places[members[row]])] = reason
                good = np.delete(np.arange(len(members)), rejected.index)
                columns = {name: column.take(good) for name, column in columns.items()}
                members = members[good]
            parts.append((places[members], columns))
        if not parts:
            return np.zeros(0, dtype=np.int64), {field.name: constant(field, 0) for field in self._reader.fields}
        if len(parts) == 1:
            return parts[0]
        rows = np.concatenate([part[0] for part in parts])
        order = np.argsort(rows)
        return rows[order], {name: concat_columns([part[1][name] for part in parts]).take(order) for name in parts[0][1]}


class RowEncoder:
    """Writes columns as records of one schema. headers: what each record carries beside its value (framing `header`)."""

    def __init__(self, schema: RecordSchema, format: str, framing: str) -> None:  # noqa: A002
        _check(format, framing)
        self._encoder = AvroEncoder(schema) if format == "avro" else JsonEncoder(schema)
        self._prefix = prefix_of(schema, framing)
        self.headers = headers_of(schema, framing)

    def refused(self, columns: Mapping[str, Column]) -> Rejected:
        """The rows that the format cannot hold (JSON: NaN or infinity where null is not allowed); Avro holds all."""
        return self._encoder.refused(columns) if isinstance(self._encoder, JsonEncoder) else Rejected()

    def encode(self, columns: Mapping[str, Column | Same]) -> Text:
        """columns: by field name, n rows each; → n records, framed. ValueError names a column of the wrong kind or length."""
        if isinstance(self._encoder, AvroEncoder):
            return self._encoder.encode(columns, self._prefix)
        spread = {name: column.spread() if isinstance(column, Same) else column for name, column in columns.items()}
        return self._encoder.encode(spread, self._prefix)


def _check(format: str, framing: str) -> None:  # noqa: A002
    if format not in FORMATS:
        raise schema_error("", "unknown format", got=format, expected=" or ".join(FORMATS), fix="correct the stream's format")
    if framing not in FRAMINGS:
        raise schema_error("", "unknown framing", got=framing, expected=" or ".join(FRAMINGS), fix="correct the stream's framing")
