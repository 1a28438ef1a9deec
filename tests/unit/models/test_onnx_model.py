"""ONNX graphs of other forms: refused before they can answer, or answered as they say. Oracle: numpy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from stream_infer.errors import ModelError
from tests.unit.models.makers import COLUMNS, load, onnx_graph, rows

FLOAT, DOUBLE, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64
NODE = onnx.helper.make_node


def test_an_infinity_in_onnx_may_be_meant() -> None:
    clip = onnx_graph(NODE("Min", ["x", "top"], ["y"]), weights={"top": np.array([np.inf], dtype=np.float32)})
    assert load("onnx", clip).forward(rows(2)) == pytest.approx(rows(2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: onnx_graph(NODE("Cast", ["x"], ["y"], to=FLOAT), x=(INT64, ["n", 3])), "does not take a matrix of float32(.|\n)*int64"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, [4, 3])), "refuses a batch of one row(.|\n)*always 4 rows"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, ["n", 2])), "another number of inputs"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, ["n", "m", 3])), "shape of a row is not fixed"),
        (lambda: onnx_graph(NODE("ReduceMean", ["x"], ["y"], axes=[0])), "does not follow the batch"),
        (
            lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), NODE("Neg", ["x"], ["z"]), outputs={"y": (FLOAT, None), "z": (FLOAT, None)}),
            "several outputs(.|\n)*got: +y, z",
        ),
        (lambda: onnx_graph(NODE("Nonsense", ["x"], ["y"])), "runtime cannot load(.|\n)*Nonsense"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"], domain="my.company")), "runtime cannot load"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), metadata={"columns": '["a", "c", "b"]'}), "column 1 of the model"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), metadata={"columns": "a, b, c"}), "does not name the input columns"),
    ],
)
def test_onnx_graphs_of_another_form(data: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load("onnx", data())


def test_onnx_in_float64_as_an_image_as_single_numbers_and_by_the_name_of_an_output() -> None:
    x = rows(5)
    double = onnx_graph(NODE("Neg", ["x"], ["y"]), x=(DOUBLE, ["n", 3]), outputs={"y": (DOUBLE, ["n", 3])})
    assert load("onnx", double).forward(x) == pytest.approx(-x)
    image = onnx_graph(
        NODE("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
        weights={"axes": np.array([1, 2], dtype=np.int64)},
        x=(FLOAT, ["n", 1, 3]),
        outputs={"y": (FLOAT, ["n"])},
    )
    assert load("onnx", image).forward(x)[:, 0] == pytest.approx(x.sum(axis=1), rel=1e-5)
    single = {name: (FLOAT, ["n", 1]) for name in COLUMNS}
    sums = onnx_graph(NODE("Sum", list(COLUMNS), ["y"]), inputs=single)
    assert load("onnx", sums).forward(x)[:, 0] == pytest.approx(x.sum(axis=1), rel=1e-5)
    with pytest.raises(ModelError, match="column 0 of the model"):
        load("onnx", sums, columns=("b", "a", "c"))
    two = onnx_graph(NODE("Relu", ["x"], ["y"]), NODE("Neg", ["x"], ["z"]), outputs={"y": (FLOAT, None), "z": (FLOAT, None)})
    assert load("onnx", two, output="z").forward(x) == pytest.approx(-x)
    with pytest.raises(ModelError, match=r"no output w(.|\n)*got: +y, z"):
        load("onnx", two, output="w")
