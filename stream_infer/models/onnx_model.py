"""models.onnx_model: ONNX graphs as models; the only module that imports onnxruntime. onnx_file → *onnx_model* → load."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import onnxruntime

from stream_infer.models.base import as_answers, check_width, model_error
from stream_infer.models.linear import read_columns
from stream_infer.models.onnx_file import check_onnx
from stream_infer.records import Floats, Matrix

INPUTS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
OUTPUTS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(int64)", "tensor(int32)", "tensor(bool)")
QUIET = 4  # the runtime's log levels: fatal only; what goes wrong is raised as well


class OnnxModel:
    """One session on one thread of the CPU. Its products may differ in the last bits between batch sizes."""

    def __init__(self, session: onnxruntime.InferenceSession, columns: tuple[str, ...], digest: str, output: str, file: str) -> None:
        self.columns, self.digest = columns, digest
        self._session, self._output, self._file = session, [output], file
        entries = session.get_inputs()
        self._names = [entry.name for entry in entries]
        self._dtype = INPUTS[entries[0].type]
        # An image or the like: the columns of a row, in C order, are folded into the shape that the graph wants.
        shape = entries[0].shape[1:]
        self._shape = None if len(entries) > 1 or shape == [len(columns)] or len(shape) == 1 else tuple(shape)
        self.outputs = 0
        self.outputs = self.forward(np.zeros((1, len(columns)), dtype=np.float32)).shape[1]

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k]. Returns float64[n, outputs]; ModelError where the graph answers in another shape."""
        check_width(x, self.columns, self._file)
        matrix = np.ascontiguousarray(x, dtype=self._dtype)
        if len(self._names) > 1:
            fed = {name: np.ascontiguousarray(matrix[:, place : place + 1]) for place, name in enumerate(self._names)}
        else:
            fed = {self._names[0]: matrix if self._shape is None else matrix.reshape(len(x), *self._shape)}
        return as_answers(self._session.run(self._output, fed)[0], len(x), self.outputs, self._file)

    @staticmethod
    def from_bytes(data: bytes, columns: tuple[str, ...] = (), output: str | None = None, file: str = "ONNX model") -> OnnxModel:
        """An ONNX file. columns: the topology's, () for what the file says: a list in its metadata, names of its inputs, or numbers.

        output: the name of one of the graph's outputs (default: the only one, or `probabilities`). Raises ModelError for a file that
        is broken, names other files, wants or gives other than one matrix of numbers, or is made for other columns.
        """
        check_onnx(data, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers scale by processes
        options.log_severity_level = QUIET
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=False)
        except Exception as error:  # noqa: BLE001  the runtime raises a dozen kinds of its own; all mean one thing
            raise model_error(
                "the ONNX runtime cannot load the file",
                file,
                got=str(error).replace("\n", " ")[:300],
                expected="an ONNX model of standard operators",
                fix="export it again, for an opset that this version of onnxruntime knows",
            ) from None
        names = _columns(session, columns, file)
        digest = hashlib.sha256(data).hexdigest()
        chosen = _output(session, output, file)
        try:
            return OnnxModel(session, names, digest, chosen, file)
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise _refused(file, str(error).replace("\n", " ")[:300], len(names)) from None
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
            raise _refused(file, str(error).replace("\n", " ")[:300], len(names)) from None


def _columns(session: onnxruntime.InferenceSession, columns: tuple[str, ...], file: str) -> tuple[str, ...]:
    """The names of the inputs, as the file has them or as the topology says; ModelError where the graph wants another width or type."""
    entries = session.get_inputs()
    odd = [f"{entry.name}: {entry.type} {entry.shape}" for entry in entries if entry.type not in INPUTS]
    if odd or not entries:
        raise model_error(
            "the graph does not take a matrix of float32 or float64",
            file,
            got=", ".join(odd)[:200] or "no inputs",
            expected="tensor(float) [n, columns]",
            fix="export it with float32 inputs",
        )
    fixed = next((entry.shape[0] for entry in entries if entry.shape and isinstance(entry.shape[0], int)), None)
    if fixed is not None:
        raise _refused(file, f"a batch of always {fixed} rows", len(columns))
    metadata = session.get_modelmeta().custom_metadata_map
    if len(entries) > 1:
        wide = [entry for entry in entries if math.prod(size if isinstance(size, int) else 1 for size in entry.shape[1:]) != 1]
        if wide:
            got = ", ".join(f"{entry.name} {entry.shape}" for entry in entries)
            raise model_error("the graph takes several matrices", file, got=got[:200], expected="one, or one number each")
        named: tuple[str, ...] = tuple(entry.name for entry in entries)
    else:
        named = read_columns(metadata, file) if "columns" in metadata else ()
    sizes = entries[0].shape[1:]
    dynamic = any(not isinstance(size, int) for size in sizes)
    width = len(entries) if len(entries) > 1 else 0 if dynamic else math.prod(sizes)
    if dynamic and len(sizes) > 1:
        raise model_error("the shape of a row is not fixed", file, got=str(entries[0].shape), expected="(n, columns)")
    names = named or columns or tuple(str(place) for place in range(width))
    if width not in (0, len(names)) or not names:
        raise model_error("the model was made for another number of inputs", file, got=f"{width} columns", expected=f"{len(names)} columns")
    return names


def _output(session: onnxruntime.InferenceSession, wanted: str | None, file: str) -> str:
    entries = {entry.name: entry for entry in session.get_outputs()}
    name = wanted or (next(iter(entries)) if len(entries) == 1 else "probabilities")
    entry = entries.get(name)
    if entry is None:
        raise model_error(
            f"the graph has no output {wanted}" if wanted else "the graph has several outputs",
            file,
            got=", ".join(entries),
            expected="the name of one",
            fix="add `output: …` to the model",
        )
    if entry.type not in OUTPUTS:
        raise model_error(
            f"the output {name} is no matrix of numbers",
            file,
            got=entry.type,
            expected="tensor(float) [n, outputs]",
            fix='export it with options={"zipmap": False}' if entry.type.startswith("seq(map") else "name another output",
        )
    return str(name)


def _refused(file: str, got: str, columns: int) -> Exception:
    return model_error(
        "the graph refuses a batch of one row of the topology's inputs",
        file,
        got=got,
        expected=f"float32[n, {columns or 'columns'}] with n dynamic",
        fix='export it with a batch that is named, e.g. dynamic_axes={"x": {0: "n"}}',
    )
