"""Azure's storage of blobs, as Microsoft has it for tests: Azurite, which checks each request's signature.

It runs on a Node.js of its own. Both are made once and kept with the build's cache: some 20 s and 360 MB.
"""

import base64
import hashlib
import hmac
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from obstore.store import AzureStore

from tests.servers.environment import made
from tests.servers.s3 import free_ports, wait_for_port

_HERE = Path(__file__).parent
_LOCK, _PACKAGES = _HERE / "azure.lock", (_HERE / "azurite/package-lock.json", _HERE / "azurite/package.json")
ACCOUNT, KEY = "tester", base64.b64encode(b"never-to-be-seen" * 4).decode()
_VERSION = "2023-11-03"


@dataclass(frozen=True, slots=True)
class Azure:
    """A server that runs."""

    port: int

    @property
    def endpoint(self) -> str:
        """Where it answers for the account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def environment(self) -> dict[str, str]:
        """What a person sets to be let in."""
        return {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}

    def container(self, name: str) -> AzureStore:
        """Make a container, and open it."""
        date = formatdate(usegmt=True)
        what = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{_VERSION}\n{what}"
        mac = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
        headers = {"x-ms-date": date, "x-ms-version": _VERSION, "Authorization": f"SharedKey {ACCOUNT}:{mac}"}
        request = urllib.request.Request(f"{self.endpoint}/{name}?restype=container", method="PUT", headers=headers)
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201
        return AzureStore(
            name,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=self.endpoint,
            client_options={"allow_http": True},
        )


def install() -> Path:
    """The folder that it and its Node.js are in; raises CalledProcessError where they cannot be had."""
    return made("azure-server", _LOCK, *_PACKAGES, finish=_install)


def _install(folder: Path) -> None:
    for path in _PACKAGES:
        (folder / path.name).write_bytes(path.read_bytes())
    words = ["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([str(folder / "bin/npm"), *words], cwd=folder, env=environ, check=True)


@contextmanager
def serving(folder: Path) -> Iterator[Azure]:
    """A server with nothing in it, until the end of the context; what it stores lies in the folder."""
    tools = install()
    (port,) = free_ports(1)
    argv = [str(tools / "bin/node"), str(tools / "node_modules/azurite/dist/src/blob/main.js")]
    argv += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--disableTelemetry"]
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for_port(port, process)
        yield Azure(port)
    finally:
        process.terminate()
        process.wait(60)
