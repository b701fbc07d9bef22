"""A real web server: nginx with indexes of folders, plain or with TLS."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3 import free_ports, wait_for_port

_SETTINGS = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=chunks:1m max_size=1g;
    server {{
        listen 127.0.0.1:{port}{tls};
        {certificate}
        location / {{
            {body}
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A server that runs; `certificate` is the file that vouches for it, where it speaks TLS."""

    url: str
    folder: Path
    certificate: Path | None = None

    def requests(self) -> list[str]:
        """What was asked of it so far, a request a line."""
        return (self.folder / "access.log").read_text().splitlines()


@contextmanager
def serving(root: Path, folder: Path, *, tls: bool = False, expired: bool = False) -> Iterator[Web]:
    """Serve a folder; with `tls`, by a certificate that it signed itself, which may have expired."""
    with _nginx(f"root {root}; autoindex on;", folder, tls=tls, expired=expired) as web:
        yield web


@contextmanager
def caching(origin: Web, folder: Path) -> Iterator[Web]:
    """An ordinary cache before another server."""
    keep = "proxy_cache chunks; proxy_cache_valid 200 1h; proxy_cache_lock on;"
    with _nginx(f"proxy_pass {origin.url}; {keep}", folder) as web:
        yield web


@contextmanager
def _nginx(body: str, folder: Path, *, tls: bool = False, expired: bool = False) -> Iterator[Web]:
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    certificate = certified(folder, expired=expired) if tls else None
    words = f"ssl_certificate {folder / 'server.pem'}; ssl_certificate_key {folder / 'key.pem'};" if certificate else ""
    settings = folder / "nginx.conf"
    settings.write_text(
        _SETTINGS.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            port=port,
            tls=" ssl" if tls else "",
            certificate=words,
            body=body,
        )
    )
    process = subprocess.Popen(
        ["/usr/sbin/nginx", "-e", folder / "error.log", "-p", folder, "-c", settings],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield Web(url=f"http{'s' if tls else ''}://127.0.0.1:{port}", folder=folder, certificate=certificate)
    finally:
        process.terminate()
        process.wait(60)


_AUTHORITY = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
certificate = {folder}/authority.pem
private_key = {folder}/authority-key.pem
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
[server]
subjectAltName = IP:127.0.0.1,IP:10.0.2.2
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
"""


def certified(folder: Path, *, expired: bool = False) -> Path:
    """A certificate for this machine in `server.pem`, and who vouches for it; `openssl ca` alone can date one back."""
    settings = folder / "authority.cnf"
    settings.write_text(_AUTHORITY.format(folder=folder))
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    last = "20200102000000Z" if expired else "20491231000000Z"
    new = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes"]
    sign = ["openssl", "ca", "-config", str(settings), "-batch", "-notext", "-startdate", "20200101000000Z"]
    own = ["-in", "authority.csr", "-out", "authority.pem"]
    for words in (
        [*new, "-subj", "/CN=tests", "-keyout", "authority-key.pem", "-out", "authority.csr"],
        [*sign, "-enddate", "20491231000000Z", "-selfsign", "-extensions", "authority", *own],
        [*new, "-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "server.csr"],
        [*sign, "-enddate", last, "-extensions", "server", "-in", "server.csr", "-out", "server.pem"],
    ):
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder / "authority.pem"
