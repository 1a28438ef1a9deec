"""edge.worker_words: what a process that runs models and its lane say to each other. lane_process ⇄ *worker_words* ⇄ worker_process.

Two socket pairs. On one go passes: a header each way, while the rows and answers lie in the slab. On the other go models: the header,
its words, and the descriptor of the memory in which the artifact's bytes lie. So a model can be loaded while others answer.

A pass in the slab: float32[rows, columns], then float64[rows, outputs] from the next multiple of ALIGN bytes.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import numpy as np

from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix

# what it is; number of the model; its version; rows; bytes of words that follow; seconds
HEADER = struct.Struct("<BxHIIId")
SLAB, RUN, LOAD, FORGET, SET_UP = 1, 2, 3, 4, 5
READY, FAILED, DONE, RAISED, NO_MEMORY = 11, 12, 13, 14, 15
ALIGN = 64
WORDS_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a process is told first. admitted: modules of the user's model classes; parent: the process without which it ends."""

    name: str
    parent: int
    admitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToLoad:
    """A version of a model. number: names it in headers; bytes: of its artifact, None where it has none."""

    number: int
    settings: ModelSettings
    version: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version is ready, and this is what it says of itself. mean: by which it standardises, where it tells."""

    columns: tuple[str, ...]
    outputs: int
    digest: str
    mean: Floats | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """As in HEADER."""

    kind: int
    number: int = 0
    version: int = 0
    rows: int = 0
    words: int = 0
    seconds: float = 0.0


def send(to: socket.socket, header: Header, words: bytes = b"", descriptor: int | None = None) -> None:
    """A header, its words, and perhaps a file."""
    data = HEADER.pack(header.kind, header.number, header.version, header.rows, len(words), header.seconds) + words
    if descriptor is None:
        to.sendall(data)
    else:
        sent = socket.send_fds(to, [data], [descriptor])
        to.sendall(data[sent:])


def receive(at: socket.socket) -> tuple[Header, bytes] | None:
    """The next header and its words; None when the other side is gone. TimeoutError as the socket is set."""
    data = _exactly(at, HEADER.size)
    return None if data is None else _whole(at, data)


def receive_file(at: socket.socket) -> tuple[Header, bytes, int | None] | None:
    """As receive, with the file that came along."""
    data, files, _, _ = socket.recv_fds(at, HEADER.size, 1)
    if data and len(data) < HEADER.size:
        more = _exactly(at, HEADER.size - len(data))
        data = b"" if more is None else data + more
    found = _whole(at, data) if data else None
    return None if found is None else (*found, files[0] if files else None)


def _whole(at: socket.socket, data: bytes) -> tuple[Header, bytes] | None:
    header = Header(*HEADER.unpack(data))
    assert header.words <= WORDS_BYTES_MAX, "not a header"
    words = _exactly(at, header.words) if header.words else b""
    return None if words is None else (header, words)


def _exactly(at: socket.socket, count: int) -> bytes | None:
    data = at.recv(count)
    while 0 < len(data) < count:
        more = at.recv(count - len(data))
        if not more:
            return None
        data += more
    return data or None


def pass_bytes(rows: int, columns: int, outputs: int) -> int:
    """Of a slab, for a pass of so many rows."""
    return _up(rows * columns * 4) + _up(rows * outputs * 8)


def inputs_in(memory: memoryview, rows: int, columns: int) -> Matrix:
    """float32[rows, columns], in the slab itself."""
    return np.frombuffer(memory, np.float32, rows * columns).reshape(rows, columns)


def outputs_in(memory: memoryview, rows: int, columns: int, outputs: int) -> Floats:
    """float64[rows, outputs], in the slab itself."""
    return np.frombuffer(memory, np.float64, rows * outputs, _up(rows * columns * 4)).reshape(rows, outputs)


def _up(count: int) -> int:
    return -(-count // ALIGN) * ALIGN
