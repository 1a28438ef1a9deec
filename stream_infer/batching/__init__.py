"""When a model's batch leaves, and how large it is.

The rule is work-conserving: when the model is free and rows wait, it takes as many as its limit allows, at once. A timer would
only add its own length: in a queue, batches grow by themselves under load.
"""

from __future__ import annotations

from stream_infer.batching.curve import ROWS_MAX, SIZES_PROBED, CostCurve
from stream_infer.batching.settings import BatchSettings
from stream_infer.batching.sizing import Sizing

__all__ = ["ROWS_MAX", "SIZES_PROBED", "BatchSettings", "CostCurve", "Sizing"]
