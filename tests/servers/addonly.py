"""A door before an S3 server that lets files be added, and nothing be removed or replaced.

As a bucket's policy does that refuses DELETE, and PUT unless it says If-None-Match: *.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_XML = [("Content-Type", "application/xml")]
_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_KEY = re.compile(rb"<Key>(.*?)</Key>")
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})


class Door(ThreadingHTTPServer):
    """The door: what it refused so far, and where it leads."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Take the port of the server behind it."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.refused: list[str] = []
        self.one_by_one = False
        """Whether a request to remove several is answered for each of them, as AWS and others do."""

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        allowed = self.command in ("GET", "HEAD") or (
            self.command == "PUT" and self.headers.get("if-none-match") == "*"
        )
        if not allowed:
            keys = _KEY.findall(body)
            self.server.refused += [f"delete {key.decode()}" for key in keys] or [f"{self.command} {self.path}"]
            if keys and self.server.one_by_one:
                error = b"<Error><Key>%s</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                each = b"".join(error % key for key in keys)
                self._answer(200, _XML, _HEAD + b"<DeleteResult>" + each + b"</DeleteResult>")
            else:
                self._answer(403, _XML, _HEAD + _REFUSED)
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                behind.putheader(name, value)
            behind.endheaders(body)
            answer = behind.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read(), answer.getheader("content-length"))
        finally:
            behind.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP and name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", (length if self.command == "HEAD" else None) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def door(port: int) -> Iterator[Door]:
    """A door before the server at a port of this machine."""
    with Door(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
