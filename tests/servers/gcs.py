"""Google's storage, as fake-gcs-server has it for tests, and before it a door for what that lacks.

obstore speaks Google's XML interface, of which the server knows no upload: the door hands that on by the JSON
interface, a condition as well. It also lets in only whoever signs with the service account's key, and says as Google
does that there is no such bucket, of which the server makes a failure of its own.
Source: Google's references, of the XML API (PUT object, x-goog-if-generation-match, errors) and of the JSON API.
"""

import base64
import http.client
import json
import secrets
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from obstore.store import GCSStore

from tests.servers.environment import made
from tests.servers.s3 import free_ports, wait_for_port
from tests.servers.web import certified

_LOCK = Path(__file__).with_name("gcs.lock")
_ACCOUNT = "anna@tests.example"
_ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"
_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})


class Gcs(ThreadingHTTPServer):
    """The door: whose key lets somebody in, and where it leads."""

    daemon_threads = True

    def __init__(self, behind: int, folder: Path) -> None:
        """Take the port of the server behind it, and a folder for its certificate."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = certified(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def key_file(self, key: rsa.RSAPrivateKey | None = None) -> str:
        """The JSON of the service account, as Google hands it out, but for where the server is."""
        pem = (key or self.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return json.dumps(
            {
                "type": "service_account",
                "client_email": _ACCOUNT,
                "private_key_id": "1",
                "private_key": pem.decode(),
                "gcs_base_url": f"https://127.0.0.1:{self.server_address[1]}",
            }
        )

    def environment(self) -> dict[str, str]:
        """What a person sets to be let in."""
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": self.key_file(), "SSL_CERT_FILE": str(self.certificate)}

    def bucket(self, name: str) -> GCSStore:
        """Make a bucket, and open it; SSL_CERT_FILE has to be set."""
        url = f"http://127.0.0.1:{self.behind}/storage/v1/b?project=tests"
        words = json.dumps({"name": name}).encode()
        request = urllib.request.Request(url, words, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        return GCSStore(name, service_account_key=self.key_file())

    def lets_in(self, authorization: str) -> bool:
        """Whether a request is signed with the key: a JSON web token (RFC 7519), RS256."""
        head, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
        try:
            signed = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            self.key.public_key().verify(signed, head.encode(), padding.PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature):
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gcs

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self.server.lets_in(self.headers.get("authorization") or ""):
            self._answer(401, [], _ERROR.format("AuthenticationRequired").encode())
            return
        command, target = self.command, self.path
        headers = [(name, value) for name, value in self.headers.items() if name.lower() == "range"]
        if command == "PUT":
            command, target, headers, body = self._as_json(body)
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            behind.request(command, target, body, dict(headers))
            answer = behind.getresponse()
            told, status, headers = answer.read(), answer.status, answer.getheaders()
        finally:
            behind.close()
        length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
        if status == 500 and b"no bucket named" in told:
            status, told = 404, _ERROR.format("NoSuchBucket").encode()
        if self.command == "PUT" and status == 200:
            headers = [("ETag", json.loads(told)["etag"]), ("x-goog-generation", json.loads(told)["generation"])]
            told = b""
        self._answer(status, headers, told, length)

    do_GET = do_HEAD = do_PUT = do_DELETE = _pass_on

    def _as_json(self, body: bytes) -> tuple[str, str, list[tuple[str, str]], bytes]:
        """What an upload by the XML interface is by the JSON interface: method, target, headers, body.

        In two parts, its name and its data: of an upload in one the server ignores the condition.
        """
        bucket, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        condition = self.headers.get("x-goog-if-generation-match")
        border = secrets.token_hex(16)
        words = json.dumps({"name": unquote(name)})
        head = f"--{border}\r\nContent-Type: application/json\r\n\r\n{words}\r\n"
        head += f"--{border}\r\nContent-Type: application/octet-stream\r\n\r\n"
        target = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        return (
            "POST",
            target + (f"&ifGenerationMatch={condition}" if condition else ""),
            [("Content-Type", f"multipart/related; boundary={border}")],
            head.encode() + body + f"\r\n--{border}--\r\n".encode(),
        )

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def install() -> Path:
    """The program; raises CalledProcessError where it cannot be had."""
    (program,) = made("gcs-server", _LOCK).glob("lib/python3*/site-packages/*/vendor/*/bin/fake-gcs-server-linux-*")
    return program


@contextmanager
def serving(folder: Path) -> Iterator[Gcs]:
    """A server with nothing in it, until the end of the context; what it stores lies in memory."""
    program = install()
    (port,) = free_ports(1)
    argv = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    argv += ["-public-host", f"127.0.0.1:{port}", "-log-level", "warn"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        with Gcs(port, folder) as door:
            thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield door
            finally:
                door.shutdown()
                thread.join()
    finally:
        process.terminate()
        process.wait(60)
