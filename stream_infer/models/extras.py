"""models.extras: libraries that not everybody installs, and how to get the one that is missing. errors → *extras* → load."""

from __future__ import annotations

from stream_infer.errors import EnvironmentMissing

# kind of model → what it imports; the extra of the same name in pyproject.toml installs them
EXTRAS = {
    "onnx": ("onnxruntime",),
    "sklearn": ("sklearn", "skops", "joblib", "threadpoolctl"),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
}


def extra_missing(kind: str, file: str, error: ImportError | OSError) -> BaseException:
    """EnvironmentMissing with the command that helps; the error itself where it is about anything else than the kind's libraries."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in EXTRAS[kind]:
        return error
    return EnvironmentMissing(
        f"{file}: models of kind {kind} need a package that is not here",
        got=(str(error).splitlines() or [type(error).__name__])[0][:200],
        expected=f"the extra `{kind}` of stream-infer",
        fix=f'pip install "stream-infer[{kind}]"',
    )
