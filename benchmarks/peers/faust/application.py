"""Faust's App, the same for all benchmarks. peer → *application* → transform, windows. To be imported once the loop is chosen."""

from __future__ import annotations

from typing import Any

import faust
import peer

QUICK = {"producer_linger": peer.LINGER_MS / 1000, "stream_wait_empty": False}  # its best of what was tried


def made(**more: Any) -> faust.App:
    return faust.App(
        peer.GROUP,
        broker=f"aiokafka://{peer.BOOTSTRAP}",
        datadir=peer.FOLDER,
        store="memory://",
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=peer.COMMIT_S,
        topic_partitions=peer.PARTITIONS,
        topic_disable_leader=True,
        processing_guarantee="exactly_once" if peer.EXACTLY_ONCE else "at_least_once",
        **more,
    )


def raw(app: faust.App, name: str) -> faust.TopicT:
    return app.topic(name, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes)
