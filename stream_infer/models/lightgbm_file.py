"""models.lightgbm_file: LightGBM's text format, read line by line and written anew. boosted_trees → *lightgbm_file* → lightgbm_model.

The library ends the process over a file that is cut off, and reads past the end of broken lists. So it only gets what was understood here.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.base import model_error
from stream_infer.models.boosted_trees import Ints, broken, check_tree, whole

_BY_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_OF_CATEGORIES = ("cat_boundaries", "cat_threshold")
_OF_LINES = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?([eE][+-]?\d{1,4})?|inf|nan)")
_HEAD = {
    "version": r"v\d",
    "num_class": r"\d{1,6}",
    "num_tree_per_iteration": r"\d{1,6}",
    "label_index": r"\d{1,9}",
    "max_feature_idx": r"\d{1,9}",
    "objective": r"[a-z0-9_:.+ -]{1,200}",
    "feature_names": r"\S+( \S+)*",
    "feature_infos": r"\S+( \S+)*",
}


def checked_lightgbm(text: str, file: str) -> str:
    """The model as its library reads it, with nothing but what answers need.

    Raises ModelError where the text is cut off, a tree is none, a leaf is not finite, or columns were categories of pandas.
    """
    head, _, rest = text.partition("\n\n")
    settings = _pairs(head)
    if not text.startswith("tree\n"):
        raise broken(file, repr(text[:40]))
    for name, pattern in _HEAD.items():
        if not re.fullmatch(pattern, settings.get(name, "" if name != "objective" else "custom")):
            raise broken(file, f"{name}={settings.get(name, '')[:80]}")
    columns = int(settings["max_feature_idx"]) + 1
    if any(len(settings[name].split(" ")) != columns for name in ("feature_names", "feature_infos")):
        raise broken(file, f"{columns} features, but more or fewer names")
    sizes = [int(size) for size in re.findall(r"\d+", settings.get("tree_sizes", ""))]
    classes = int(settings["num_tree_per_iteration"])
    if not classes or len(sizes) % classes or int(settings["num_class"]) > classes:
        raise broken(file, f"{len(sizes)} trees, {classes} for each of {settings['num_class']} classes")
    blocks, tail = _blocks(rest.lstrip("\n").encode(), sizes, columns, file)
    _check_tail(tail, len(sizes), file)
    lines = ["tree", *(f"{name}={settings[name]}" for name in _HEAD if name in settings)]
    lines += ["average_output"] * ("\naverage_output\n" in f"{head}\n") + [f"tree_sizes={' '.join(str(len(block)) for block in blocks)}"]
    return "\n".join(lines) + "\n\n" + "".join(blocks) + "end of trees\n\npandas_categorical:null\n"


def _blocks(body: bytes, sizes: list[int], columns: int, file: str) -> tuple[list[str], str]:
    """Each tree anew, and what stands behind the last. sizes: of the trees, bytes."""
    blocks, place = [], 0
    for number, size in enumerate(sizes):
        block = body[place : place + size].decode("utf-8", "replace")
        if not block.startswith(f"Tree={number}\n"):
            raise broken(file, f"tree {number} of {len(sizes)} is not where the file says: it is cut off or was edited")
        kept = _checked(f"tree {number}", _pairs(block), columns, file)
        blocks.append("\n".join([f"Tree={number}", *(f"{name}={value}" for name, value in kept.items()), "", "", ""]))
        place += size
    return blocks, body[place:].decode("utf-8", "replace")


def _check_tail(tail: str, trees: int, file: str) -> None:
    if not tail.startswith("end of trees") or ("\nparameters:\n" in tail and "\nend of parameters\n" not in tail):
        raise broken(file, f"{trees} trees without their end: the file is cut off")
    categories = re.search(r"^pandas_categorical:(.*)$", tail, re.MULTILINE)
    if categories is not None and categories[1].strip() not in ("null", "[]", ""):
        raise model_error(
            "the model was trained on categories of pandas, and a row here is numbers",
            file,
            got=categories[1][:80],
            expected="numbers only",
            fix="train it on the numbers of the topology's inputs; `one_hot` makes numbers of texts",
        )


def _checked(tree: str, settings: dict[str, str], columns: int, file: str) -> dict[str, str]:
    """The lines of one tree that answers need."""
    leaves, categories = _whole(settings, "num_leaves", file), _whole(settings, "num_cat", file)
    linear = settings.get("is_linear", "0") == "1"
    values = _floats(settings, "leaf_value", file)
    splits = {name: _floats(settings, name, file) for name in _BY_SPLIT if leaves > 1}
    if not leaves or len(values) != leaves or any(len(array) != leaves - 1 for array in splits.values()):
        raise broken(file, f"{tree} of {leaves} leaves with another number of splits or values")
    if linear and not _lines_fit(settings, leaves, columns, file):
        raise broken(file, f"{tree} of lines whose weights or inputs do not fit")
    if leaves > 1 and not _categories_fit(settings, categories, splits, file):
        raise broken(file, f"{tree} whose categories are beyond their list")
    inner = {name: whole(array, f"{tree}: {name}", file) for name, array in splits.items() if name != "threshold"}
    none = np.zeros(0, dtype=np.int64)
    check_tree(
        tree,
        file,
        nodes=2 * leaves - 1,
        children=(_nodes(inner.get("left_child", none), leaves), _nodes(inner.get("right_child", none), leaves)),
        features=inner.get("split_feature", none),
        columns=columns,
        values=values,
    )
    kept = {"num_leaves": str(leaves), "num_cat": str(categories)} | {name: settings[name] for name in splits}
    kept |= {"leaf_value": settings["leaf_value"]} | {name: settings[name] for name in _OF_CATEGORIES if categories}
    kept |= {"is_linear": str(int(linear))} | {name: settings[name] for name in _OF_LINES if linear}
    return kept | {"shrinkage": "1"}  # the leaves are shrunk already


def _nodes(children: Ints, leaves: int) -> Ints:
    """-1 is the first leaf: numbered behind the splits, of which there are leaves - 1."""
    return np.where(children < 0, leaves - 2 - children, children)


def _categories_fit(settings: dict[str, str], count: int, splits: dict[str, NDArray[np.float64]], file: str) -> bool:
    chosen = splits["threshold"][splits["decision_type"] % 2 == 1]  # the lowest bit: the threshold is the number of a list
    if count == 0:
        return not len(chosen)
    bounds, bits = (whole(_floats(settings, name, file), name, file) for name in _OF_CATEGORIES)
    if len(bounds) != count + 1 or bounds[0] != 0 or bounds[-1] != len(bits) or (np.diff(bounds) < 0).any():
        return False
    return bool(((chosen >= 0) & (chosen < count) & (np.floor(chosen) == chosen)).all())


def _lines_fit(settings: dict[str, str], leaves: int, columns: int, file: str) -> bool:
    """A linear tree has a line in each leaf, of so many inputs."""
    constants, weights = (_floats(settings, f"leaf_{name}", file) for name in ("const", "coeff"))
    inputs = whole(_floats(settings, "leaf_features", file), "leaf_features", file)
    each = whole(_floats(settings, "num_features", file), "num_features", file)
    sound = len(constants) == len(each) == leaves and each.sum() == len(inputs) == len(weights)
    sound = sound and not (each < 0).any()
    within = not len(inputs) or bool(inputs.min() >= 0 and inputs.max() < columns)
    return sound and within and bool(np.isfinite(constants).all() and np.isfinite(weights).all())


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _whole(settings: dict[str, str], name: str, file: str) -> int:
    text = settings.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text):
        raise broken(file, f"{name}={text[:40]}")
    return int(text)


def _floats(settings: dict[str, str], name: str, file: str) -> NDArray[np.float64]:
    words = settings.get(name, "").split()
    if not all(_NUMBER.fullmatch(word) for word in words):
        raise broken(file, f"{name} with words that are no numbers")
    return np.array([float(word) for word in words], dtype=np.float64)
