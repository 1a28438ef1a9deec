"""feedback.early: feedback whose decision has not come yet. rows → *early* → join.

Uncommon, hence row by row: the join only looks here for ids that have just been decided.
"""

from __future__ import annotations

from collections import OrderedDict

from stream_infer.feedback.rows import Rows


class Early:
    """Rows kept in the order in which they expire; each is a Rows of one."""

    def __init__(self, early_ms_max: int) -> None:
        self.early_ms_max = early_ms_max
        # An OrderedDict and not a dict: taking from the front of a dict again and again searches through what was deleted.
        self._rows: OrderedDict[int, Rows] = OrderedDict()
        self._sequences: dict[bytes, list[int]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def keep(self, rows: Rows) -> None:
        """rows: by order key, none before what is kept already."""
        for place, sequence in enumerate(rows.fixed["sequence"].tolist()):
            self._rows[sequence] = row = rows.take(slice(place, place + 1))
            self._sequences.setdefault(row.ids[0], []).append(sequence)

    def take(self, ids: list[bytes]) -> list[Rows]:
        """The rows for these ids; they are kept no longer."""
        return [self._rows.pop(sequence) for key in ids for sequence in self._sequences.pop(key, ())]

    def expired(self, upto: int) -> list[Rows]:
        """The rows that no decision can want any more when everything up to `upto` has been seen; they are kept no longer."""
        out: list[Rows] = []
        while self._rows:
            sequence, row = next(iter(self._rows.items()))
            if int(row.fixed["order_key"][0]) + self.early_ms_max > upto:
                break
            del self._rows[sequence]
            of_id = self._sequences[row.ids[0]]
            of_id.remove(sequence)
            if not of_id:
                del self._sequences[row.ids[0]]
            out.append(row)
        return out

    def rows(self) -> list[Rows]:
        """All, in the order in which they expire."""
        return list(self._rows.values())
