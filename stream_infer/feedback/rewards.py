"""feedback.rewards: answer and label → reward. join → *rewards* → learn."""

from __future__ import annotations

import numpy as np

from stream_infer.feedback_settings import RewardSettings
from stream_infer.records import Floats


def reward(settings: RewardSettings, answer: Floats, label: Floats) -> Floats:
    """float64[n] in [0, 1], NaN where the label is NaN. answer, label: float64[n]. ValueError for an unknown kind."""
    if settings.kind == "closeness":
        out = 1.0 - np.minimum(np.abs(answer - label) / settings.scale, 1.0)
    elif settings.kind == "value":
        out = (np.clip(label, settings.low, settings.high) - settings.low) / (settings.high - settings.low)
    elif settings.kind == "match":
        out = ((answer >= settings.threshold) == (label >= settings.threshold)).astype(np.float64)
    else:
        raise ValueError(f"reward {settings.kind!r}: expected closeness, value or match")
    return np.where(np.isnan(label), np.nan, out)
