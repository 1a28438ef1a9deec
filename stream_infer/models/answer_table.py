"""models.answer_table: answers that were given, by the very bytes that were asked. *answer_table* → edge.answer_cache.

A hash only says where to look; a row is the same when its bytes are, so no answer ever goes to another row, by chance or by design.
A table has a fixed number of places in sets of WAYS; within a set the place that was not asked for longest goes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.jit import jit
from stream_infer.records import Bools, Floats, Hashes, Ints, Matrix

WAYS = 8
OVERHEAD_BYTES = 8 + 3 * 8  # of a place beside its row and its answer
Words = NDArray[np.uint32]
_STIR, _FIRST, _SECOND = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
VERSION, AT, TOUCHED = range(3)  # columns of facts


@dataclass(frozen=True)
class CacheSettings:
    """How many answers of a model are kept, and for how long of event time (None: until others take their place)."""

    rows_max: int
    ttl_ms: int | None = None

    def bytes_used(self, columns: int, outputs: int) -> int:
        """What a full table takes."""
        return self.rows_max * (4 * columns + 8 * outputs + OVERHEAD_BYTES)


@jit
def _hashes(words: Words, version: np.uint64, out: Hashes) -> None:
    """A hash per row, never 0."""
    for i in range(len(words)):
        total = version * _STIR + np.uint64(len(words[i]))
        for word in words[i]:
            total = (total ^ np.uint64(word)) * _FIRST
            total ^= total >> np.uint64(29)
        total = (total ^ (total >> np.uint64(32))) * _SECOND
        out[i] = (total ^ (total >> np.uint64(29))) | np.uint64(1)


@jit
def _same(one: Words, row: int, other: Words, place: int) -> bool:
    column = 0
    while column < one.shape[1] and one[row, column] == other[place, column]:
        column += 1
    same: bool = column == one.shape[1]
    return same


@jit
def _find(
    words: Words,
    hashes: Hashes,
    version: int,
    at_least: int,
    turn: int,
    tags: Hashes,
    facts: Ints,
    rows: Words,
    answers: Floats,
    hit: Bools,
    out: Floats,
) -> None:
    """hit[i]: row i was answered by `version` at event time at_least or later; its answer is in out[i]."""
    sets = np.uint64(len(tags) // WAYS)
    for i in range(len(words)):
        first = int(np.int64(hashes[i] % sets)) * WAYS
        for place in range(first, first + WAYS):
            if tags[place] != hashes[i] or facts[place, VERSION] != version or facts[place, AT] < at_least:
                continue
            if _same(words, i, rows, place):
                facts[place, TOUCHED] = turn
                hit[i] = True
                out[i] = answers[place]
                break


@jit
def _put(
    words: Words, hashes: Hashes, version: int, at: int, turn: int, given: Floats, tags: Hashes, facts: Ints, rows: Words, answers: Floats
) -> None:
    sets = np.uint64(len(tags) // WAYS)
    for i in range(len(words)):
        if not np.isfinite(given[i]).all():
            continue
        first = int(np.int64(hashes[i] % sets)) * WAYS
        chosen = first
        for place in range(first, first + WAYS):
            if tags[place] == hashes[i] and facts[place, VERSION] == version and _same(words, i, rows, place):
                chosen = place
                break
            if facts[place, TOUCHED] < facts[chosen, TOUCHED]:
                chosen = place
        tags[chosen] = hashes[i]
        facts[chosen, VERSION], facts[chosen, AT], facts[chosen, TOUCHED] = version, at, turn
        rows[chosen] = words[i]
        answers[chosen] = given[i]


@jit
def _distinct(words: Words, hashes: Hashes, table: Ints, first: Ints) -> int:
    """first[i]: the number, among the distinct rows in order, of the row that row i equals. table: -1 throughout, a power of two long."""
    mask, count = len(table) - 1, 0
    for i in range(len(words)):
        place = np.int64(hashes[i] & np.uint64(mask))
        while table[place] >= 0 and not (hashes[table[place]] == hashes[i] and _same(words, i, words, table[place])):
            place = np.int64((place + 1) & mask)
        if table[place] < 0:
            table[place] = i
            first[i] = count
            count += 1
        else:
            first[i] = first[table[place]]
    return count


def distinct(matrix: Matrix) -> tuple[Ints, Ints]:
    """(places of the distinct rows in order, which of them each row is). matrix: float32[n, columns], rows compared byte by byte."""
    words = np.ascontiguousarray(matrix).view(np.uint32)
    hashes, first = np.empty(len(words), dtype=np.uint64), np.empty(len(words), dtype=np.int64)
    _hashes(words, np.uint64(0), hashes)
    count = _distinct(words, hashes, np.full(1 << max(2 * len(words), 2).bit_length(), -1, dtype=np.int64), first)
    places = np.empty(count, dtype=np.int64)
    places[first[::-1]] = np.arange(len(words))[::-1]  # the first of equal rows is written last
    return places, first


class AnswerTable:
    """Answers of one model. Memory is taken with the first answer."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._places = max(settings.rows_max // WAYS, 1) * WAYS
        self._turn = 0
        self._tags: Hashes = np.zeros(0, dtype=np.uint64)

    def find(self, version: int, matrix: Matrix, at_ms: int) -> tuple[Bools, Floats]:
        """bool[n]: rows whose answer by this version is known and fresh at event time at_ms; float64[n, outputs]: theirs, else NaN."""
        hit = np.zeros(len(matrix), dtype=np.bool_)
        if not len(self._tags) or matrix.shape[1] != self._rows.shape[1]:
            return hit, np.empty((len(matrix), 0))
        out = np.full((len(matrix), self._answers.shape[1]), np.nan)
        self._turn += 1
        ttl = self._settings.ttl_ms
        at_least = -(1 << 62) if ttl is None else at_ms - ttl
        words, hashes = self._hashed(version, matrix)
        _find(words, hashes, version, at_least, self._turn, self._tags, self._facts, self._rows, self._answers, hit, out)
        return hit, out

    def put(self, version: int, matrix: Matrix, outputs: Floats, at_ms: int) -> None:
        """Keep answers as of event time at_ms; those that are not finite are not kept. A model's answers must not change their width."""
        if not len(self._tags):
            self._tags = np.zeros(self._places, dtype=np.uint64)
            self._facts: Ints = np.zeros((self._places, 3), dtype=np.int64)
            self._rows: Words = np.zeros((self._places, matrix.shape[1]), dtype=np.uint32)
            self._answers: Floats = np.zeros((self._places, outputs.shape[1]))
        if (matrix.shape[1], outputs.shape[1]) != (self._rows.shape[1], self._answers.shape[1]):
            return
        self._turn += 1
        words, hashes = self._hashed(version, matrix)
        given = np.ascontiguousarray(outputs, dtype=np.float64)
        _put(words, hashes, version, at_ms, self._turn, given, self._tags, self._facts, self._rows, self._answers)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._tags))

    def _hashed(self, version: int, matrix: Matrix) -> tuple[Words, Hashes]:
        words = np.ascontiguousarray(matrix).view(np.uint32)
        hashes = np.empty(len(words), dtype=np.uint64)
        _hashes(words, np.uint64(version), hashes)
        return words, hashes
