"""Messages ahead of being wanted. Oracle: a list of all that waits, in the order in which it came."""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.kafka_native_shelves import Shelves
from stream_infer.flow.transport import Partition
from tests.unit.edge.test_kafka_native_kernels import Message

TOPICS = {4096: "events", 8192: "labels"}
PARTITIONS = [(topic, number) for topic in TOPICS.values() for number in range(3)]
some = st.lists(st.sampled_from(PARTITIONS), max_size=3)
acts = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(1, 4)), max_size=8)),
    st.tuples(st.just("take"), st.tuples(st.integers(1, 12), some)),
    st.tuples(st.just("drop"), some),
)


@given(st.lists(acts, max_size=25))
def test_each_message_is_given_once_in_its_partitions_order_one_number_after_the_other(plan: list[tuple[str, Any]]) -> None:
    handles = {name: handle for handle, name in TOPICS.items()}
    held: list[Message] = []
    waiting: list[int] = []  # places of messages
    of: dict[int, Partition] = {}
    ended: Counter[int] = Counter()
    destroy = ctypes.CFUNCTYPE(None, ctypes.c_int64)(lambda place: ended.update([place]))
    shelves = Shelves(lambda handle: TOPICS[handle].encode(), ctypes.cast(destroy, ctypes.c_void_p).value or 0)
    dropped: list[int] = []
    for act, given_ in plan:
        if act == "put":
            fresh = [Message(0, handles[topic], number) for (topic, number), runs in given_ for _ in range(runs)]
            held += fresh
            places = [ctypes.addressof(message) for message in fresh]
            of |= {place: (TOPICS[message.rkt], message.partition) for place, message in zip(places, fresh, strict=True)}
            shelves.put(np.array(places, dtype=np.int64))
            waiting += places
        elif act == "take":
            most, skipped = given_
            wanted = [place for place in waiting if of[place] not in skipped]
            assert shelves.count(skipped) == len(wanted)
            out = np.zeros(most, dtype=np.int64)
            took = out[: shelves.take(out, most, skipped)].tolist()
            assert len(took) == min(most, len(wanted))
            numbers = [of[place][1] for place in took]
            for number in dict.fromkeys(numbers):
                own = [place for place in wanted if of[place][1] == number]
                assert [place for place in took if of[place][1] == number] == own[: numbers.count(number)]
                assert numbers.count(number) == len(own) or number == numbers[-1], "of the last alone something is left"
            assert numbers == [number for number in dict.fromkeys(numbers) for _ in range(numbers.count(number))]
            waiting = [place for place in waiting if place not in took]
        else:
            dropped += [place for place in waiting if of[place] in given_]
            shelves.drop(given_)
            waiting = [place for place in waiting if of[place] not in given_]
        assert len(shelves) == len(waiting)
        assert ended == Counter(dropped)
    shelves.drop()
    assert len(shelves) == 0
    assert ended == Counter(dropped + waiting)


def test_every_partition_has_its_turn() -> None:
    held = [Message(0, 4096, number) for number in range(4) for _ in range(10)]
    shelves = Shelves(lambda _: b"events", 0)
    shelves.put(np.array([ctypes.addressof(message) for message in held], dtype=np.int64))
    out = np.zeros(5, dtype=np.int64)
    numbers: list[int] = []
    for _ in range(8):
        assert shelves.take(out, 5, ()) == 5
        numbers += {Message.from_address(place).partition for place in out.tolist()}
    assert numbers == [0, 1, 2, 3, 0, 1, 2, 3]
