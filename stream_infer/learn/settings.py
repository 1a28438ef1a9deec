"""learn.settings: what a topology may say of learning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LearnSettings:
    """every_ms: event time between two versions; a version made of rewards before k·every_ms takes effect at (k+1)·every_ms."""

    every_ms: int
