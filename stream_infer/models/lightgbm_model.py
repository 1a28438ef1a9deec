"""models.lightgbm_model: LightGBM's boosters as models; the only module that imports lightgbm. lightgbm_file → *lightgbm_model* → load."""

from __future__ import annotations

import hashlib
import re

import lightgbm
import numpy as np

from stream_infer.models.base import as_answers, check_width, model_error
from stream_infer.models.lightgbm_file import checked_lightgbm
from stream_infer.records import Floats, Matrix


class LightGBMModel:
    """A booster on one thread. A row's answer does not depend on its neighbours."""

    def __init__(self, booster: lightgbm.Booster, columns: tuple[str, ...], digest: str, margin: bool, file: str) -> None:
        self.columns, self.digest = columns, digest
        self._booster, self._margin, self._file = booster, margin, file
        self.outputs = 0
        self.outputs = self.forward(np.zeros((1, len(columns)), dtype=np.float32)).shape[1]

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k]. Returns float64[n, outputs]."""
        check_width(x, self.columns, self._file)
        out = self._booster.predict(np.ascontiguousarray(x), raw_score=self._margin, num_threads=1)
        return as_answers(np.asarray(out), len(x), self.outputs, self._file)

    @staticmethod
    def from_bytes(data: bytes, columns: tuple[str, ...] = (), output: str | None = None, file: str = "LightGBM model") -> LightGBMModel:
        """A text file of Booster.save_model. columns: the topology's, () for the names in the file, or numbers.

        output: None for what the objective answers (a probability, a mean, …), "margin" for the sum before its link. Raises ModelError
        where the file is broken or made for other columns.
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise model_error("the file is no text", file, got=repr(data[:20]), expected="a .txt file of Booster.save_model") from None
        text = checked_lightgbm(text, file)
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise model_error(
                "LightGBM cannot load the file",
                file,
                got=str(error)[:300],
                expected="a .txt file of Booster.save_model",
                fix="save it again with this version of LightGBM",
            ) from None
        names = tuple(booster.feature_name())
        if all(re.fullmatch(rf"Column_{place}", name) for place, name in enumerate(names)):  # trained on a matrix without names
            names = columns if len(columns) == len(names) else tuple(str(place) for place in range(len(names)))
        return LightGBMModel(booster, names, hashlib.sha256(data).hexdigest(), output == "margin", file)
