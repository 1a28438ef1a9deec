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
    made.flush()
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
    folder.flush()
    found = folder.load(TASK, 200)
    assert found is not None
    assert (list(found[0]), found[1]) == (["spent"], 200)
    assert path(tmp_path).name == "by-user-3.snapshot"


def test_tasks_do_not_share_files(folder: SnapshotFolder) -> None:
    folder.save(("by-user", 30), {"spent": {}}, 7)
    folder.flush()
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


def with_head(file: Path, old: bytes, new: bytes) -> None:
    """Another first line, with the checksum that it should have."""
    line, _, data = file.read_bytes().partition(b"\n")
    line = line[9:].replace(old, new)
    file.write_bytes(b"%08x " % zlib.crc32(line) + line + b"\n" + data)


def test_a_file_of_a_later_format_is_passed_over(folder: SnapshotFolder, tmp_path: Path) -> None:
    with_head(path(tmp_path), b'"format": 2', b'"format": 3')
    assert folder.load(TASK, 100) is None
    with_head(path(tmp_path), b'"format": 3', b'"format": 2')
    assert folder.load(TASK, 100) is not None


def test_arrays_of_python_objects_are_not_made(folder: SnapshotFolder, tmp_path: Path) -> None:
    """Their bytes would be taken for addresses."""
    folder.save(TASK, {"spent": {"sums": np.arange(3, dtype=np.int64)}}, 100)
    folder.flush()
    with_head(path(tmp_path), b"<i8".hex().encode(), b"|O8".hex().encode())
    assert folder.load(TASK, 100) is None


def test_rows_of_several_fields_and_of_any_order_come_back(folder: SnapshotFolder) -> None:
    rows = np.zeros(3, dtype=[("a", "<i8"), ("b", "<f4", (2,))])
    rows["b"][1] = 7
    table = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    folder.save(TASK, {"spent": {"rows": rows, "table": table, "one": np.array(5)}}, 100)
    folder.flush()
    found = folder.load(TASK, 100)
    assert found is not None
    assert found[0]["spent"]["rows"].tobytes() == rows.tobytes()
    assert found[0]["spent"]["rows"].dtype == rows.dtype
    assert found[0]["spent"]["table"].tolist() == table.tolist()
    assert found[0]["spent"]["one"].shape == ()


def test_a_folder_that_cannot_be_written_to_stops_nobody(folder: SnapshotFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.save(("no/such/folder", 0), {"spent": {}}, 7)
    folder.flush()
    assert "no/such/folder[0] could not be written" in caplog.text
    folder.save(TASK, SNAPSHOT, 101)
    folder.flush()
    assert folder.load(TASK, 100) is None
    assert folder.load(TASK, 101) is not None


def test_what_a_killed_process_left_half_written_goes_in_time(folder: SnapshotFolder, tmp_path: Path) -> None:
    for name, age_s in (("old", 7_200), ("fresh", 0)):
        left = tmp_path / "state" / f"{name}.tmp"
        left.write_bytes(b"half")
        os.utime(left, (time.time() - age_s, time.time() - age_s))
    SnapshotFolder(tmp_path / "state", STAMP)
    assert sorted(p.name for p in (tmp_path / "state").glob("*.tmp")) == ["fresh.tmp"]
