"""A network of its own for machines that boot from one: a name space with a DHCP, DNS and web server in it."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

TAP = "tap0"
SERVER = "192.168.77.1"
NAME = "recovery.test"
PORT = 8000

_CLONE_NEWNET = 0x40000000  # linux/sched.h; os.setns came with Python 3.12
_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_PATIENCE = 120.0

# The answers by the client's kind are those of live-image/README.md, "Booting over the network".
CONFIGURATION = f"""\
interface={TAP}
bind-interfaces
no-hosts
no-resolv
address=/{NAME}/{SERVER}
dhcp-range=192.168.77.10,192.168.77.100,1h
dhcp-leasefile=@FOLDER@/leases
pid-file=@FOLDER@/dnsmasq.pid
log-facility=@FOLDER@/dnsmasq.log
log-dhcp
user=root
dhcp-match=set:ipxe,175
dhcp-match=set:uefi-http,option:client-arch,16
dhcp-boot=tag:ipxe,http://{NAME}:{PORT}/rescue/boot.ipxe
dhcp-boot=tag:uefi-http,http://{NAME}:{PORT}/rescue/bootx64.efi
dhcp-option-force=tag:uefi-http,60,HTTPClient
"""


@dataclass(kw_only=True)
class Web:
    """Hands a folder out by HTTP, ranges too; with the faults that a test asks for, by the names of files."""

    folder: Path
    missing: set[str] = field(default_factory=set)
    """Not found, as long as they stand here."""
    cut_once: set[str] = field(default_factory=set)
    """The next answer ends in the middle."""
    flipped_once: set[str] = field(default_factory=set)
    """The next answer has a byte changed in the middle."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Each path, with the range that was asked for or nothing."""


class _Handler(BaseHTTPRequestHandler):
    web: ClassVar[Web]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        web = self.web
        wanted = self.headers.get("Range", "")
        web.asked.append((self.path, wanted))
        # shim asks for "//grubx64.efi".
        file = web.folder.joinpath(*(part for part in self.path.split("/") if part))
        if file.name in web.missing or not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        if with_body and file.name in web.flipped_once:
            web.flipped_once.remove(file.name)
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if not with_body:
            return
        if file.name in web.cut_once:
            web.cut_once.remove(file.name)
            self.wfile.write(data[first : (first + len(data)) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[first:])

    def log_message(self, format: str, *arguments: object) -> None:
        """What was asked for is kept in `Web.asked`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A network that runs."""

    web: Web
    within: tuple[str, ...]
    """Begins the command of whatever is to run in it."""


def skip_where_impossible() -> None:
    """Skip, saying why, where no such network can be made."""
    if os.geteuid() != 0:
        pytest.skip("a network with a DHCP server of its own needs root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun here, so no network for the machine")
    missing = [tool for tool in ("ip", "dnsmasq") if shutil.which(tool, path=_environment()["PATH"]) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; run live-image/setup")


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": os.environ["PATH"] + ":" + _PATH}


def _make(*argv: str) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=_environment()
    )
    if done.returncode != 0:
        pytest.skip(f"no network of its own can be made here: {' '.join(argv)}: {done.stderr.strip()}")


@contextlib.contextmanager
def running(folder: Path, served: Path) -> Iterator[Lab]:
    """A network where DHCP sends iPXE and UEFI to `served`/rescue; skips, saying why, where that cannot be."""
    skip_where_impossible()
    space = f"rescue-{os.getpid()}"
    within = ("ip", "netns", "exec", space)
    _make("ip", "netns", "add", space)
    try:
        _make(*within, "ip", "link", "set", "lo", "up")
        _make(*within, "ip", "tuntap", "add", "dev", TAP, "mode", "tap")
        _make(*within, "ip", "address", "add", f"{SERVER}/24", "dev", TAP)
        _make(*within, "ip", "link", "set", TAP, "up")
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "dnsmasq.conf"
        configuration.write_text(CONFIGURATION.replace("@FOLDER@", str(folder)))
        with _dnsmasq([*within, "dnsmasq", "--keep-in-foreground", f"--conf-file={configuration}"]):
            web = Web(folder=served)
            with _serving(web, space):
                yield Lab(web=web, within=within)
    finally:
        # Not by _make: a test that failed before would count as skipped.
        subprocess.run(["ip", "netns", "delete", space], stdin=subprocess.DEVNULL, check=True, env=_environment())


@contextlib.contextmanager
def _dnsmasq(argv: list[str]) -> Iterator[None]:
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=_environment())
    try:
        yield
        assert process.poll() is None, "dnsmasq ended by itself; its log says why"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _serving(web: Web, space: str) -> Iterator[None]:
    handler = type("Handler", (_Handler,), {"web": web})
    server = _in_namespace(space, lambda: ThreadingHTTPServer(("", PORT), handler))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _in_namespace(space: str, make: Callable[[], ThreadingHTTPServer]) -> ThreadingHTTPServer:
    """What `make` opens there: a socket stays where it was made. Only the thread that makes it goes there."""
    made: list[ThreadingHTTPServer] = []
    refused: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)

    def work() -> None:
        with Path("/run/netns", space).open("rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET) == 0:
                made.append(make())
            else:
                refused.append(os.strerror(ctypes.get_errno()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(_PATIENCE)
    assert made, f"the thread could not enter the name space {space}: {refused}"
    return made[0]
