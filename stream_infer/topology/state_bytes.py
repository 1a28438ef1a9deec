"""topology.state_bytes: what a key will cost in memory, from the settings alone. plan → *state_bytes* → explain."""

from __future__ import annotations

from stream_infer.features.layout import Layout
from stream_infer.features.settings import FeatureSettings, LookupSettings

WORD_BYTES = 8
# Hash, place, times and bytes of a key of 20 letters: measured 87 in a full table. Tables double when they are full, so one that has
# just grown takes twice of everything: 742 bytes per key at 150,000 keys, 423 at 131,072, where the state alone is 336.
KEY_BYTES = 87


def feature_bytes(settings: FeatureSettings) -> int:
    """The bytes that one key of a features stage takes: its state exactly, its place in the table about."""
    return KEY_BYTES + Layout(settings).dtype.itemsize


def lookup_bytes(settings: LookupSettings) -> int:
    """The bytes that one key of a lookup stage takes, about."""
    return KEY_BYTES + WORD_BYTES * len(settings.take)
