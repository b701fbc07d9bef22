"""A real S3 server: OpenStack Swift with its S3 interface, one replica.

It lives in a virtual environment of its own, which is made once and kept with the build's cache.
"""

import itertools
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.servers.environment import made

LOCK = Path(__file__).with_name("swift.lock")
KEY, SECRET, REGION = "test:tester", "never-to-be-seen", "us-east-1"
_STARTED = 180.0
_PARTS = ("account", "container", "object")

_SWIFT = """\
[swift-hash]
swift_hash_path_suffix = tests
swift_hash_path_prefix = tests
[storage-policy:0]
name = gold
default = yes
"""
_PART = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
devices = {devices}
mount_check = false
workers = 0
user = {user}
log_facility =
log_address = /dev/null
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
workers = 0
user = {user}
log_facility =
log_address = /dev/null
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nowhere}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = no
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""


@dataclass(frozen=True, slots=True)
class S3:
    """A server that runs."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a person sets to be let in."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.endpoint}

    def bucket(self, name: str) -> S3Store:
        """Make a bucket, and open it."""
        store = S3Store(
            name,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )
        url = obstore.sign(store, "PUT", "", timedelta(minutes=5))
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT")) as answer:
            assert answer.status == 200
        return store


_next_port = itertools.count(random.SystemRandom().randrange(10_000, 20_000))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each told once.

    Of those that no connection gets by chance (/proc/sys/net/ipv4/ip_local_port_range), or another one would have it
    before a server that is slow to start.
    """
    found: list[int] = []
    while len(found) < count:
        port = next(_next_port)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + _STARTED
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"{process.args!r} ended with status {process.returncode}"
        assert time.monotonic() < deadline, f"nobody listens on port {port}"
        time.sleep(0.05)


@contextmanager
def serving(folder: Path) -> Iterator[S3]:
    """A server with nothing in it, until the end of the context; what it stores lies in the folder."""
    tools, etc, devices = made("s3-server", LOCK) / "bin", folder / "etc", folder / "srv"
    etc.mkdir(parents=True)
    (devices / "d1").mkdir(parents=True)
    ports = free_ports(5)
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    (etc / "swift.conf").write_text(_SWIFT)
    with ExitStack() as stack:
        for name, port in zip(_PARTS, ports, strict=False):
            _ring(tools / "swift-ring-builder", etc, name, port)
            settings = etc / f"{name}.conf"
            settings.write_text(_PART.format(name=name, port=port, etc=etc, devices=devices, user=user))
            wait_for_port(port, stack.enter_context(_running(tools / f"swift-{name}-server", settings, folder)))
        settings = etc / "proxy.conf"
        settings.write_text(_PROXY.format(port=ports[3], etc=etc, user=user, nowhere=ports[4], secret=SECRET))
        wait_for_port(ports[3], stack.enter_context(_running(tools / "swift-proxy-server", settings, folder)))
        yield S3(ports[3])


def _ring(builder: Path, etc: Path, name: str, port: int) -> None:
    for words in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
        subprocess.run([builder, f"{name}.builder", *words], cwd=etc, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _running(program: Path, settings: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen([program, settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_STARTED)
