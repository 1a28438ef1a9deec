"""models.sklearn_model: scikit-learn's estimators as models; the only module that imports it, skops and joblib. *sklearn_model* → load."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import skops.io
import threadpoolctl
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.models.base import as_answers, check_width, model_error
from stream_infer.records import Floats, Matrix

UNPACKED_BYTES_MAX = 4_000_000_000  # of a skops file, which is a zip archive: a small one may claim to hold a disk full

Predict = Callable[[NDArray[np.float64]], NDArray[np.generic]]


class SklearnModel:
    """An estimator on one thread. Rows that it refuses for NaN or infinity are answered NaN; their neighbours are answered."""

    def __init__(self, predict: Predict, columns: tuple[str, ...], digest: str, openmp: bool, file: str) -> None:
        self.columns, self.digest = columns, digest
        self._predict, self._file = predict, file
        self._threads = threadpoolctl.ThreadpoolController().select(user_api="openmp") if openmp else None
        self.outputs = 0
        self.outputs = self.forward(np.zeros((1, len(columns)), dtype=np.float32)).shape[1]

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k], widened: what was fitted in float64 answers in float64. Returns float64[n, outputs]."""
        check_width(x, self.columns, self._file)
        matrix = x.astype(np.float64, order="C")
        try:
            out = self._asked(matrix)
        except ValueError:
            good = np.isfinite(matrix).all(axis=1)
            if good.all():
                raise
            answers = np.full((len(x), self.outputs), np.nan)
            if good.any():
                answers[good] = as_answers(self._asked(matrix[good]), int(good.sum()), self.outputs, self._file)
            return answers
        return as_answers(out, len(x), self.outputs, self._file)

    def _asked(self, matrix: NDArray[np.float64]) -> NDArray[np.generic]:
        if self._threads is None:
            return self._predict(matrix)
        with self._threads.limit(limits=1):  # OpenMP's limit is the calling thread's own, so it cannot be set once; 24 µs
            return self._predict(matrix)

    @staticmethod
    def from_bytes(
        data: bytes, columns: tuple[str, ...] = (), output: str | None = None, *, trusted: bool = False, file: str = "scikit-learn model"
    ) -> SklearnModel:
        """A skops file; where trusted, also a pickle or joblib file, and a skops file of types that skops does not trust by itself.

        columns: the topology's, () for the names in the file, or numbers. output: probability, label, margin or value (default: the
        probabilities of a classifier, the value of any other). Raises ModelError for what is broken, refused or made for other columns.
        """
        estimator = _of_skops(data, trusted, file) if data[:2] == b"PK" else _of_pickle(data, trusted, file)
        if not callable(getattr(estimator, "predict", None)):
            raise model_error("the file holds no estimator", file, got=type(estimator).__name__, expected="something with predict()")
        width = getattr(estimator, "n_features_in_", None)
        if width is None:
            raise model_error("the estimator is not fitted", file, got=type(estimator).__name__, fix="fit it before it is saved")
        names = tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))
        if names:
            # It would say so at every pass; the names have been compared with the topology's.
            warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
        names = names or (columns if len(columns) == width else tuple(str(place) for place in range(width)))
        openmp = _one_thread(estimator)
        return SklearnModel(_predict_of(estimator, output, file), names, hashlib.sha256(data).hexdigest(), openmp, file)


def _of_skops(data: bytes, trusted: bool, file: str) -> object:
    try:
        size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(data)).infolist())
        if size > UNPACKED_BYTES_MAX:
            raise model_error("the file unpacks to too much", file, got=f"{size} bytes", expected=f"at most {UNPACKED_BYTES_MAX}")
        odd = skops.io.get_untrusted_types(data=data)
        if odd and not trusted:
            raise model_error(
                "the file holds types that can harm when they are loaded",
                file,
                got=", ".join(odd)[:300],
                expected="the types that skops trusts by itself",
                fix="after checking where it came from: trusted: true and a pinned sha256",
            )
        return skops.io.loads(data, trusted=odd)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001  archives, JSON and constructors: there is little that it does not raise
        raise model_error(
            "skops cannot load the file",
            file,
            got=f"{type(error).__name__}: {error}"[:300],
            expected="a file of skops.io.dump",
            fix="save it again with these versions of skops and scikit-learn",
        ) from None


def _of_pickle(data: bytes, trusted: bool, file: str) -> object:
    if not trusted:
        raise model_error(
            "the file is no skops file; a pickle or joblib file runs code when it is loaded",
            file,
            got=repr(data[:20]),
            expected="a file of skops.io.dump, or trusted: true and a pinned sha256",
            fix="save it with skops.io.dump(estimator, path)",
        )
    try:
        return joblib.load(io.BytesIO(data))
    except Exception as error:  # noqa: BLE001  a pickle is a program: it raises whatever it likes
        raise model_error(
            "joblib cannot load the file",
            file,
            got=f"{type(error).__name__}: {error}"[:300],
            expected="a pickle or joblib file of an estimator",
            fix="save it again with this version of scikit-learn, and with the packages that it needs",
        ) from None


def _predict_of(estimator: object, output: str | None, file: str) -> Predict:
    """The function that answers. Of two classes the probability of the second alone: one number, as linear models give it."""
    methods = {"probability": "predict_proba", "margin": "decision_function", "label": "predict", "value": "predict"}
    classes: Any = getattr(estimator, "classes_", None)
    chosen = output or ("value" if classes is None else "probability")
    method: Predict | None = getattr(estimator, methods[chosen], None)
    if method is None or ((classes is None) != (chosen == "value") and chosen != "margin"):
        able = [name for name, method in methods.items() if hasattr(estimator, method)]
        fits = [name for name in able if name == "margin" or (name == "value") == (classes is None)]
        raise model_error(
            f"the estimator answers no {chosen}",
            file,
            got=type(estimator).__name__,
            expected=" or ".join(fits),
            fix="add `output: …` to the model",
        )
    if chosen == "probability" and len(classes) == 2 and not isinstance(classes, list):
        return lambda matrix: method(matrix)[:, 1:]
    if chosen == "label" and not np.issubdtype(np.asarray(classes).dtype, np.number):
        got = ", ".join(map(str, classes))[:100]
        raise model_error("the labels are no numbers", file, got=got, expected="numbers", fix="leave out `output`, for probabilities")
    return method


def _one_thread(estimator: object) -> bool:
    """Take one thread for what joblib and BLAS do; whether OpenMP must be held back at each pass."""
    settings = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    jobs = {name: 1 for name in settings if name == "n_jobs" or name.endswith("__n_jobs")}
    if jobs:
        estimator.set_params(**jobs)  # type: ignore[attr-defined]
    threadpoolctl.threadpool_limits(limits=1, user_api="blas")
    return any(type(part).__name__.startswith("HistGradientBoosting") for part in [estimator, *settings.values()])
