"""topology.check_artifacts: files that a model may be loaded from. check_streams → *check_artifacts* → check_models."""

from __future__ import annotations

from stream_infer.topology.check_streams import check_path
from stream_infer.topology.values import Findings, Section, Value

# How a file is named, by the kind of its model; what stands before the bar is safe to load.
ENDINGS = {
    "linear": ((".safetensors",), ()),
    "torch": ((".safetensors",), (".pt2", ".pt")),
    "onnx": ((".onnx",), ()),
    "sklearn": ((".skops",), (".pkl", ".pickle", ".joblib")),
    "xgboost": ((".json", ".ubj"), ()),
    "lightgbm": ((".txt",), ()),
}
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt")
SAFE_BUT_FOR_TRUST = (".skops",)  # safe by itself; more of it may be trusted
SAVED_BY = {"torch": "safetensors", "linear": "safetensors", "sklearn": "skops.io.dump"}


def check_artifact(model: Section, found: Findings) -> None:
    """The file of a model is of its kind, lies where it may, and is trusted where it must be."""
    value = model.get("artifact")
    if value is None:
        if model.kind == "linear" and "artifact" not in model.given and "learns" not in model.given:
            fix = f"add `artifact: models/{model.label.split('`')[1]}.safetensors`, or `learns: {{by: sgd}}`"
            found.at(model, f"{model.label}: it has no weights and does not learn", expected="`artifact`, or `learns`, or both", fix=fix)
        return
    path = _check_place(model, value, found)
    if path is None or model.kind not in ENDINGS:
        return
    safe, programs = ENDINGS[model.kind]
    if path.endswith(programs):
        _check_trust(model, value, f"a {_ending(path, programs)} file is a program", found)
    elif not path.endswith(safe):
        _wrong_ending(model, value, path, found)
    elif model.flag("trusted") and path.endswith(SAFE_BUT_FOR_TRUST):
        _check_trust(model, value, f"a trusted {_ending(path, safe)} file may hold a program", found)
    elif model.flag("trusted"):
        trusted = model.get("trusted")
        assert trusted is not None
        found.at_name(
            trusted,
            f"{model.label}: `trusted` with a file that is no program",
            expected="`trusted` with a .pt2 or .pt file only",
            fix="remove `trusted`",
        )


def _ending(path: str, endings: tuple[str, ...]) -> str:
    return next(ending for ending in endings if path.endswith(ending))


def _wrong_ending(model: Section, value: Value, path: str, found: Findings) -> None:
    safe, programs = ENDINGS[model.kind]
    article = "an" if safe[0] == ".onnx" else "a"
    expected = f"{article} {' or '.join(safe)} file" + (f", or a {programs[0]} file with `trusted` and `sha256`" if programs else "")
    other = next((kind for kind, (theirs, _) in ENDINGS.items() if path.endswith(theirs)), None)
    if path.endswith(PICKLES):
        why, fix = "pickled weights run code when they are loaded", f"save the weights with {SAVED_BY.get(model.kind, 'its own library')}"
    elif other is not None:
        why, fix = f"the file is of another kind than {model.kind}", f"write `kind: {other}`"
    else:
        why, fix = "the file's kind is not known", f"save the weights with {SAVED_BY.get(model.kind, 'its own library')}"
    found.at(value, f"{model.label}: {why}", expected=expected, fix=fix)


def _check_place(model: Section, value: Value, found: Findings) -> str | None:
    """A path below the folder, or a URL with the digest of what it must bring; the operator says which URLs are read at all."""
    path = value.data
    assert isinstance(path, str)
    if "://" not in path:
        return check_path(model.label, value, found)
    if "sha256" in model.given:
        return path
    found.at(
        value,
        f"{model.label}: a URL without `sha256`",
        expected="the digest of the file beside its URL: what is loaded must not change with the place",
        fix="add `sha256: …` (`sha256sum FILE` prints it), or write a path below the folder of the topology",
    )
    return None


def _check_trust(model: Section, value: Value, what: str, found: Findings) -> None:
    missing = [name for name, there in (("trusted: true", model.flag("trusted")), ("sha256: …", "sha256" in model.given)) if not there]
    if missing:
        fix = f"add `{'` and `'.join(missing)}` (`sha256sum {value.data}` prints it), or save the weights with {SAVED_BY[model.kind]}"
        found.at(
            value,
            f"{model.label}: {what}",
            expected="`trusted: true` and its `sha256`, for whoever writes it runs code here",
            fix=fix,
        )
