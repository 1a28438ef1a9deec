"""Model files from folders and URLs. Oracle: what was put there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from stream_infer.edge.artifacts import ADMITTED, ARTIFACT_BYTES_MAX, read_artifact
from stream_infer.errors import EnvironmentMissing, ModelError

DATA = b"weights" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "eta.onnx").write_bytes(DATA)
    return tmp_path


def test_a_path_is_read_below_the_folder(folder: Path) -> None:
    assert read_artifact("models/eta.onnx", str(folder)) == DATA
    assert read_artifact("models/eta.onnx", str(folder), f"sha256:{DIGEST.upper()}") == DATA
    (folder / "empty").touch()
    assert read_artifact("empty", str(folder)) == b""


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "~/key", "models/../../secret", "models\\eta.onnx"])
def test_no_path_leads_outside(folder: Path, path: str) -> None:
    with pytest.raises(ModelError, match="below the folder"):
        read_artifact(path, str(folder))


def test_a_missing_file_is_named_with_what_to_do(folder: Path) -> None:
    with pytest.raises(ModelError) as found:
        read_artifact("gone.onnx", str(folder))
    assert str(found.value).splitlines() == [
        f"{folder}/gone.onnx: there is no such file",
        "    expected: a model file as `artifact`",
        "    fix:      train it, or correct the path",
    ]


def test_a_file_too_large_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "huge").open("wb") as file:
        file.truncate(ARTIFACT_BYTES_MAX + 1)  # a hole: it takes no room
    with pytest.raises(ModelError, match=r"huge: the file is too large(.|\n)*got: +2000000001 bytes or more(.|\n)*at most 2000000000"):
        read_artifact("huge", str(folder))
    for limit in (len(DATA) - 1, 0):
        with pytest.raises(ModelError, match="too large"):
            read_artifact("models/eta.onnx", str(folder), bytes_max=limit)
    assert read_artifact("models/eta.onnx", str(folder), bytes_max=len(DATA)) == DATA


def test_another_file_than_the_pinned_one_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=rf"models/eta.onnx: the file is not the one(.|\n)*sha256 {DIGEST}\n +expected: +sha256 abc"):
        read_artifact("models/eta.onnx", str(folder), "abc")


# ------------------------------------------------------------------------------------------------------------------- URLs


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def places(folder: Path) -> Iterator[dict[str, str]]:
    """The same file at three kinds of places, by their prefix."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/models/eta.onnx", DATA)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {"file": f"file://{folder}/", "memory": "memory://bucket/", "http": f"http://127.0.0.1:{server.server_port}/"}
        server.shutdown()
        thread.join()
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("kind", ["file", "memory", "http"])
def test_a_url_is_read_where_the_operator_admits_it(places: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = places[kind]
    url = prefix + "models/eta.onnx"
    assert read_artifact(url, "", DIGEST, admitted=[prefix]) == DATA
    monkeypatch.setenv(ADMITTED, f"s3://other/ {prefix.removesuffix('/')}")
    assert read_artifact(url, "", DIGEST) == DATA
    with pytest.raises(ModelError, match="not the one that is pinned"):
        read_artifact(url, "", "0" * 64)
    with pytest.raises(ModelError, match="there is no such file"):
        read_artifact(prefix + "models/gone.onnx", "", DIGEST)
    with pytest.raises(ModelError, match="too large"):
        read_artifact(url, "", DIGEST, bytes_max=100)
    with pytest.raises(ModelError, match="a URL without a digest"):
        read_artifact(url, "")


def test_what_was_written_a_moment_ago_is_seen(places: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_artifact("memory://bucket/new", "", DIGEST, admitted=[places["memory"]])
    fsspec.filesystem("memory").pipe_file("/bucket/new", DATA)
    assert read_artifact("memory://bucket/new", "", DIGEST, admitted=[places["memory"]]) == DATA


@pytest.mark.parametrize(
    ("url", "admitted", "message"),
    [
        ("s3://models/eta.onnx", [], f"nobody admitted(.|\n)*no {ADMITTED}(.|\n)*start with {ADMITTED}=s3://models/"),
        ("s3://models-of-others/eta.onnx", ["s3://models"], "nobody admitted"),
        ("https://example.org.evil/eta.onnx", ["https://example.org"], "nobody admitted"),
        ("s3://models/eta.onnx", ["", "models", "/"], "nobody admitted"),
        ("s3://models/open/../secret/eta.onnx", ["s3://models/open/"], "climbs"),
        ("https://example.org/open/%2E%2e/secret", ["https://example.org/open"], "climbs"),
        ("simplecache::s3://models/eta.onnx", ["simplecache::s3://models"], "not of the form"),
        ("zip://eta.onnx::file:///etc/x.zip", ["zip://eta.onnx::file:///etc"], "not of the form"),
        ("s3://models/eta onnx", ["s3://models"], "not of the form"),
    ],
)
def test_places_that_nobody_admitted(url: str, admitted: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_artifact(url, "", DIGEST, admitted=admitted)


@pytest.mark.parametrize("url", ["https://me:hunter2@example.org/eta.onnx", "https://example.org/eta.onnx?token=hunter2"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ModelError, match=r"password|secrets") as found:
        read_artifact(url, "", DIGEST, admitted=["https://example.org/", "https://me:hunter2@example.org/"])
    assert "hunter2" not in str(found.value)


def test_a_package_that_is_missing_is_named() -> None:
    fsspec.register_implementation("nowhere", "no_such_package.FileSystem", errtxt="Install no_such_package")
    with pytest.raises(EnvironmentMissing, match=r"nowhere://a/b: this kind of place(.|\n)*Install no_such_package"):
        read_artifact("nowhere://a/b", "", DIGEST, admitted=["nowhere://a"])
    with pytest.raises(EnvironmentMissing, match="this kind of place"):
        read_artifact("unheard-of://a/b", "", DIGEST, admitted=["unheard-of://a"])


def test_a_place_that_cannot_be_reached_is_the_operator_s_to_mend() -> None:
    with pytest.raises(EnvironmentMissing, match=r"http://127.0.0.1:1/x: it cannot be read"):
        read_artifact("http://127.0.0.1:1/x", "", DIGEST, admitted=["http://127.0.0.1:1/"])
