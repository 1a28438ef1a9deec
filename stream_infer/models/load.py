"""models.load: bytes of an artifact → a checked model. The edge reads the file; nothing here does. *load* → decide, flow."""

from __future__ import annotations

import hashlib

import numpy as np

from stream_infer.models.base import Model, Registry, check_columns, check_digest, model_error, self_check
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings


def check_bytes(settings: ModelSettings, data: bytes) -> str:
    """The sha256 (hex) of the very bytes that are loaded; raises ModelError where the topology pins another."""
    return check_digest(data, settings.sha256, _file(settings))


def load_model(settings: ModelSettings, data: bytes | None, registry: Registry) -> Model:
    """A model that gave finite answers of the right shape to batches of 1, 2 and 7 rows.

    data: the artifact's bytes, None for a learner that starts from zero. registry: user classes by name. Raises ModelError
    for a wrong checksum, broken bytes, other columns than settings.columns(), weights or answers that are not finite.
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
    model = LinearModel.from_bytes(data, file) if settings.kind == "linear" else _load_torch(settings, data, registry, file)
    check_columns(model.columns, settings.columns(), file)
    self_check(model, file)
    return model


def _table(columns: tuple[str, ...]) -> LinearModel:
    """Answers that were computed beforehand and looked up: the inputs themselves."""
    count = len(columns)
    return LinearModel(np.eye(count), np.zeros(count), np.zeros(count), np.ones(count), "identity", columns)


def _load_torch(settings: ModelSettings, data: bytes, registry: Registry, file: str) -> Model:
    # Imported when the first net is loaded: a topology without nets starts without torch (1-2 s and some 200 MB).
    from stream_infer.models.torch_model import TorchModel

    if not file.endswith(".pt2"):
        return TorchModel.from_bytes(data, settings.model_class, registry, settings.device, file)
    if not settings.trusted or settings.sha256 is None:
        raise model_error(
            "an exported program (.pt2) can run code when it is loaded",
            file,
            got=f"trusted: {str(settings.trusted).lower()}, sha256: {settings.sha256 or 'none'}",
            expected="trusted: true and a pinned sha256",
            fix=f"after checking where it came from: trusted: true, sha256: {hashlib.sha256(data).hexdigest()}",
        )
    return TorchModel.from_exported(data, settings.columns(), settings.device, file)


def _file(settings: ModelSettings) -> str:
    return settings.artifact or f"model {settings.name}"
