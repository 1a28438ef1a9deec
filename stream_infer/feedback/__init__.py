"""Feedback meets its decision: a pure function of two logs."""

from __future__ import annotations

from stream_infer.feedback.join import FeedbackJoin
from stream_infer.feedback.rewards import reward
from stream_infer.feedback.rows import Decisions, FeedbackRows, Joined, Returned

__all__ = ["Decisions", "FeedbackJoin", "FeedbackRows", "Joined", "Returned", "reward"]
