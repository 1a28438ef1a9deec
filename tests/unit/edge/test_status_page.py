"""Real sockets on loopback, free ports. Oracle: what a client reads."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stream_infer.edge.health import Health
from stream_infer.edge.status_page import CONNECTIONS_MAX, StatusPage
from stream_infer.edge.telemetry import Telemetry
from stream_infer.errors import EnvironmentMissing


class Rig:
    def __init__(self) -> None:
        self.health = Health(("models loaded",))
        self.telemetry = Telemetry("flights")
        self.page = StatusPage(self.health, self.telemetry, status=lambda: {"rows": 7}, connection_s_max=0.4)

    def ask(self, path: str, method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(*self.page.address, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        with socket.create_connection(self.page.address, timeout=5) as client:
            client.sendall(sent)
            return until_closed(client)


def until_closed(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(4096):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def eventually_answers(rig: Rig) -> bool:
    """A place becomes free a moment after its client was cut off."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            return rig.ask("/livez")[0] == 200
        except (http.client.RemoteDisconnected, ConnectionError):
            continue
    return False


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    with found.page:
        yield found


def test_health_says_what_is_missing(rig: Rig) -> None:
    assert rig.ask("/livez")[:2] == (200, "ok\n")
    assert rig.ask("/readyz")[:2] == (503, "models loaded: not yet\n")
    assert rig.ask("/startupz")[0] == 503
    rig.health.holds("models loaded")
    assert rig.ask("/readyz")[:2] == (200, "ok\n") == rig.ask("/startupz?verbose=1")[:2]
    rig.health.fail("fenced")
    assert rig.ask("/livez")[:2] == (503, "fatal: fenced\n")


def test_metrics_and_status(rig: Rig) -> None:
    rig.telemetry.rows_read("scheduled", 42)
    status, body, headers = rig.ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'stream_infer_records_in_total{pipeline="flights",topic="scheduled"} 42.0' in body
    status, body, headers = rig.ask("/status")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "wrong": {"alive": [], "ready": ["models loaded: not yet"], "started": ["models loaded: not yet"]},
        "rows": 7,
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_only_get_is_answered(rig: Rig, method: str) -> None:
    status, _, headers = rig.ask("/livez", method)
    assert (status, headers["Allow"]) == (405, "GET")


def test_other_paths_are_refused(rig: Rig) -> None:
    for path in ("/", "/livez/", "/livez/x", "/../etc/passwd", "/metrics%00"):
        assert rig.ask(path)[0] == 404
    assert rig.ask("/" + "a" * 300)[0] == 414
    assert rig.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")[:12] in (b"HTTP/1.1 414", b"HTTP/1.0 414", b"")
    assert b" 400 " in rig.raw(b"\xff\xfe nonsense here\r\n\r\n")[:40]
    assert rig.ask("/livez")[0] == 200


def test_a_client_that_dribbles_is_cut_off_and_does_not_keep_others_out(rig: Rig) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(rig.page.address, timeout=5)) for _ in range(CONNECTIONS_MAX)]
        for client in idle:
            client.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        # Every byte comes long before a per-read timeout would end: only the limit on the whole connection helps.
        idle[0].settimeout(0.02)
        while True:
            try:
                idle[0].sendall(b"x")
                idle[0].recv(1)
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        assert all(until_closed(client) == b"" for client in idle[1:])
    assert eventually_answers(rig)


def test_a_taken_port_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentMissing) as caught:
            StatusPage(Health(), Telemetry("flights"), port=port)
    text = str(caught.value)
    assert text.splitlines()[0] == "the status page cannot listen"
    assert f"127.0.0.1:{port}: Address already in use" in text
    assert "expected: a free port" in text
    assert "choose another port" in text


def test_the_port_is_free_again_after_the_end() -> None:
    with StatusPage(Health(), Telemetry("flights")) as first:
        address = first.address
    with StatusPage(Health(), Telemetry("flights"), port=address[1]) as second:
        assert second.address == address
    StatusPage(Health(), Telemetry("flights")).close()  # never started
