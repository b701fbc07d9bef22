"""Who vouches for servers: those whom the system believes, and whom a person names besides, as long as this runs."""

import os
import ssl
from contextlib import suppress
from pathlib import Path

from imaging.durable import write_file, written
from imaging.errors import UsageError
from imaging.regular import read_regular
from imaging.state import state_folder

VARIABLE = "SSL_CERT_FILE"
"""The environment's name of the file of all certificates that are believed: OpenSSL and rustls look there."""
_MOST = 4 << 20


def trust(path: Path) -> None:
    """Believe the certificates in a PEM file, too, in this process and in the jobs that it starts.

    Raises UsageError where there are none in it, IoError.
    """
    try:
        words = read_regular(path, _MOST, "bad-certificate").decode("ascii")
        ssl.create_default_context().load_verify_locations(cadata=words)
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else ""
        raise UsageError(
            f"{path} cannot be read: {why}" if why else f"{path} holds no certificate",
            code="bad-certificate",
            hint="give a PEM file, which begins with -----BEGIN CERTIFICATE-----",
        ) from error
    bundle = state_folder() / "certificates.pem"
    with written(bundle):
        bundle.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(bundle, _believed() + b"\n" + words.encode())
    os.environ[VARIABLE] = str(bundle)


def _believed() -> bytes:
    """Those that are believed so far."""
    paths = ssl.get_default_verify_paths()
    for name in (os.environ.get(VARIABLE), paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        with suppress(OSError):
            if name:
                return read_regular(Path(name).resolve(), _MOST)
    return b""
