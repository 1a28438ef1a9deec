"""scoring: what both Python peers of Crayfish do with an event: read its numbers, run the model, write the answer. → *scoring*.

The quickest way found in plain Python: the numbers are cut out of the JSON text and parsed as one list by orjson, the answer is spliced
into the record. ONNX Runtime with one thread, as the paper sets it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import onnxruntime
import orjson

BOOTSTRAP, GROUP, FOLDER = os.environ["BENCH_BOOTSTRAP"], os.environ["BENCH_GROUP"], os.environ["BENCH_FOLDER"]
IN, OUT = os.environ["BENCH_IN"], os.environ["BENCH_OUT"]
COMMIT_S = int(os.environ["BENCH_COMMIT_MS"]) / 1000
PARTITIONS = int(os.environ["BENCH_PARTITIONS"])
EXACTLY_ONCE = os.environ["BENCH_GUARANTEE"] == "exactly_once"
BINARY = os.environ["CRAYFISH_WIRE"] == "binary"
BYTES_MAX = 50_000_000  # the paper's
_NUMBERS, _UNANSWERED = b'"dataPoint":"', b'"prediction":null}'

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = _options.inter_op_num_threads = 1
_session = onnxruntime.InferenceSession(os.environ["CRAYFISH_MODEL"], _options, providers=["CPUExecutionProvider"])
_input = _session.get_inputs()[0]
WIDTH: int = _input.shape[1]


def _long(record: bytes, at: int) -> tuple[int, int]:
    raw = shift = 0
    while True:
        byte = record[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return raw >> 1, at


def _varint(value: int) -> bytes:
    raw, out = value << 1, bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


def _read(record: bytes) -> np.ndarray:
    if BINARY:
        _, at = _long(record, 0)
        size, at = _long(record, at)
        return np.frombuffer(record, "<f4", size // 4, at).reshape(-1, WIDTH)
    begin = record.index(_NUMBERS) + len(_NUMBERS)
    text = record[begin : record.index(b'"', begin)].rstrip(b",")
    return np.array(orjson.loads(b"[" + text + b"]"), dtype=np.float32).reshape(-1, WIDTH)


def _write(record: bytes, answer: np.ndarray) -> bytes:
    if BINARY:
        created, _ = _long(record, 0)
        numbers = answer.astype("<f8")
        return _varint(numbers.size) + numbers.tobytes() + b"\x00" + _varint(created)
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if record.endswith(_UNANSWERED):
        return record[: -len(b"null}")] + b'"' + text + b'"}'
    return orjson.dumps({**orjson.loads(record), "prediction": text.decode()})


def scored(record: bytes) -> bytes:
    """One event, one run of the model."""
    return _write(record, _session.run(None, {_input.name: _read(record)})[0])


def scored_together(records: Sequence[bytes]) -> list[bytes]:
    """Several events, one run of the model."""
    parts = [_read(record) for record in records]
    answers = _session.run(None, {_input.name: np.concatenate(parts)})[0]
    edges = np.cumsum([len(part) for part in parts])[:-1]
    return [_write(record, answer) for record, answer in zip(records, np.split(answers, edges), strict=True)]
