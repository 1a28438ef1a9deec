"""edge.predicted: one row in, as columns; one answer out. *predicted* → predicting, predicting_composed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_infer.edge.call_columns import column_of
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.records import Column, Text

_KINDS = {"number": "double", "one_hot": "string", "numbers": "string", "list": "array"}


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer. version: the digest of the model's weights, of a composed one a digest of those that it may ask; answer: the first output.

    Of composed models: the model whose answer it is, the members that it was made without, and how far it is to be trusted (None where no
    ensemble had a part in it).
    """

    model: str
    version: str
    answer: float
    outputs: tuple[float, ...]
    answered_by: str | None = None
    missing: tuple[str, ...] = ()
    confidence: float | None = None


def columns_of(row: Mapping[str, object], inputs: tuple[Input, ...], model: str) -> dict[str, Column]:
    """The inputs of a model as columns of one row."""
    return {entry.field: column(row, entry.field, model, _KINDS.get(entry.kind)) for entry in inputs}


def column(row: Mapping[str, object], name: str, model: str, kind: str | None = None) -> Column:
    """A field of the row as a column. kind: of Avro; None: as the value is. ModelError where it is not there, or of another kind."""
    if name not in row:
        raise ModelError(f"model {model}: the row has no field `{name}`\n    got:      {', '.join(sorted(row)) or 'nothing'}")
    value = row[name]
    if isinstance(value, bytes):
        return Text.of([value], is_bytes=True)
    guessed = "string" if isinstance(value, str) else "array" if isinstance(value, list | tuple) else "double"
    made, faults = column_of([value], name, kind or guessed)
    if faults:
        raise ModelError(f"model {model}: {faults[0].replace('the function gave', 'got')}")
    return made
