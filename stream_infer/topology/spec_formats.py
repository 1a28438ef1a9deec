"""topology.spec_formats: what may be said of models in the files of other libraries. spec_models → *spec_formats* → spec."""

from __future__ import annotations

from stream_infer.topology.shape import BOOLEAN, Setting, choice, place, text
from stream_infer.topology.spec_models import BATCH, CACHE, INPUTS, SHA256, VARIANT, VERSIONS, WORKERS
from stream_infer.topology.spec_names import PATH

_BELOW = "below the folder of the topology (or its URL, with `sha256`)"


def _kind(name: str) -> Setting:
    return Setting("kind", choice(name), "what the model is", name, required=True)


def _artifact(words: str, example: str) -> Setting:
    return Setting("artifact", PATH, f"the path of {words} {_BELOW}", example, required=True)


def _boosted(name: str, library: str, words: str, example: str) -> tuple[Setting, ...]:
    margin = f"`margin`: the sum of the trees, before the link (default: what {library} predicts: a probability, a mean, …)"
    return (
        _kind(name),
        INPUTS,
        _artifact(words, example),
        SHA256,
        Setting("output", choice("margin"), margin, "margin"),
        VERSIONS,
        BATCH,
        CACHE,
        WORKERS,
    )


FORMATS = (
    place(
        "model.onnx",
        "an ONNX model",
        "A graph for ONNX Runtime, on one thread of the CPU (`pip install stream-infer[onnx]`). It takes one matrix with a dynamic number "
        "of rows, or one number for each input; a list of names in its metadata, under `columns`, is compared with `inputs`.",
        _kind("onnx"),
        INPUTS,
        _artifact("an .onnx file that holds all of its weights,", "models/net.onnx"),
        SHA256,
        Setting("output", text(), "which output of the graph answers (default: the only one, or `probabilities`)", "probabilities"),
        VARIANT,
        VERSIONS,
        BATCH,
        CACHE,
        WORKERS,
    ),
    place(
        "model.sklearn",
        "a scikit-learn model",
        "A fitted estimator or pipeline (`pip install stream-infer[sklearn]`). A classifier answers probabilities: of two classes that of "
        "the second, of more one number each, in the order of `classes_`.",
        _kind("sklearn"),
        INPUTS,
        _artifact("a .skops file, or with `trusted` and `sha256` of a .pkl or .joblib file,", "models/ridge.skops"),
        SHA256,
        Setting(
            "trusted",
            BOOLEAN,
            "a pickle is a program, and skops does not trust trees by itself: say here that you trust the file's author",
            "true",
            default=False,
        ),
        Setting(
            "output",
            choice("probability", "label", "margin", "value"),
            "of a classifier `probability` (the default), `label` (a class that is a number) or `margin` (its decision function); of all "
            "others `value`",
            "label",
        ),
        VARIANT,
        VERSIONS,
        BATCH,
        CACHE,
        WORKERS,
    ),
    place(
        "model.xgboost",
        "an XGBoost model",
        "Boosted trees (`pip install stream-infer[xgboost]`). After early stopping, the trees up to the best round answer.",
        *_boosted("xgboost", "XGBoost", "a .json or .ubj file of `save_model`", "models/trees.ubj"),
    ),
    place(
        "model.lightgbm",
        "a LightGBM model",
        "Boosted trees (`pip install stream-infer[lightgbm]`).",
        *_boosted("lightgbm", "LightGBM", "a .txt file of `save_model`", "models/trees.txt"),
    ),
)
