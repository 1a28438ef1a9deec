"""models.xgboost_file: XGBoost's JSON and UBJSON, looked through before the library reads them. boosted_trees, ubjson → *xgboost_file*."""

from __future__ import annotations

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.models.base import model_error
from stream_infer.models.boosted_trees import Ints, broken, check_tree, whole
from stream_infer.models.ubjson import UbjsonReader

_BY_NODE = (
    *("left_children", "right_children", "parents", "split_conditions", "split_indices", "default_left"),
    *("base_weights", "loss_changes", "sum_hessian", "split_type"),
)
_WHOLE = ("left_children", "right_children", "parents", "split_indices", "default_left", "split_type")
NO_CHILD = -1
NOTHING = 2**31 - 1  # the parent of a root, and the input of a node that pruning has deleted
CATEGORY_MAX = 16_777_216  # the largest that its float32 tells from the next


def checked_xgboost(data: bytes, file: str) -> bytes:
    """The model as JSON, written anew from what was read here: the library's reader of UBJSON runs past the end of broken lists.

    Raises ModelError where the bytes are no model of gbtree or dart, are cut off, or hold a tree that is none or a leaf not finite.
    """
    model = _parsed(data, file)
    learner = _at(model, "learner", file)
    columns = int(_floats(_at(_at(learner, "learner_model_param", file), "num_feature", file), "num_feature", file)[0])
    booster = _at(learner, "gradient_booster", file)
    name = _at(booster, "name", file)
    if name not in ("gbtree", "dart"):
        fix = "train it with booster=gbtree"
        raise model_error("the booster is not read here", file, got=str(name), expected="gbtree or dart", fix=fix)
    inner = _at(booster, "gbtree", file) if name == "dart" else booster
    model_of = _at(inner, "model", file)
    trees = _at(model_of, "trees", file)
    if not isinstance(trees, list):
        raise broken(file, "trees that are no list")
    _check_order(model_of, len(trees), _at(learner, "learner_model_param", file), file)
    if name == "dart" and len(_floats(_at(booster, "weight_drop", file), "weight_drop", file)) != len(trees):
        raise broken(file, "another number of weights than of trees")
    for number, tree in enumerate(trees):
        _check(f"tree {number}", tree, columns, file)
    return orjson.dumps(model, option=orjson.OPT_SERIALIZE_NUMPY)


def _check_order(model: object, trees: int, params: object, file: str) -> None:
    """To which class each tree belongs, and with which each round begins."""
    classes = max(int(_floats(_at(params, name, file), name, file)[0]) for name in ("num_class", "num_target"))
    classes_of = whole(_floats(_at(model, "tree_info", file), "tree_info", file), "tree_info", file)
    if len(classes_of) != trees or (trees and not (classes_of.min() >= 0 and classes_of.max() < max(classes, 1))):
        raise broken(file, f"{trees} trees of other classes than there are")
    begins = whole(_floats(_at(model, "iteration_indptr", file), "iteration_indptr", file), "iteration_indptr", file)
    if not len(begins) or begins[0] != 0 or begins[-1] != trees or (np.diff(begins) < 0).any():
        raise broken(file, "rounds that are not made of the trees")


def _check(tree: str, fields: object, columns: int, file: str) -> None:
    nodes = {name: _floats(_at(fields, name, file), name, file) for name in _BY_NODE}
    lengths = sorted({len(array) for array in nodes.values()})
    if len(lengths) != 1 or not lengths[0]:
        raise broken(file, f"{tree} whose lists have {lengths} entries")
    said = _at(_at(fields, "tree_param", file), "num_nodes", file)
    if str(said) != str(lengths[0]):
        raise broken(file, f"{tree} of {said} nodes whose lists have {lengths[0]} entries")
    exact = {key: whole(nodes[key], f"{tree}: {key}", file) for key in _WHOLE}
    left, right, asked, parents = (exact[key] for key in ("left_children", "right_children", "split_indices", "parents"))
    split = left != NO_CHILD
    if not np.array_equal(split, right != NO_CHILD):
        raise broken(file, f"{tree} with a node of one child")
    if not (((asked >= 0) & (asked < columns)) | ((asked == NOTHING) & ~split)).all():
        raise broken(file, f"{tree} that asks for input {asked[(asked < 0) | (asked >= columns)][0]} of {columns}")
    if not (((parents >= 0) & (parents < len(parents))) | (parents == NOTHING)).all():
        raise broken(file, f"{tree} with a parent that is no node")
    _check_categories(tree, fields, exact["split_type"], split, file)
    with np.errstate(over="ignore"):  # what is too large for its float32 is infinite there
        values = nodes["split_conditions"][~split].astype(np.float32).astype(np.float64)
    check_tree(
        tree,
        file,
        nodes=len(left),
        children=(left[split], right[split]),
        features=asked[split],
        columns=columns,
        values=values,
    )


def _check_categories(tree: str, fields: object, kinds: Ints, split: NDArray[np.bool_], file: str) -> None:
    """Splits by category: which node has which part of one list."""
    names = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    chosen, nodes, begins, sizes = (whole(_floats(_at(fields, name, file), name, file), f"{tree}: {name}", file) for name in names)
    if not np.array_equal(np.flatnonzero((kinds == 1) & split), np.sort(nodes)) or ((kinds != 0) & (kinds != 1)).any():
        raise broken(file, f"{tree} whose splits by category have no list")
    sound = len(nodes) == len(begins) == len(sizes) and not ((begins < 0) | (sizes < 0) | (begins + sizes > len(chosen))).any()
    if not sound or ((chosen < 0) | (chosen > CATEGORY_MAX)).any():
        raise broken(file, f"{tree} whose categories are beyond their list")


def _parsed(data: bytes, file: str) -> object:
    # Both begin with a brace; JSON goes on with a name, or nothing but blanks before it.
    if data[:1] != b"{":
        raise broken(file, repr(data[:20]))
    if data[1:2] in (b'"', b" ", b"\n", b"\r", b"\t", b"}"):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise broken(file, f"no JSON: {error}") from None
    return UbjsonReader(data, file).whole()


def _at(value: object, name: str, file: str) -> object:
    if not isinstance(value, dict) or name not in value:
        raise broken(file, f"no {name}")
    return value[name]


def _floats(value: object, name: str, file: str) -> NDArray[np.float64]:
    try:
        return np.atleast_1d(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise broken(file, f"{name} that is no list of numbers") from None
