"""topology.state_bytes: what a key will cost in memory, from the settings alone. plan → *state_bytes* → explain."""

from __future__ import annotations

from stream_infer.features.keys import row_words
from stream_infer.features.layout import Layout
from stream_infer.features.settings import FeatureSettings, LookupSettings

WORD_BYTES = 8
# Its place in the table and in the lists beside it: measured 42 to 86.
KEY_BYTES = 60
# Arrays grow by half when they are full, and tiles move to blocks of twice the size: measured 1.2 to 1.4 of what is in use.
SPARE = 1.3


def feature_bytes(settings: FeatureSettings) -> int:
    """The bytes that one key of a features stage takes when all tiles of its windows are there, about; a key has a tile for each stretch
    of time in which there was an update."""
    layout = Layout(settings)
    return KEY_BYTES + int(SPARE * WORD_BYTES * (row_words(layout.state_words) + layout.ring_words))


def lookup_bytes(settings: LookupSettings) -> int:
    """The bytes that one key of a lookup stage takes, about."""
    return KEY_BYTES + int(SPARE * WORD_BYTES * row_words(len(settings.take)))
