"""edge.status_page: health and metrics over HTTP, for orchestrators and Prometheus. telemetry, health → *status page*.

    /livez     is the process alive?            200, or 503 with the reasons
    /readyz    may rows be sent to it?          200, or 503 with what is missing
    /startupz  has it been ready for once?      200, or 503 with what is missing
    /metrics   Prometheus' text format
    /status    everything at a glance, JSON

It only answers GET, never reads a body, holds at most 16 connections for at most 5 s each, and listens on loopback if not told
otherwise: it shows names of topics and models, and has no password.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from stream_infer.edge.health import Health
from stream_infer.edge.telemetry import Telemetry
from stream_infer.errors import EnvironmentMissing

CONNECTIONS_MAX = 16
CONNECTION_S_MAX = 5.0
PATH_BYTES_MAX = 256
TEXT = "text/plain; charset=utf-8"
METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
JSON = "application/json"
Answer = tuple[HTTPStatus, str, bytes]


class StatusPage:
    """A server in a thread of its own, from `with` to its end. address: (host, port) as bound; port 0 takes a free one.

    status: makes the content of /status, plain values that JSON can hold. Raises EnvironmentMissing when the port is taken.
    """

    def __init__(
        self,
        health: Health,
        telemetry: Telemetry,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        status: Callable[[], dict[str, Any]] = dict,
        connection_s_max: float = CONNECTION_S_MAX,
    ) -> None:
        """Binds the port; `with` or `start` begins to answer."""
        pages: dict[str, Callable[[], Answer]] = {
            "/livez": lambda: _verdict(health.alive()),
            "/readyz": lambda: _verdict(health.ready()),
            "/startupz": lambda: _verdict(health.started()),
            "/metrics": lambda: (HTTPStatus.OK, METRICS_TEXT, telemetry.text()),
            "/status": lambda: (HTTPStatus.OK, JSON, _json(health, status())),
        }
        try:
            self._server = _Server((host, port), pages, connection_s_max)
        except OSError as error:
            raise EnvironmentMissing(
                "the status page cannot listen",
                got=f"{host}:{port}: {error.strerror or error}",
                expected="a free port on an address of this machine",
                fix="stop what listens there, or choose another port; 0 takes any free one",
            ) from error
        self.address: tuple[str, int] = (self._server.server_address[0], self._server.server_address[1])  # type: ignore[assignment]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="status-page", daemon=True)

    def start(self) -> Self:
        """Begins to answer."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops, and gives the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Begins to answer."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stops, and gives the port back."""
        self.close()


def _verdict(missing: list[str]) -> Answer:
    if missing:
        return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, ("\n".join(missing) + "\n").encode()
    return HTTPStatus.OK, TEXT, b"ok\n"


def _json(health: Health, more: dict[str, Any]) -> bytes:
    wrong = {"alive": health.alive(), "ready": health.ready(), "started": health.started()}
    return json.dumps({"wrong": wrong, **more}, indent=2, default=str).encode() + b"\n"


class _Server(ThreadingHTTPServer):
    """A thread per connection, but never more than CONNECTIONS_MAX, and none older than connection_s_max.

    A per-read timeout alone would let a client hold a thread for ever by sending one byte now and then.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[], Answer]], connection_s_max: float) -> None:
        self.pages = pages
        self._connection_s_max = connection_s_max
        self._open: dict[socket.socket, float] = {}
        self._open_lock = Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The base class asks the DNS for the name of its own address, which may take a minute; nothing here needs that name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            room = len(self._open) < CONNECTIONS_MAX
            if room:
                self._open[request] = time.monotonic()
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        # Forgotten before it is closed: a closed socket's number may belong to someone else at once.
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by serve_forever every poll_interval, and after each new connection."""
        limit = time.monotonic() - self._connection_s_max
        with self._open_lock:
            for request in [request for request, since in self._open.items() if since < limit]:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news, and a worker's log is no place for what strangers send."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes."""

    server_version = "stream-infer"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # so that also the answer to nonsense has a status line
    timeout = CONNECTION_S_MAX
    server: _Server

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command != "GET":
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET\n", {"Allow": "GET"})
            return False
        return True

    def do_GET(self) -> None:
        if len(self.path) > PATH_BYTES_MAX:
            self._send(HTTPStatus.REQUEST_URI_TOO_LONG, TEXT, b"too long\n")
            return
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            known = " ".join(self.server.pages)
            self._send(HTTPStatus.NOT_FOUND, TEXT, f"not found; known: {known}\n".encode())
            return
        self._send(*page())

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        for name, value in {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Scrapes come every few seconds; they are not logged."""
