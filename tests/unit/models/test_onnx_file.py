"""What is seen in an ONNX file before a runtime reads it. Oracle: the onnx package, which wrote it and reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.onnx_file import DEPTH_MAX, check_onnx
from tests.unit.models.makers import onnx_file, onnx_net

NODE = onnx.helper.make_node
NAN = np.array([1.0, np.nan])


def test_a_sound_file_passes() -> None:
    check_onnx(onnx_net(), "net.onnx")


def test_weights_in_another_file_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    model = onnx.load_from_string(onnx_net())
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0, location="weights")
    with pytest.raises(ModelError, match=r"net.onnx: tensor \w+ lies in another file"):
        check_onnx((tmp_path / "net.onnx").read_bytes(), "net.onnx")


def far(tensor: onnx.TensorProto) -> onnx.TensorProto:
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    return tensor


def everywhere(tensor: onnx.TensorProto) -> dict[str, onnx.ModelProto]:
    """The same tensor at each place where a file may hold one."""
    graph = onnx.helper.make_graph([], "inner", [], [], [tensor])
    sparse = onnx.SparseTensorProto(values=tensor, dims=[2])
    nodes = {
        "attribute": NODE("Constant", [], ["y"], value=tensor),
        "attributes": NODE("Odd", [], ["y"], values=[tensor, tensor]),
        "sparse": NODE("Constant", [], ["y"], sparse_value=sparse),
        "subgraph": NODE("If", ["c"], ["y"], then_branch=graph, else_branch=graph),
        "subgraphs": NODE("Odd", [], ["y"], graphs=[graph, graph]),
    }
    found = {name: onnx_file([node], {}) for name, node in nodes.items()}
    found["initializer"] = onnx_file([], {})
    found["initializer"].graph.initializer.append(tensor)
    found["sparse initializer"] = onnx_file([], {})
    found["sparse initializer"].graph.sparse_initializer.append(sparse)
    found["function"] = onnx_file([], {})
    function = onnx.helper.make_function("mine", "f", [], ["y"], [nodes["attribute"]], [onnx.helper.make_opsetid("", 17)])
    found["function"].functions.append(function)
    found["training"] = onnx_file([], {})
    found["training"].training_info.append(onnx.TrainingInfoProto(algorithm=graph))
    return found


@pytest.mark.parametrize("place", sorted(everywhere(onnx.numpy_helper.from_array(np.ones(2), "w"))))
def test_no_place_is_forgotten(place: str) -> None:
    check_onnx(everywhere(onnx.numpy_helper.from_array(np.ones(2), "w"))[place].SerializeToString(), "f")
    with pytest.raises(ModelError, match="w lies in another file"):
        check_onnx(everywhere(far(onnx.numpy_helper.from_array(np.ones(2), "w")))[place].SerializeToString(), "f")
    with pytest.raises(ModelError, match="w holds NaN"):
        check_onnx(everywhere(onnx.numpy_helper.from_array(NAN, "w"))[place].SerializeToString(), "f")


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("raw", [True, False])
def test_nan_is_found_in_every_type(kind: str, raw: bool) -> None:
    if not raw and kind.endswith("16"):
        return  # those are kept as integers there
    for numbers, wrong in ((NAN, True), (np.array([1.0, np.inf, -np.inf, 0.0]), False)):
        code = getattr(onnx.TensorProto, kind)
        if raw:
            array = numbers.astype(onnx.helper.tensor_dtype_to_np_dtype(code))
            tensor = onnx.helper.make_tensor("w", code, [len(numbers)], array.tobytes(), raw=True)
        else:
            tensor = onnx.helper.make_tensor("w", code, [len(numbers)], numbers.tolist())
        data = everywhere(tensor)["initializer"].SerializeToString()
        if wrong:
            with pytest.raises(ModelError, match="w holds NaN"):
                check_onnx(data, "f")
        else:
            check_onnx(data, "f")


def test_graphs_within_graphs_have_an_end() -> None:
    def field(number: int, body: bytes) -> bytes:
        size = len(body)
        text = bytes([number << 3 | 2])
        while size >= 0x80:
            text, size = text + bytes([size & 0x7F | 0x80]), size >> 7
        return text + bytes([size]) + body

    body = b""
    for _ in range(DEPTH_MAX):
        body = field(1, field(5, field(6, body)))
    with pytest.raises(ModelError, match="graphs within graphs"):
        check_onnx(field(7, body), "f")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_onnx_are_refused_or_hold_nothing(data: bytes) -> None:
    try:
        check_onnx(data, "f")
    except ModelError:
        return
    try:
        model = onnx.load_from_string(data)
    except Exception:  # noqa: BLE001 — any refusal is fine: nothing is answered
        return
    assert not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer)
