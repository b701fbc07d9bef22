"""Servers that redirect, send too much, cut off, ask for belief without proof, or are not there."""

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import web
from imaging.errors import RescueError


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        port = self.headers["Host"].rpartition(":")[2]
        match self.path.partition("?")[0]:
            case "/order":
                self.answer(200, b"version = 1")
            case "/once":
                self.answer(302, location="/order")
            case "/round":
                self.answer(302, location="/round")
            case "/chain":
                step = int(self.path.partition("?")[2] or 0)
                self.answer(302, location=f"/chain?{step + 1}")
            case "/file":
                self.answer(302, location="file:///etc/hostname")
            case "/down":
                self.answer(302, location=f"http://127.0.0.1:{port}/order")
            case "/large":
                self.answer(200, b"x" * 5000)
            case "/cut":
                self.answer(200, b"version", length=500)
                self.close_connection = True
            case _:
                self.answer(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(302, location="/order") if self.path == "/once" else self.answer(204)

    def answer(self, status: int, body: bytes = b"", *, location: str = "", length: int | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of clients that turn away."""

    def handle_error(self, *_: object) -> None:
        """What a test provokes."""


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[str]:
    with Quiet(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def plain() -> Iterator[str]:
    with serving() as url:
        yield url


def code_of(url: str, most: int = 1000) -> str:
    with pytest.raises(RescueError) as error:
        web.fetch(url, most)
    return error.value.code


def test_a_document_is_fetched_also_behind_a_redirect(plain: str) -> None:
    assert web.fetch(f"{plain}/order?token=x", 11) == b"version = 1"
    assert web.fetch(f"{plain}/once", 11) == b"version = 1"
    web.post(f"{plain}/results", b"{}")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nothing", "http-status"),
        ("/round", "http-status"),
        ("/chain", "http-status"),
        ("/file", "http-status"),
        ("/large", "too-large"),
        ("/cut", web.TRANSIENT),
    ],
)
def test_a_server_that_misbehaves_is_refused(plain: str, path: str, code: str) -> None:
    assert code_of(plain + path) == code


def test_a_result_is_not_lost_behind_a_redirect(plain: str) -> None:
    with pytest.raises(RescueError) as error:
        web.post(f"{plain}/once", b"{}")
    assert error.value.code == "bad-redirect"


def test_a_server_that_is_not_there_may_come_later() -> None:
    with serving() as url:
        pass
    assert code_of(url) == web.TRANSIENT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_https_is_believed_where_the_certificate_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "both.pem"
    key = tmp_path / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    with serving(certificate) as url:
        assert code_of(f"{url}/order") == "certificate"
        with pytest.raises(RescueError) as error:
            web.post(f"{url}/results", b"{}")
        assert error.value.code == "certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert web.fetch(f"{url}/order", 100) == b"version = 1"
        assert code_of(f"{url}/down") == "bad-redirect"
