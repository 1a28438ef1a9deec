"""models.load: bytes of an artifact → a checked model. The edge reads the file; nothing here does. *load* → decide, flow.

Every kind has a module of its own, which alone imports its library, when the first model of the kind is loaded: a topology without nets
starts without torch (1-2 s and some 200 MB), and nobody needs a library for models that he has not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_infer.errors import StreamInferError
from stream_infer.models.base import Model, Registry, check_columns, check_digest, model_error, self_check
from stream_infer.models.extras import extra_missing
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings

PROGRAMS = (".pt2", ".pt")  # files of torch that bring their own code


def check_bytes(settings: ModelSettings, data: bytes) -> str:
    """The sha256 (hex) of the very bytes that are loaded; raises ModelError where the topology pins another."""
    return check_digest(data, settings.sha256, _file(settings))


def load_model(settings: ModelSettings, data: bytes | None, registry: Registry) -> Model:
    """A model that gave finite answers of the right shape to batches of 1, 2 and 7 rows, each row the same in all of them.

    data: the artifact's bytes, None for a learner that starts from zero. registry: user classes by name. Without inputs, settings take
    the columns that the file names. Raises ModelError for a wrong checksum, broken bytes, other columns than settings.columns(),
    weights or answers that are not finite, and answers that depend on the batch; EnvironmentMissing where the library is absent.
    """
    file = _file(settings)
    if settings.kind == "table":
        return _table(settings.columns())
    if data is None:
        if settings.learns is None or settings.artifact is not None:
            raise model_error(
                "the model has no file",
                file,
                got="nothing",
                expected="the bytes of the artifact",
                fix="set `artifact`, or `learns` for a model that starts from zero",
            )
        return LinearModel.zeros(settings.columns(), "logistic" if settings.learns.by == "ftrl" else "identity")
    check_bytes(settings, data)
    try:
        model = _LOADERS[settings.kind](settings, data, registry, file)
        if settings.inputs:
            check_columns(model.columns, settings.columns(), file)
        self_check(model, file, batch_variant=settings.batch_variant)
    except StreamInferError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise model_error(
            "the model cannot be loaded and asked",
            file,
            got=f"{type(error).__name__}: {first[:300]}",
            expected="answers to rows of zeros and ones",
            fix="try it with the versions of the libraries that are here, then save it again",
        ) from error
    return model


def _table(columns: tuple[str, ...]) -> LinearModel:
    """Answers that were computed beforehand and looked up: the inputs themselves."""
    count = len(columns)
    return LinearModel(np.eye(count), np.zeros(count), np.zeros(count), np.ones(count), "identity", columns)


def _linear(_: ModelSettings, data: bytes, registry: Registry, file: str) -> Model:
    del registry
    return LinearModel.from_bytes(data, file)


def _torch(settings: ModelSettings, data: bytes, registry: Registry, file: str) -> Model:
    from stream_infer.models.torch_model import Computing, TorchModel

    how = Computing(settings.precision, settings.workers.threads, settings.batch.sizes)
    if not file.endswith(PROGRAMS):
        return TorchModel.from_bytes(data, settings.model_class, registry, settings.device, file, how)
    from stream_infer.models.torch_program import kind_of_program, load_program

    kind_of_program(data, file)  # a pickle of torch.save is refused whoever trusts it
    if settings.precision != "float32":
        raise model_error(
            "a program computes as it was exported", file, got=settings.precision, expected="float32", fix="remove `precision`"
        )
    _check_trust(settings, "an exported program (.pt2, .pt) can run code when it is loaded", data, file)
    return load_program(data, settings.columns(), settings.device, file, how)


def _onnx(settings: ModelSettings, data: bytes, _: Registry, file: str) -> Model:
    try:
        from stream_infer.models.onnx_model import OnnxModel
    except (ImportError, OSError) as error:
        raise extra_missing("onnx", file, error) from None
    return OnnxModel.from_bytes(data, settings.columns(), settings.output, file)


def _sklearn(settings: ModelSettings, data: bytes, _: Registry, file: str) -> Model:
    try:
        from stream_infer.models.sklearn_model import SklearnModel
    except (ImportError, OSError) as error:
        raise extra_missing("sklearn", file, error) from None
    if settings.trusted:
        _check_trust(settings, "a file that may hold a pickle can run code when it is loaded", data, file)
    return SklearnModel.from_bytes(data, settings.columns(), settings.output, trusted=settings.trusted, file=file)


def _xgboost(settings: ModelSettings, data: bytes, _: Registry, file: str) -> Model:
    try:
        from stream_infer.models.xgboost_model import XGBoostModel
    except (ImportError, OSError) as error:
        raise extra_missing("xgboost", file, error) from None
    return XGBoostModel.from_bytes(data, settings.columns(), settings.output, file)


def _lightgbm(settings: ModelSettings, data: bytes, _: Registry, file: str) -> Model:
    try:
        from stream_infer.models.lightgbm_model import LightGBMModel
    except (ImportError, OSError) as error:
        raise extra_missing("lightgbm", file, error) from None
    return LightGBMModel.from_bytes(data, settings.columns(), settings.output, file)


_LOADERS: dict[str, Callable[[ModelSettings, bytes, Registry, str], Model]] = {
    "linear": _linear,
    "torch": _torch,
    "onnx": _onnx,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def _check_trust(settings: ModelSettings, what: str, data: bytes, file: str) -> None:
    if not settings.trusted or settings.sha256 is None:
        raise model_error(
            what,
            file,
            got=f"trusted: {str(settings.trusted).lower()}, sha256: {settings.sha256 or 'none'}",
            expected="trusted: true and a pinned sha256",
            fix=f"after checking where it came from: trusted: true, sha256: {check_digest(data, None, file)}",
        )


def _file(settings: ModelSettings) -> str:
    return settings.artifact or f"model {settings.name}"
