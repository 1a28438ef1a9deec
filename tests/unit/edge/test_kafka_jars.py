"""The jars: only what the lock names is ever used; a fetch that fails leaves nothing half-done."""

from __future__ import annotations

import gc
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stream_infer.edge import kafka_process
from stream_infer.edge.kafka_jars import Jar, cache_folder, ensure, locked_jars, parse_lock
from stream_infer.edge.kafka_settings import KAFKA_VERSION
from stream_infer.errors import EnvironmentMissing

GOOD = b"what the lock was made from"
JAR = Jar("org.example.deep:thing_2.13:1.2", hashlib.sha256(GOOD).hexdigest())

# jgo leaves the answer to a fetch that failed to the garbage collector, which then complains about its socket.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Complaints about sockets come in the test that caused them, where they are expected."""
    yield
    gc.collect()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository of one's own; yields the file that is served as the jar."""
    served = tmp_path / "repository" / "org/example/deep/thing_2.13/1.2/thing_2.13-1.2.jar"
    served.parent.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Quiet(*args, directory=str(tmp_path / "repository")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("STREAM_INFER_MAVEN_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_jar_is_fetched_once_and_then_needs_no_network(mirror: Path, tmp_path: Path) -> None:
    mirror.write_bytes(GOOD)
    said: list[str] = []
    paths = ensure(said.append, folder=tmp_path / "cache", jars=(JAR,))
    assert [path.read_bytes() for path in paths] == [GOOD]
    assert len(said) == 2
    mirror.unlink()
    assert ensure(said.append, folder=tmp_path / "cache", jars=(JAR,)) == paths
    assert len(said) == 2


def test_a_jar_with_another_hash_is_named_and_not_kept(mirror: Path, tmp_path: Path) -> None:
    mirror.write_bytes(b"something else")
    with pytest.raises(EnvironmentMissing, match=f"thing_2.13-1.2.jar is not the file(.|\n)*expected: *sha256 {JAR.sha256}"):
        ensure(str, folder=tmp_path / "cache", jars=(JAR,))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cached_jar_that_changed_is_refused_at_every_start(mirror: Path, tmp_path: Path) -> None:
    mirror.write_bytes(GOOD)
    (path,) = ensure(str, folder=tmp_path / "cache", jars=(JAR,))
    path.write_bytes(GOOD[:-1])
    with pytest.raises(EnvironmentMissing, match=f"fix: *delete {re.escape(str(path))}"):
        ensure(str, folder=tmp_path / "cache", jars=(JAR,))


def test_a_jar_that_is_not_there_is_named(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match=re.escape("cannot fetch org.example.deep:thing_2.13:1.2")):
        ensure(str, folder=tmp_path / "cache", jars=(JAR,))
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, _ = kafka_process.free_ports()
    monkeypatch.setenv("STREAM_INFER_MAVEN_MIRROR", f"http://127.0.0.1:{port}")
    with pytest.raises(EnvironmentMissing, match=r"cannot fetch(.|\n)*ConnectionError(.|\n)*STREAM_INFER_BOOTSTRAP"):
        ensure(str, folder=tmp_path, jars=(JAR,))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentMissing, match="STREAM_INFER_CACHE to another folder"):
        ensure(str, folder=tmp_path / "file" / "cache", jars=(JAR,))


def test_the_cache_is_the_users() -> None:
    assert cache_folder({"STREAM_INFER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a") / f"kafka-{KAFKA_VERSION}"
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/stream-infer") / f"kafka-{KAFKA_VERSION}"
    assert cache_folder({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache/stream-infer" / f"kafka-{KAFKA_VERSION}"


def test_the_lock_is_whole() -> None:
    jars = locked_jars()
    assert f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}" in [jar.coordinate for jar in jars]
    assert all(re.fullmatch(r"[\w.-]+:[\w.-]+:[\w.-]+", jar.coordinate) for jar in jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)  # they lie in one folder


def test_a_lock_may_have_comments_and_empty_lines() -> None:
    assert parse_lock("# why\n\na:b:1 00\n") == (Jar("a:b:1", "00"),)
