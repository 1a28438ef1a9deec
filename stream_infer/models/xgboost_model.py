"""models.xgboost_model: XGBoost's boosters as models; the only module that imports xgboost. xgboost_file → *xgboost_model* → load."""

from __future__ import annotations

import hashlib

import numpy as np
import xgboost

from stream_infer.models.base import as_answers, check_width, model_error
from stream_infer.models.xgboost_file import checked_xgboost
from stream_infer.records import Floats, Matrix


class XGBoostModel:
    """A booster on one thread, asked without a DMatrix. A row's answer does not depend on its neighbours."""

    def __init__(self, booster: xgboost.Booster, columns: tuple[str, ...], digest: str, margin: bool, file: str) -> None:
        self.columns, self.digest = columns, digest
        self._booster, self._file = booster, file
        self._kind = "margin" if margin else "value"
        # As its own scikit-learn classes do: trees after the best round, which early stopping found, answer nothing.
        best = booster.attr("best_iteration")
        self._rounds = (0, 0) if best is None else (0, int(best) + 1)
        self.outputs = 0
        self.outputs = self.forward(np.zeros((1, len(columns)), dtype=np.float32)).shape[1]

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k]. Returns float64[n, outputs]."""
        check_width(x, self.columns, self._file)
        out = self._booster.inplace_predict(
            np.ascontiguousarray(x), iteration_range=self._rounds, predict_type=self._kind, validate_features=False
        )
        return as_answers(out, len(x), self.outputs, self._file)

    @staticmethod
    def from_bytes(data: bytes, columns: tuple[str, ...] = (), output: str | None = None, file: str = "XGBoost model") -> XGBoostModel:
        """A .json or .ubj file of Booster.save_model. columns: the topology's, () for the names in the file, or numbers.

        output: None for what the objective answers (a probability, a mean, …), "margin" for the sum before its link. Raises ModelError
        where the file is broken or made for other columns.
        """
        text = checked_xgboost(data, file)
        booster = xgboost.Booster({"nthread": 1})  # workers scale by processes
        try:
            booster.load_model(bytearray(text))
        except xgboost.core.XGBoostError as error:
            raise model_error(
                "XGBoost cannot load the file",
                file,
                got=str(error).partition("Stack trace")[0].replace("\n", " ")[:300],
                expected="a .json or .ubj file of Booster.save_model",
                fix="save it again with this version of XGBoost",
            ) from None
        booster.set_param({"nthread": 1})  # the file may say otherwise
        width = booster.num_features()
        names = tuple(booster.feature_names or ()) or (columns if len(columns) == width else tuple(str(place) for place in range(width)))
        return XGBoostModel(booster, names, hashlib.sha256(data).hexdigest(), output == "margin", file)
