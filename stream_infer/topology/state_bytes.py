"""topology.state_bytes: what a key will cost in memory, from the settings alone. plan → *state_bytes* → explain."""

from __future__ import annotations

from stream_infer.features.settings import Aggregate, FeatureSettings, LookupSettings

# What one tile of a window holds, in words of 8 bytes: a mean is a sum and a count, a standard deviation a sum of squares more.
_WORDS = {"count": 1, "sum": 1, "mean": 2, "std": 3, "min": 1, "max": 1}
WORD_BYTES = 8
KEY_BYTES = 64  # hash, slot, time of the last update, and key bytes of some 32 letters


def feature_bytes(settings: FeatureSettings) -> int:
    """Estimate of the bytes that one key of a features stage takes."""
    return KEY_BYTES + sum(_aggregate_bytes(aggregate) for aggregate in settings.values)


def lookup_bytes(settings: LookupSettings) -> int:
    """Estimate of the bytes that one key of a lookup stage takes."""
    return KEY_BYTES + WORD_BYTES * len(settings.take)


def _aggregate_bytes(aggregate: Aggregate) -> int:
    if aggregate.kind in ("last", "since_last"):
        return 2 * WORD_BYTES  # the value and its time
    if aggregate.kind == "last_k":
        return (aggregate.k + 1) * WORD_BYTES
    words = _WORDS[aggregate.kind]
    if aggregate.window_ms is None:
        return words * WORD_BYTES
    # hops + 1 tiles and their running total; a tumbling window is one tile and its number.
    tiles = aggregate.hops + 2 if aggregate.shape == "sliding" else 1
    return words * tiles * WORD_BYTES + WORD_BYTES
