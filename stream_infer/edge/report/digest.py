"""edge.report.digest: one number that two runs share only when every prediction is the same byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def digest(values: Sequence[bytes], addresses: Sequence[tuple[str, int, int]]) -> str:
    """SHA-256 over all predictions, as hex.

    values: the canonical Avro bytes of each prediction (without framing); addresses: (source_topic, source_partition, source_offset)
    of each. The order is that of the addresses, so that it does not matter who answered what when; several predictions of one
    address follow the order of their bytes. Each value is preceded by its length, 4 bytes big-endian.
    """
    whole = hashlib.sha256()
    for _, value in sorted(zip(addresses, values, strict=True)):
        whole.update(len(value).to_bytes(4, "big"))
        whole.update(value)
    return whole.hexdigest()
