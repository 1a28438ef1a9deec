"""A library that is not installed is named with the command that helps."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stream_infer.errors import EnvironmentMissing
from stream_infer.models.extras import EXTRAS, extra_missing


@pytest.mark.parametrize("kind", sorted(EXTRAS))
def test_a_missing_library_is_named_with_what_to_do(kind: str) -> None:
    code = f"""
import sys
sys.modules[{EXTRAS[kind][0]!r}] = None  # as if it were not there
from stream_infer.features.settings import Input
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
load_model(ModelSettings("m", {kind!r}, (Input("a"),), artifact="models/m"), b"bytes", {{}})
"""
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert f"EnvironmentMissing: models/m: models of kind {kind} need a package that is not here" in found.stderr
    assert f'    fix:      pip install "stream-infer[{kind}]"' in found.stderr


def test_another_fault_of_an_import_is_left_as_it_is() -> None:
    ours = ModuleNotFoundError("No module named 'stream_infer.nonsense'", name="stream_infer.nonsense")
    assert extra_missing("onnx", "m.onnx", ours) is ours
    broken = extra_missing("xgboost", "m.ubj", OSError("libgomp.so.1: cannot open shared object file"))
    assert isinstance(broken, EnvironmentMissing)
    assert "libgomp.so.1" in str(broken)


def test_no_library_is_imported_for_models_of_other_kinds() -> None:
    code = """
import sys
from stream_infer.models import load
import stream_infer.topology.build
libraries = ("torch", "onnxruntime", "sklearn", "skops", "xgboost", "lightgbm", "fsspec")
assert not [name for name in libraries if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
