"""Snapshots in files. Oracle: what was saved, array by array."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from stream_infer.edge.snapshots import AGE_S_MAX, SnapshotFolder

TASK = ("by-user", 3)
STAMP = "a" * 64
SNAPSHOT = {
    "spent": {"sums": np.arange(12, dtype=np.int64).reshape(3, 4), "keys": np.frombuffer(b"annbob", dtype=np.uint8)},
    "before/after": {"a/b": np.array([np.nan, -0.0]), "empty": np.zeros((0, 3), dtype=np.float32)},
    "nothing": {},
    "\x00task": {"positions": np.frombuffer(b"{}", dtype=np.uint8)},
}


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    made = SnapshotFolder(tmp_path / "state", STAMP)
    made.save(TASK, SNAPSHOT, 100)
    return made


def path(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "state").iterdir()
    return found


def test_what_was_saved_comes_back_to_the_bit(folder: SnapshotFolder) -> None:
    found = folder.load(TASK, 100)
    assert found is not None
    snapshot, end = found
    assert end == 100
    assert {store: set(arrays) for store, arrays in snapshot.items()} == {store: set(arrays) for store, arrays in SNAPSHOT.items()}
    for store, arrays in SNAPSHOT.items():
        for name, array in arrays.items():
            assert (snapshot[store][name].dtype, snapshot[store][name].shape) == (array.dtype, array.shape)
            assert snapshot[store][name].tobytes() == array.tobytes()


def test_a_later_one_takes_the_place_and_nothing_else_is_left(folder: SnapshotFolder, tmp_path: Path) -> None:
    folder.save(TASK, {"spent": {"sums": np.ones(1)}}, 200)
    found = folder.load(TASK, 200)
    assert found is not None
    assert (list(found[0]), found[1]) == (["spent"], 200)
    assert path(tmp_path).name == "by-user-3.snapshot"


def test_tasks_do_not_share_files(folder: SnapshotFolder) -> None:
    folder.save(("by-user", 30), {"spent": {}}, 7)
    assert folder.load(("by-user", 30), 7) == ({"spent": {}}, 7)
    assert folder.load(("by-user", 4), 7) is None
    assert folder.load(TASK, 100) is not None


def test_one_that_is_newer_than_the_changelog_belongs_to_another_changelog(folder: SnapshotFolder) -> None:
    assert folder.load(TASK, 99) is None
    assert folder.load(TASK, 101) is not None


def test_one_that_is_older_than_the_changelogs_tombstones_is_passed_over(folder: SnapshotFolder, tmp_path: Path) -> None:
    old = time.time() - AGE_S_MAX - 1
    os.utime(path(tmp_path), (old, old))
    assert folder.load(TASK, 100) is None


def test_one_of_another_topology_or_cluster_is_passed_over(folder: SnapshotFolder, tmp_path: Path) -> None:
    assert SnapshotFolder(tmp_path / "state", "b" * 64).load(TASK, 100) is None


def test_a_flipped_bit_anywhere_is_seen(folder: SnapshotFolder, tmp_path: Path) -> None:
    """In the head above all: another name of a store, or another offset, would be believed."""
    file = path(tmp_path)
    whole = file.read_bytes()
    head = whole.index(b"\n")
    for place in [*range(head + 1), *range(head + 1, len(whole), 197)]:
        for bit in (0, 4):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert folder.load(TASK, 1000) is None, (place, bit)
    file.write_bytes(whole)
    assert folder.load(TASK, 1000) is not None


def test_a_file_cut_anywhere_is_seen(folder: SnapshotFolder, tmp_path: Path) -> None:
    file = path(tmp_path)
    whole = file.read_bytes()
    for size in range(0, len(whole), 13):
        file.write_bytes(whole[:size])
        assert folder.load(TASK, 1000) is None, size


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 1}\nand more', b"\xff\xfe", b"00000000 null"])
def test_a_file_of_something_else_is_passed_over(folder: SnapshotFolder, tmp_path: Path, content: bytes) -> None:
    path(tmp_path).write_bytes(content)
    assert folder.load(TASK, 100) is None


def test_a_file_of_a_later_format_is_passed_over(folder: SnapshotFolder, tmp_path: Path) -> None:
    body = path(tmp_path).read_bytes()[9:].replace(b'"format": 1', b'"format": 2')
    path(tmp_path).write_bytes(f"{zlib.crc32(body):08x} ".encode() + body)
    assert folder.load(TASK, 100) is None
    body = body.replace(b'"format": 2', b'"format": 1')
    path(tmp_path).write_bytes(f"{zlib.crc32(body):08x} ".encode() + body)
    assert folder.load(TASK, 100) is not None
