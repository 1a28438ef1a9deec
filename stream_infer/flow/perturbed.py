"""flow.perturbed: rows of which some inputs are the baseline's, for a graph of models. choice → *perturbed* → perturbing.

An *input* of a composed model is whatever one of its models reads of the row, once for all of them: `amount` is one, whoever reads it,
and so are all columns of a text. What models say to each other is no input: it follows from the inputs. Inputs are replaced where a model
reads them, in its matrix, so that a row of which nothing is replaced is asked to the last bit as it was answered.

A route asks about the row itself. Where the column that it compares is an input too (a number, or a text read by one_hot) it sees the
replaced value; otherwise the row's own, so that each perturbed row goes the way of its row. The baseline of a text is the value that has
the largest number in `baseline`, and absent where none has one: then no comparison holds of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_infer.attribution.settings import AttributionSettings
from stream_infer.decide.composed import Composed, Route
from stream_infer.decide.graph import Graph
from stream_infer.features.settings import Input
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.choice import Choice
from stream_infer.flow.enrich import Flowing
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Bools, Column, Floats, Ints, Matrix, Numbers, Text, concat_columns


@dataclass(slots=True)
class Originals:
    """Rows to be explained, as they were answered. matrices: by model, what it reads of them; columns: what routes and costs ask."""

    matrices: dict[str, Matrix]
    times: Ints
    columns: dict[str, Column]


@dataclass(slots=True, kw_only=True)
class Perturbed(Choice):
    """Perturbed rows while they are being answered. owner: of each, the place of its original; masks: bool[rows, inputs], True: its own.

    failed: by original, the first of its rows that a model failed on: (row, number of the node, why).
    """

    originals: Originals
    owner: Ints
    masks: Bools
    failed: dict[int, tuple[int, int, str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Reader:
    """How one model reads rows. own: its inputs from the row; others: those from models; places, reads: their columns in its matrix.

    inputs: of each own column, the number of the input; baseline: float32[own columns].
    """

    own: Vectoriser
    others: Vectoriser
    places: Ints
    reads: Ints
    inputs: Ints
    baseline: Matrix


class Perturbing:
    """The inputs of one composed arm."""

    def __init__(
        self, arm: str, models: Mapping[str, ModelSettings], composed: Mapping[str, Composed], settings: AttributionSettings
    ) -> None:
        self.graph = Graph.of((arm,), models, composed)
        self._given = {} if isinstance(settings.baseline, str) else dict(settings.baseline)
        self._columns: dict[tuple[str, str], list[tuple[str, int, str]]] = {}  # by input: model, its own column, and that one's name
        self._readers = {name: self._reader(name, models[name].inputs) for name in self.graph.leaves}
        self.count = len(self._columns)
        routes = [node.composed for node in self.graph.nodes.values() if isinstance(node.composed, Route)]
        fields = [where.field for made in routes for where, _ in made.cases]
        costs = [cost for name in self.graph.leaves if (cost := models[name].batch.cost) is not None]
        self._asked = list(dict.fromkeys([*fields, *costs]))
        numbers = {key: number for number, key in enumerate(self._columns)}
        seen = {name: numbers.get(("number", name), numbers.get(("one_hot", name))) for name in fields}
        self._replaced = {name: number for name, number in seen.items() if number is not None}

    def _reader(self, model: str, inputs: tuple[Input, ...]) -> _Reader:
        own = Vectoriser(tuple(entry for entry in inputs if entry.kind != "output"))
        others = Vectoriser(tuple(entry for entry in inputs if entry.kind == "output"))
        keys = [_key(entry, column) for entry in own.inputs for column in entry.columns()]
        for place, (key, name) in enumerate(zip(keys, own.columns, strict=True)):
            self._columns.setdefault(key, []).append((model, place, name))
        numbers = {key: number for number, key in enumerate(self._columns)}
        is_other = np.array([entry.kind == "output" for entry in inputs for _ in entry.columns()], dtype=np.bool_)
        return _Reader(
            own,
            others,
            np.flatnonzero(~is_other),
            np.flatnonzero(is_other),
            np.array([numbers[key] for key in keys], dtype=np.int64),
            np.array([self._given.get(name, 0.0) for name in own.columns], dtype=np.float32),
        )

    def originals(self, choice: Choice, rows: Ints) -> Originals:
        """These rows of a choice."""
        columns = {name: column.take(rows) for name, column in choice.flowing.columns.items()}
        matrices = {name: reader.own.matrix(columns) for name, reader in self._readers.items()}
        return Originals(matrices, choice.flowing.times[rows], {name: columns[name] for name in self._asked})

    def rows(self, originals: Originals, owner: Ints, masks: Bools, versions: dict[str, tuple[int, str]]) -> Perturbed:
        """A choice of perturbed rows, of which nobody has been asked yet."""
        count = len(owner)
        zeros = np.zeros(count, dtype=np.int64)
        columns = {name: self._column(name, column, owner, masks) for name, column in originals.columns.items()}
        flowing = Flowing("", zeros, zeros, originals.times[owner], zeros, zeros, columns)
        ones = np.ones(count)
        return Perturbed(
            flowing, Text.of([]), zeros, ones, ones[:1], 0, versions, columns=columns, originals=originals, owner=owner, masks=masks
        )

    def _column(self, name: str, column: Column, owner: Ints, masks: Bools) -> Column:
        """What a route or a cost sees of a column."""
        number = self._replaced.get(name)
        if number is None:
            return column.take(owner)
        own = masks[:, number]
        if isinstance(column, Numbers):
            return Numbers(np.where(own, column.floats()[owner], self._given.get(name, 0.0)))
        assert isinstance(column, Text), "an input of another kind is not replaced where a route asks"
        both = concat_columns([column, Text.of([self._text(name)], is_bytes=column.is_bytes)])
        return both.take(np.where(own, owner, len(column)))

    def _text(self, name: str) -> str | None:
        """The baseline of a text."""
        marked = {key[len(name) + 1 :]: value for key, value in self._given.items() if key.startswith(f"{name}=") and value > 0.0}
        return max(marked, key=marked.__getitem__) if marked else None

    def matrix(self, choice: Perturbed, model: str) -> Matrix:
        """float32[rows, columns of the model]: what it reads of perturbed rows, and of what others have said of them."""
        reader = self._readers[model]
        own = np.where(choice.masks[:, reader.inputs], choice.originals.matrices[model][choice.owner], reader.baseline)
        if not len(reader.reads):
            return np.ascontiguousarray(own, dtype=np.float32)
        out = np.empty((len(own), len(reader.places) + len(reader.reads)), dtype=np.float32)
        out[:, reader.places] = own
        out[:, reader.reads] = reader.others.matrix(choice.columns)
        return out

    def told(self, originals: Originals, place: int) -> tuple[list[str], Floats]:
        """Names and values of the inputs of a row: of a text, the column that is marked, or the field and 0; if absent, `NAME?` and 1."""
        names, values = [], []
        for (kind, name), columns in self._columns.items():
            found = [(column, float(originals.matrices[model][place, at])) for model, at, column in columns]
            if kind == "one_hot":
                told = next(((column, 1.0) for column, value in found if value), (name, 0.0))
            else:
                told = next(((name, value) for _, value in found if np.isfinite(value)), (f"{name}?", 1.0))
            names.append(told[0])
            values.append(told[1])
        return names, np.array(values)


def _key(entry: Input, column: str) -> tuple[str, str]:
    """What one column of a model's inputs is a part of, whichever model reads it."""
    return ("one_hot", entry.field) if entry.kind == "one_hot" else ("number" if entry.kind == "number" else "", column)


def is_made_of_others(name: str, models: Mapping[str, ModelSettings], composed: Mapping[str, Composed]) -> bool:
    """Whether an arm asks other models, or reads what they say."""
    return name in composed or any(entry.kind == "output" for entry in models[name].inputs)
