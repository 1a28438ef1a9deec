"""attribution.game: which rows one explanation asks about, apart from who answers them. shapley, lime → *game* → attribute, flow.

Rows are made from the masks, and what was said of them goes back: by a model, or by many of them that answer together. `shap` and `lime`
only; the other methods look into a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.attribution import lime, shapley
from stream_infer.attribution.coalitions import near_masks, shapley_masks
from stream_infer.attribution.settings import AttributionSettings
from stream_infer.models.base import model_error
from stream_infer.records import Bools, Floats


@dataclass(frozen=True, eq=False)
class Game:
    """method: shap or lime. masks: bool[samples, groups], True: the row's own input; weights: float64[samples], of shap."""

    method: str
    masks: Bools
    weights: Floats

    @staticmethod
    def of(settings: AttributionSettings, groups: int, key: int) -> Game:
        """What to ask of a row with so many inputs. key: what chance depends on, hash64 of the prediction's id. ModelError."""
        method = method_of(settings)
        if method == "lime":
            return Game(method, near_masks(groups, settings.samples, key, settings.seed), np.zeros(0))
        if groups == 1:  # the row itself and the baseline say it all
            return Game(method, np.zeros((0, 1), dtype=np.bool_), np.zeros(0))
        least = 2 * groups if groups > 2 else 2  # of two inputs there are but two coalitions
        if settings.samples < least:
            got, fix = f"{settings.samples} samples for {groups} inputs", f"write `samples: {least}` or more"
            raise model_error("too few samples for Shapley values", "explanation", got=got, expected=f"at least {least}", fix=fix)
        return Game(method, *shapley_masks(groups, settings.samples, key, settings.seed))

    def parts(self, said: Floats, full: float, none: float) -> Floats:
        """float64[groups]. said: float64[samples], of the masks; full, none: of the row and of the baseline."""
        if self.method == "lime":
            return lime.fitted(self.masks, said)
        if self.masks.shape[1] == 1:
            return np.array([full - none])
        return shapley.fitted(self.masks, self.weights, said - none, full - none)


def method_of(settings: AttributionSettings) -> str:
    """The method where nobody can look into what answers."""
    return "shap" if settings.method == "auto" else settings.method


def samples_of(settings: AttributionSettings, groups: int) -> int:
    """The most rows that a game asks about, besides the row itself and the baseline."""
    every = 2**groups - 2 if groups < 60 else settings.samples
    return settings.samples if method_of(settings) == "lime" else min(settings.samples, every)
