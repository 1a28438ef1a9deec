"""edge.measuring: how many rows a forward pass takes best, timed on this machine before the work begins. workers → *measuring* → host.

Only for live runs: there a batch leaves with what waits, and the size only bounds it. A deterministic run keeps the constant that
the core has, for its batches must not depend on how fast this machine is today.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from stream_infer.batching import SIZES_PROBED, CostCurve
from stream_infer.models.base import Model
from stream_infer.models.settings import ModelSettings
from stream_infer.topology.plan import Plan

log = logging.getLogger("stream_infer.models")
RUNS = 4  # of each size: the first warms up, three make a median that one disturbance cannot move
SECONDS_MAX = 1.0  # for all sizes of a model; a start that takes longer is felt


def measured(plan: Plan, models: Mapping[str, Model], clock: Callable[[], float]) -> Plan:
    """The plan with batch.curve of every model that states no rows_max. clock: seconds, monotone.

    A model that states one is not timed: its curve grows out of the passes that it makes.
    """
    return replace(plan, models={name: _settled(settings, models[name], clock) for name, settings in plan.models.items()})


def cost_curve(model: Model, clock: Callable[[], float]) -> CostCurve:
    """Seconds per pass of SIZES_PROBED, as far as SECONDS_MAX allows and of two sizes at least, and the most rows that a pass may have."""
    end = clock() + SECONDS_MAX
    samples: list[tuple[int, float]] = []
    for place, rows in enumerate(SIZES_PROBED):
        matrix = np.zeros((rows, len(model.columns)), dtype=np.float32)
        took: list[float] = []
        for run in range(RUNS):
            began = clock()
            if began >= end and (run > 1 or place > 1):
                break
            try:
                model.forward(matrix)
            except Exception as error:  # noqa: BLE001 — as in workers: a size that the model cannot take, for want of memory, ends the sweep
                log.warning("%d rows at once fail: %s", rows, error)
                return CostCurve.fit(samples, SIZES_PROBED[max(place - 1, 0)])
            took.append(clock() - began)
        if len(took) > 1:  # a single pass only warmed up
            samples += [(rows, seconds) for seconds in took]
    return CostCurve.fit(samples)


def _settled(settings: ModelSettings, model: Model, clock: Callable[[], float]) -> ModelSettings:
    if settings.batch.rows_max is not None:
        return settings
    curve = cost_curve(model, clock)
    if curve.sizes:
        rows = curve.best()
        log.info(
            "model %s: at most %d rows a batch (%.2f ms, %.2f µs a row; one row alone %.2f ms)",
            settings.name,
            rows,
            1e3 * curve.estimate(rows),
            1e6 * curve.estimate(rows) / rows,
            1e3 * curve.estimate(1),
        )
    return replace(settings, batch=replace(settings.batch, curve=curve))
