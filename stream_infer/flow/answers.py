"""flow.answers: the fields of predictions as columns, each made only if someone asks for it. deciding → *answers* → emitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.block import Said
from stream_infer.decide.graph import Graph
from stream_infer.flow.choice import Choice
from stream_infer.records import Column, Floats, Ints, Lists, Numbers, Same, Text
from stream_infer.topology.plan import DecideStep

# The same in all rows of a chunk; propensities, unless a policy decides by segment.
SAID = ("stage", "propensities", "policy_version", "source_topic", "offsets", "cut")


class Answers:
    """Fields of the predictions of one decide step. A chunk is taken first, then its columns are asked for."""

    def __init__(self, step: DecideStep, graph: Graph) -> None:
        self._step, self._graph = step, graph
        self._models = _Words([node.model for node in graph.nodes.values()])
        self._stage, self._arms = _Words([step.name]), _Words(step.arms)
        self._topic, self._versions = _Words([]), _Words([])
        self._makers: dict[str, Callable[[], Column]] = {
            "prediction_id": lambda: self._choice.ids.take(self._rows),
            "event_time": lambda: Numbers(self._choice.flowing.times[self._rows]),
            "stage": lambda: self._stage.rows(None, self._count),
            "answer": lambda: self.first(self._choice).take(self._rows),
            "outputs": self._outputs,
            "model": lambda: self._arms.rows(self._arm, self._count),
            "model_version": self._version,
            "arm": lambda: self._arms.rows(self._arm, self._count),
            "propensity": lambda: Numbers(self._choice.propensity[self._rows]),
            "propensities": self._propensities,
            "policy_version": lambda: Numbers(np.full(self._count, self._choice.policy_version, dtype=np.int64)),
            "shadows": self._shadows,
            "source_topic": self._source,
            "source_partition": lambda: Numbers(self._choice.flowing.partition[self._rows].astype(np.int32)),
            "source_offset": lambda: Numbers(self._choice.flowing.offsets[self._rows]),
            "offsets": lambda: _same_list(self._offsets, self._count),
            "cut": lambda: Numbers(np.full(self._count, self._cut, dtype=np.int64)),
            "answered_by": self._answered_by,
            "missing": self._missing,
            "confidence": self._confidence,
        }
        self._values: dict[str, Callable[[], object]] = {  # None: they differ
            "stage": lambda: self._step.name,
            "model": self._one_arm,
            "model_version": lambda: None if self._one_arm() is None else self._choice.versions[self._step.arms[0]][1],
            "arm": self._one_arm,
            "propensities": lambda: self._choice.shares.tolist() if self._choice.segmented is None else None,
            "policy_version": lambda: self._choice.policy_version,
            "shadows": lambda: None if self._step.shadows else [],
            "source_topic": lambda: self._choice.flowing.topic,
            "offsets": lambda: [*self._offsets.tolist()],
            "cut": lambda: self._cut,
        }

    def take(self, choice: Choice, rows: Ints | slice, count: int, offsets: Ints, cut: int) -> None:
        """What column() is about from now on: `count` rows of a choice. offsets: where the chunk began; cut: its number."""
        self._choice, self._rows, self._count, self._offsets, self._cut = choice, rows, count, offsets, cut
        self._arm = choice.arm[rows] if len(self._step.arms) > 1 else None

    def field(self, name: str) -> Column | Same:
        """As column(); the one value where all rows have the same."""
        value = self._values[name]() if name in self._values else None
        return self.column(name) if value is None else Same(value, self._count)

    def column(self, name: str) -> Column:
        """A field of codec.internal.PREDICTION, of the rows taken last."""
        return self._makers[name]()

    def said(self) -> dict[str, Said]:
        """The fields that are the same in all rows, by the names in SAID."""
        choice = self._choice
        lists: dict[str, Said] = {"propensities": choice.shares.tolist(), "offsets": self._offsets.tolist()}
        topic = choice.flowing.topic
        return lists | {"stage": self._step.name, "policy_version": choice.policy_version, "source_topic": topic, "cut": self._cut}

    def first(self, choice: Choice) -> Numbers:
        """float64[rows]: the first output of the chosen model; NaN where it did not answer."""
        arms, outputs = self._step.arms, choice.outputs
        if len(arms) == 1 and arms[0] in outputs:
            return Numbers(np.ascontiguousarray(outputs[arms[0]][:, 0]))
        answer = np.full(len(choice), np.nan)
        for number, name in enumerate(arms):
            if name in outputs:
                mine = choice.arm == number
                answer[mine] = outputs[name][mine, 0]
        return Numbers(answer)

    def _one_arm(self) -> str | None:
        return self._step.arms[0] if self._arm is None else None

    def _outputs(self) -> Lists:
        """All outputs of the chosen model; models of one step may differ in how many they have."""
        choice, arms = self._choice, self._step.arms
        if len(arms) == 1 and arms[0] in choice.outputs:
            return Lists.of_matrix(choice.outputs[arms[0]][self._rows])
        width = np.array([choice.outputs[name].shape[1] if name in choice.outputs else 0 for name in arms], dtype=np.int64)
        table = np.full((len(choice), int(width.max(initial=0))), np.nan)
        for number, name in enumerate(arms):
            if name in choice.outputs:
                mine = choice.arm == number
                table[mine, : width[number]] = choice.outputs[name][mine]
        lists = Lists.of_matrix(table[self._rows])
        return Lists(lists.items, lists.start, width[choice.arm[self._rows]])

    def _propensities(self) -> Lists:
        segmented = self._choice.segmented
        if segmented is None:
            return _same_list(self._choice.shares, self._count)
        arms = segmented.shares.shape[1]
        group = segmented.group[self._rows]
        return Lists(segmented.shares.reshape(-1), group * arms, np.full(len(group), arms, dtype=np.int64))

    def _version(self) -> Text:
        digests = [self._choice.versions[name][1] for name in self._step.arms]
        if digests != self._versions.words:
            self._versions = _Words(digests)
        return self._versions.rows(self._arm, self._count)

    def _shadows(self) -> Lists:
        outputs, count = self._choice.outputs, self._count
        columns = [outputs[name][self._rows, 0] if name in outputs else np.full(count, np.nan) for name in self._step.shadows]
        return Lists.of_matrix(np.stack(columns, axis=1) if columns else np.zeros((count, 0)))

    def _of_arms(self, blank: Floats | Ints, of: Callable[[str], Floats | Ints | int | None]) -> Floats | Ints:
        """[rows taken]: what the arm of each row says; blank where it says None."""
        for number, name in enumerate(self._step.arms):
            value = of(name)
            if value is not None:
                mine = self._choice.arm == number
                blank[mine] = value if isinstance(value, int) else value[mine]
        return blank[self._rows]

    def _answered_by(self) -> Text:
        """The model whose answer it is, below arms that are composed."""

        def of(name: str) -> Ints | int:
            by = self._choice.said[name].by
            return self._graph.nodes[name].number if by is None else by

        return self._models.rows(self._of_arms(np.zeros(len(self._choice), dtype=np.int64), of).astype(np.int64), self._count)

    def _missing(self) -> Text:
        """The members that were left out, in the order of the topology; absent where nobody was."""
        bits = self._of_arms(np.zeros(len(self._choice), dtype=np.int64), lambda name: self._choice.said[name].missing).astype(np.int64)
        sets, place = np.unique(bits, return_inverse=True)
        names = [", ".join(name for name, bit in self._graph.bits.items() if bit & found) for found in sets.tolist()]
        text = Text.of(names).take(place.reshape(-1))
        return Text(text.blob, text.start, text.size, bits != 0)

    def _confidence(self) -> Numbers:
        """Absent where no ensemble had a part in the answer."""
        blank = np.full(len(self._choice), np.nan)
        value = self._of_arms(blank, lambda name: self._choice.said[name].confidence).astype(np.float64)
        return Numbers(np.nan_to_num(value), ~np.isnan(value))

    def _source(self) -> Text:
        if [self._choice.flowing.topic] != self._topic.words:
            self._topic = _Words([self._choice.flowing.topic])
        return self._topic.rows(None, self._count)


class _Words:
    """A few texts, stored once."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self._text = list(words), Text.of(words)

    def rows(self, index: Ints | None, count: int) -> Text:
        """Text[count]: row i is words[index[i]]; the first word throughout where there is no index."""
        if index is None:
            return Text(self._text.blob, np.zeros(count, dtype=np.int64), np.full(count, self._text.size[0]))
        return self._text.take(index)


def _same_list(values: Floats | Ints, rows: int) -> Lists:
    """Lists[rows], every row the same list, stored once."""
    items: NDArray[np.generic] = values
    return Lists(items, np.zeros(rows, dtype=np.int64), np.full(rows, len(items), dtype=np.int64))
