"""flow.saying: answers pass from one node of a graph to another, with all that hangs on them. choice → *saying* → composing, ensembling."""

from __future__ import annotations

import numpy as np

from stream_infer.decide.graph import Graph, Node
from stream_infer.flow.choice import Choice, Said
from stream_infer.records import Bools, Floats, Ints


def take_over(graph: Graph, choice: Choice, node: Node, part: str, rows: Bools) -> None:
    """In these rows, a model answers what another one says, and with that one's faults where it says nothing."""
    said, other = choice.said[node.key], choice.said[part]
    there = rows & other.answered()
    if other.outputs is not None and there.any():
        if said.outputs is None:
            said.outputs = np.full(other.outputs.shape, np.nan)
        there &= said.outputs.shape[1] == other.outputs.shape[1]  # a version that came later: check_fitting saw them alike
        if there.any():
            said.outputs[there] = other.outputs[there]
    by = np.full(len(rows), graph.nodes[part].number) if other.by is None else other.by
    said.by = np.where(there, by, np.full(len(rows), node.number) if said.by is None else said.by)
    if other.confidence is not None:
        said.confidence = np.where(there, other.confidence, or_blank(said.confidence, rows))
    if other.missing is not None:
        bits = or_none(said.missing, rows)
        said.missing = np.where(there, bits | other.missing, bits)
    for row in np.flatnonzero(rows & ~there).tolist():
        before, reason = said.faults.get(row), why(graph, choice, part, row)
        said.faults[row] = reason if before is None else f"{before}; {reason}"


def why(graph: Graph, choice: Choice, key: str, row: int) -> str:
    """Why a model has no answer for a row."""
    said = choice.said[key]
    known = said.faults.get(row)
    return known or f"model {graph.nodes[key].model}: {'it is stalled' if said.stalled else 'no answer in time'}"


def or_blank(confidence: Floats | None, rows: Bools) -> Floats:
    """float64[rows]: NaN where there is none."""
    return np.full(len(rows), np.nan) if confidence is None else confidence


def or_none(missing: Ints | None, rows: Bools) -> Ints:
    """int64[rows]: no bits where nobody is missing."""
    return np.zeros(len(rows), dtype=np.int64) if missing is None else missing


def trust(said: Said) -> Floats:
    """float64[rows]: the confidence of an answer; 1 where it has none, being a single model's."""
    return np.ones(len(said.need)) if said.confidence is None else np.where(np.isnan(said.confidence), 1.0, said.confidence)
