"""attribution.attribute: answers of a model attributed to its inputs, by whichever method. game, gradients → *attribute* → edge, sim.

Whatever the method, parts are counted against a baseline and should add up to answer less baseline answer; what they leave is told.
"""

from __future__ import annotations

import numpy as np

from stream_infer.attribution.asking import ROWS_AT_ONCE, Asking
from stream_infer.attribution.game import Game
from stream_infer.attribution.gradients import Gradients, integrated, linear, linear_gradients
from stream_infer.attribution.result import Attributions
from stream_infer.attribution.settings import Asked, AttributionSettings
from stream_infer.models.base import Differentiable, Model, model_error
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Hashes, Ints, Matrix


def attribution_of(
    model: Model,
    x: Matrix,
    settings: AttributionSettings,
    keys: Hashes,
    starts: Ints | None = None,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
    sizes: tuple[int, ...] = (),
) -> Attributions:
    """Attributions of what the model says of each row.

    x: float32[n, k], n ≥ 1; keys: uint64[n], what chance depends on (hash64 of the prediction's id); starts: int64[groups], the first
    column of each group of columns that count as one input (None: each column); rows_at_once, sizes: how rows go through the model.
    ModelError where the method does not fit the model.
    """
    if not 0 <= settings.output < model.outputs:
        got, expected = f"output {settings.output}", f"0 to {model.outputs - 1}"
        raise model_error("the model has no such output", "explanation", got=got, expected=expected, fix="correct `output`")
    method = settings.method if settings.method != "auto" else _best(model)
    baseline = baseline_of(model, settings)
    starts = np.arange(x.shape[1], dtype=np.int64) if starts is None else starts
    if method == "linear":
        if not isinstance(model, LinearModel):
            raise _unfit("linear", model, "a linear model")
        made = linear(model, x, baseline, settings.output)
        return Attributions(made.method, made.unit, _together(made.parts, starts), made.value, made.baseline)
    asking = Asking(model, settings.output, rows_at_once, sizes)
    full, none = asking.of(x), float(asking.of(baseline[None, :])[0])
    if method == "integrated_gradients":
        by_column = integrated(_gradients(model), x, baseline, settings.output, settings.steps, rows_at_once)
        parts = _together(by_column, starts)
    else:
        games = [Game.of(settings, len(starts), int(key)) for key in keys]
        answers = asking.of_masks(x, baseline, [game.masks for game in games], starts)
        parts = np.stack([game.parts(said, own, none) for game, said, own in zip(games, answers, full.tolist(), strict=True)])
    return Attributions(method, "answer", parts, full, np.full(len(x), none))


def answer(model: Model, x: Matrix, asked: Asked | None) -> Floats:
    """What a worker does with rows: the model's answers, or where rows are to be explained, Attributions.to_matrix(). x: float32[n, k]."""
    if asked is None:
        return model.forward(x)
    return attribution_of(model, x, asked.settings, asked.keys, asked.starts, sizes=asked.sizes).to_matrix()


def baseline_of(model: Model, settings: AttributionSettings) -> Matrix:
    """float32[k]: the row that counts as nothing. ModelError where the model does not know its mean."""
    baseline = np.zeros(len(model.columns), dtype=np.float32)
    if settings.baseline == "mean":
        mean = getattr(model, "mean", None)
        if mean is None:
            fix = "write the baseline as numbers: `baseline: {name: 0.5}`"
            raise model_error("the model does not tell by which mean it standardises", "explanation", expected="a mean per input", fix=fix)
        baseline[:] = mean
    elif not isinstance(settings.baseline, str):
        given = dict(settings.baseline)
        baseline[:] = [given.get(name, 0.0) for name in model.columns]
    return baseline


def _best(model: Model) -> str:
    if isinstance(model, LinearModel):
        return "linear"
    return "integrated_gradients" if isinstance(model, Differentiable) else "shap"


def _gradients(model: Model) -> Gradients:
    if isinstance(model, LinearModel):
        return linear_gradients(model)
    if isinstance(model, Differentiable):
        return model.gradients
    raise _unfit("integrated_gradients", model, "a model with gradients: a linear one or a net")


def _unfit(method: str, model: Model, expected: str) -> Exception:
    got = f"{method} of a {type(model).__name__}"
    return model_error("the method does not fit the model", "explanation", got=got, expected=expected, fix="use `shap`, which fits any")


def _together(parts: Floats, starts: Ints) -> Floats:
    """The sums over each group of columns."""
    if len(starts) == parts.shape[1]:
        return parts
    added: Floats = np.add.reduceat(parts, starts, axis=1)
    return added
