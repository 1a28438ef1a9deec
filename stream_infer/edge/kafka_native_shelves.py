"""kafka native shelves: messages that were taken before they are wanted. kafka_native_kernels → *kafka_native_shelves* → inbox.

A fetch brings a megabyte of each partition in turn, so a read of a backlog would be a little of every one, and each task's part has its
price: 0.3 to 1 ms, however few its rows. From shelves a read is of one partition for as long as it has rows, then of the next. Equal
partitions of several topics are one task's, so they stand together, in the order in which they came.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection

from stream_infer.edge import kafka_native_kernels as kernels
from stream_infer.flow.transport import Partition
from stream_infer.records import Ints


class Shelves:
    """Places of librdkafka's messages, errors among them; whoever takes one destroys it, and drop() those that are still here.

    name_of: the name of a topic by its handle; destroy: the place of what ends a message.
    """

    def __init__(self, name_of: Callable[[int], bytes], destroy: int) -> None:
        self._name_of, self._destroy = name_of, destroy
        self._shelves: dict[int, list[tuple[Partition, Ints]]] = {}  # by number of partition; the first is the next to be taken from
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count(self, skipped: Collection[Partition]) -> int:
        """Messages of other partitions than these."""
        if not (skipped and self._count):
            return self._count
        return sum(len(messages) for shelf in self._shelves.values() for partition, messages in shelf if partition not in skipped)

    def put(self, messages: Ints) -> None:
        """Messages in the order in which they came; they are copied."""
        if not len(messages):
            return
        kept = messages.copy()
        begins = kernels.runs(kept)
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(kept)], strict=True):
            partition = partition_of(int(kept[begin]), self._name_of)
            self._shelves.setdefault(partition[1], []).append((partition, kept[begin:end]))
        self._count += len(kept)

    def take(self, out: Ints, most: int, skipped: Collection[Partition]) -> int:
        """Fill `out` with at most so many messages, none of the skipped partitions; gives their number."""
        count = 0
        for number in list(self._shelves):
            left = []
            for partition, messages in self._shelves.pop(number):
                took = 0 if partition in skipped else min(len(messages), most - count)
                out[count : count + took] = messages[:took]
                count += took
                if took < len(messages):
                    left.append((partition, messages[took:]))
            if left:
                self._shelves[number] = left  # behind the others: those come first the next time
            if count == most:
                break
        self._count -= count
        return count

    def drop(self, partitions: Collection[Partition] | None = None) -> None:
        """Let go of what is here of these, or of all."""
        for number, shelf in list(self._shelves.items()):
            left = []
            for partition, messages in shelf:
                if partitions is None or partition in partitions:
                    kernels.let_go(messages, self._destroy)
                    self._count -= len(messages)
                else:
                    left.append((partition, messages))
            if left:
                self._shelves[number] = left
            else:
                del self._shelves[number]


def partition_of(message: int, name_of: Callable[[int], bytes]) -> Partition:
    """Whose a message is, by its place. name_of: as of Shelves."""
    topic = name_of(ctypes.c_int64.from_address(message + kernels.RKT).value)
    return topic.decode(), ctypes.c_int32.from_address(message + kernels.PARTITION).value
