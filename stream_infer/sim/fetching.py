"""sim.fetching: the places a simulated consumer reads from. log, broker → *fetching* → transport."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Fetched
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.groups import Partition
from stream_infer.sim.log import OffsetGone, Record, fetched


@dataclass(slots=True)
class _Place:
    offset: int  # next to give
    end: int = -1  # what the broker was known to hold at the last fetch


class Places:
    """Partitions and where each is read. header_topics: topics whose records are given with their headers."""

    def __init__(self, broker: SimBroker, header_topics: frozenset[str]) -> None:
        self._broker = broker
        self._header_topics = header_topics
        self._places: dict[Partition, _Place] = {}
        self._paused: dict[Partition, None] = {}

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._places

    def put(self, partition: Partition, offset: int) -> None:
        """Read this partition from offset on."""
        self._places[partition] = _Place(offset)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Stop reading these."""
        for partition in partitions:
            self._places.pop(partition, None)
            self._paused.pop(partition, None)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Give nothing of these until resume()."""
        self._paused |= dict.fromkeys(p for p in partitions if p in self._places)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Undo pause()."""
        for partition in partitions:
            self._paused.pop(partition, None)

    def at_end(self, partition: Partition) -> bool:
        """True when all that the broker held at the last fetch has been given."""
        place = self._places[partition]
        return 0 <= place.end <= place.offset

    def lag(self, partition: Partition) -> int:
        """Records from where it is read to the high watermark; 0 for what is not read."""
        place = self._places.get(partition)
        return 0 if place is None else max(self._broker.log(partition).high - place.offset, 0)

    def take(self, rows_max: int) -> list[Fetched]:
        """At most rows_max records; with slow fetches in another order, fewer, or none yet."""
        given = []
        order = list(self._places)
        if order and self._broker.slow_fetch_share > 0:
            turn = self._broker.draw(len(order))
            order = order[turn:] + order[:turn]
        for partition in order:
            if partition in self._paused or rows_max <= 0:
                continue
            rows = self._broker.draw(min(rows_max, 8) + 1) if self._broker.is_slow() else rows_max
            if rows == 0:
                continue  # its answer is still on the way
            place = self._places[partition]
            records, place.offset = fetch(self._broker, partition, place.offset, rows)
            place.end = self._broker.log(partition).stable
            if records:
                given.append(fetched(*partition, records, with_headers=partition[0] in self._header_topics))
                rows_max -= len(records)
        return given


def fetch(broker: SimBroker, partition: Partition, offset: int, rows_max: int) -> tuple[list[Record], int]:
    """Committed records from offset on, and the offset to go on from. EnvironmentMissing when the log does not hold offset."""
    log = broker.log(partition)
    try:
        return log.fetch(offset, rows_max)
    except OffsetGone:
        raise EnvironmentMissing(
            f"{partition[0]}[{partition[1]}]@{offset}: the broker does not hold this offset",
            got=f"offsets {log.start} to {log.high}",
            expected="every record since the committed offset: nothing is skipped silently",
            fix="was retention shorter than the outage? the topic made anew? reset the group's offsets on purpose",
        ) from None
