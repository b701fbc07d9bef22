"""Files in object storage and on web servers, through obstore: few words in, errors that a person can use out.

Requests are repeated with growing pauses while a server does not answer or fails (5xx), for some minutes: a network
that goes away comes back. What is told never holds a credential.
Sources: obstore's documentation; for web servers, the indexes that nginx and Apache make of folders.
"""

import configparser
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import obstore
from obstore import exceptions, store

from imaging import web
from imaging.address import ObjectAddress
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.objecterrors import DENIED, NOT_PROVED, first_line, no_bucket, told
from imaging.rate import Rate

_HURRIED, _PATIENT = 15.0, 300.0
"""Seconds for which a request is repeated: while a person waits for an answer, and while a job is at work."""
_MOST_BROKEN = 8
"""How often an answer may break off in the middle."""
_TIMEOUT = timedelta(seconds=120)
_CONNECT = timedelta(seconds=15)
_ONCE = timedelta(seconds=5)
"""For a question that is not repeated and may stay without an answer."""
_LINK = re.compile(rb"""href\s*=\s*["']([^"'?#]+)["']""", re.IGNORECASE)
_MOST_INDEX = 64 << 20
_PAUSE = 1.0
MAY_NOT_REPLACE, MAY_NOT_DELETE = "may-not-replace", "may-not-delete"
"""The codes of refusals where credentials may add files, and no more."""
_LOGIN = frozenset({"access_key_id", "secret_access_key"})
"""What somebody types to be let in by a server that speaks S3."""
_S3_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_GCLOUD = Path("~/.config/gcloud/application_default_credentials.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object: its path below the library, its size in bytes and its time in seconds since the epoch."""

    path: str
    size: int
    modified: float


_rate = Rate(float(os.environ.get("RESCUE_RATE") or 0))


def set_rate(limit: float) -> None:
    """So many bytes a second at most from now on, over all requests of this process; 0 without a limit."""
    _rate.limit = limit


class _Patience:
    """How long this process waits for a server that does not answer."""

    usual = _HURRIED

    @property
    def seconds(self) -> float:
        """Seconds; the environment has the last word."""
        return float(os.environ.get("RESCUE_RETRY_SECONDS") or self.usual)


_patience = _Patience()


def be_patient() -> None:
    """Called by a job: nobody waits at a screen, and a network that goes away comes back."""
    _patience.usual = _PATIENT


class Objects:
    """The files below one address, from any number of threads."""

    def __init__(self, address: ObjectAddress, credentials: Mapping[str, str] | None = None) -> None:
        """Take the address; nothing is asked of the server yet. Raises RefusedError where it cannot be used."""
        self.address = address
        if address.scheme != "gs" and not all(value.isprintable() for value in (credentials or {}).values()):
            # In a header it makes obstore panic, which nothing catches; the key for gs:// is a document of many lines.
            raise RefusedError(
                f"{address.url}: in the key or its secret is a character that cannot be printed",
                code=DENIED,
                hint="type them anew, without line breaks and the like",
            )
        self._credentials = dict(credentials or {})
        try:
            self._store = _opened(address, dict(self._credentials))
        except (exceptions.BaseError, ValueError, TypeError) as error:
            raise RefusedError(
                f"{address.url} cannot be used: {first_line(error)}", code="bad-address", hint="check the address"
            ) from error

    def refuse_unless_there(self) -> None:
        """Raise IoError where the bucket is not there, or the server; RefusedError where it lets nobody in."""
        try:
            with told(self.address, ""):
                next(iter(obstore.list(self._store, chunk_size=1)), None)
        except FileNotFoundError as error:
            raise no_bucket(self.address) from error

    def refuse_unless_proved(self) -> None:
        """Raise RefusedError where the server's certificate is not proved: at once, as asking again proves nothing."""
        if _is_plain(self.address):
            return
        asked_once = _opened(self.address, dict(self._credentials), once=True)
        try:
            with told(self.address, ""):
                obstore.head(asked_once, "library.json")
        except FileNotFoundError:
            pass
        except RescueError as error:
            if error.code in NOT_PROVED:
                raise

    def get(self, path: str, most: int) -> bytes | None:
        """A whole file; None where it is not there. BadImageError for more than `most` bytes, IoError."""
        for attempt in count(1):
            try:
                with told(self.address, path):
                    answer = obstore.get(self._store, path)
                if answer.meta["size"] > most:
                    raise BadImageError(f"{self.address.url}/{path} is too long: more than {most} bytes")
                try:
                    data = bytes(answer.bytes())
                except exceptions.BaseError:
                    # The answer began and broke off: obstore repeats only what did not begin.
                    if attempt < _MOST_BROKEN:
                        time.sleep(_PAUSE * attempt)
                        continue
                    with told(self.address, path):
                        raise
            except FileNotFoundError:
                return None
            _rate.used(len(data))
            return data
        return None

    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where it is not there. Raises IoError."""
        try:
            with told(self.address, path):
                return int(obstore.head(self._store, path)["size"])
        except FileNotFoundError:
            return None

    def stamp(self, path: str) -> tuple[int, bytes] | None:
        """A file's bytes, and what changes whenever it does, empty where the server says nothing of the kind.

        None where it is not there. Raises IoError.
        """
        try:
            with told(self.address, path):
                found = obstore.head(self._store, path)
        except FileNotFoundError:
            return None
        tag = found["e_tag"]
        return int(found["size"]), f"{tag} {found['last_modified'].timestamp()}".encode() if tag else b""

    def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write a file whole; with `new`, only where there is none: whether it was written. Raises IoError.

        One is made before one is replaced: credentials that may add files, and no more, are let in. Raises RefusedError
        (MAY_NOT_REPLACE) where they are needed for more, unless the very same is there already.
        """
        self.refuse_unless_writable()
        if self._put(path, data, "create"):
            return True
        if new:
            return False
        try:
            return self._put(path, data, "overwrite")
        except RefusedError as error:
            if error.code != DENIED:
                raise
            if self.size(path) == len(data) and self.get(path, len(data)) == data:
                return True  # the answer to an earlier attempt was lost
            raise RefusedError(
                f"{self.address.url}: these credentials may add files, but not replace {path}",
                code=MAY_NOT_REPLACE,
                hint="use credentials that may replace files; a backup needs no more than these",
            ) from error

    def _put(self, path: str, data: bytes, mode: Literal["create", "overwrite"]) -> bool:
        try:
            with told(self.address, path):
                obstore.put(self._store, path, data, mode=mode, use_multipart=False)
            _rate.used(len(data))
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise no_bucket(self.address) from error
        return True

    def delete(self, path: str) -> None:
        """Remove a file, if it is there. Raises RefusedError (MAY_NOT_DELETE) where the credentials do not allow it."""
        self.refuse_unless_writable()
        try:
            with told(self.address, path):
                obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except RefusedError as error:
            if error.code != DENIED:
                raise
            raise RefusedError(
                f"{self.address.url}: these credentials may not remove {path}",
                code=MAY_NOT_DELETE,
                hint="use credentials that may remove files; a backup needs no more than these",
            ) from error

    def refuse_unless_writable(self) -> None:
        """Raise RefusedError where nothing can be written."""
        if self.address.read_only:
            raise RefusedError(
                f"{self.address.url} can be read only: a web server takes nothing",
                code="read-only",
                hint="use a disk, a share or a bucket for what is to be stored",
            )

    def list(self, folder: str, after: str = "") -> Iterator[Listed]:
        """All files below a folder, in the order of their paths, from the one after `after` on. Raises IoError."""
        if self.address.read_only:
            raise RefusedError(f"{self.address.url}: a web server does not list all files", code="read-only")
        try:
            with told(self.address, folder):
                for batch in obstore.list(self._store, folder or None, offset=after or None, chunk_size=1000):
                    for one in batch:
                        # Not every server begins where it is asked to: what comes before would be taken for nobody's.
                        if one["path"] > after:
                            yield Listed(path=one["path"], size=one["size"], modified=one["last_modified"].timestamp())
        except FileNotFoundError:
            return

    def folders(self, folder: str) -> Sequence[str]:
        """The names of the folders in a folder of a web server, by its own index; a list that lies there comes first.

        Raises IoError.
        """
        written = self.get(f"{folder}/index.txt", _MOST_INDEX)
        if written is not None:
            return [line.strip() for line in written.decode(errors="replace").splitlines() if line.strip()]
        try:
            page = web.fetch(f"{self.address.url}/{folder}/", _MOST_INDEX)
        except RescueError as error:
            if error.code in (web.TRANSIENT, web.NOT_PROVED):
                raise
            raise IoError(
                f"{self.address.url}: the web server does not list what is in {folder}/",
                code="no-index",
                hint="let it make indexes of folders (nginx: autoindex on), or put their names there, in index.txt",
            ) from error
        links = [unquote(link.decode(errors="replace")) for link in _LINK.findall(page)]
        names = [link.removeprefix("./").rstrip("/") for link in links if link.endswith("/")]
        return [name for name in names if name and "/" not in name and name != ".."]


def _endpoint(address: ObjectAddress) -> str:
    """Where a server of one's own is; empty for the provider's."""
    return address.option("endpoint") or (os.environ.get("AWS_ENDPOINT_URL", "") if address.scheme == "s3" else "")


def _is_plain(address: ObjectAddress) -> bool:
    """Whether it is asked by http, without a certificate."""
    return address.scheme == "http" or _endpoint(address).startswith("http://")


def _opened(address: ObjectAddress, credentials: dict[str, str], *, once: bool = False) -> Any:
    retry: Any = {"max_retries": 0 if once else 60, "retry_timeout": timedelta(seconds=_patience.seconds)}
    client: Any = {
        "timeout": _ONCE if once else _TIMEOUT,
        "connect_timeout": _ONCE if once else _CONNECT,
        "allow_http": _is_plain(address),
    }
    common: dict[str, Any] = {"client_options": client, "retry_config": retry}
    match address.scheme:
        case "s3":
            if credentials.keys() >= _LOGIN:
                common["credential_provider"] = _without_token({name: credentials[name] for name in _LOGIN})
            return store.S3Store(
                address.host, prefix=address.folder or None, config=_s3(address, credentials), **common
            )
        case "gs":
            return store.GCSStore(address.host, prefix=address.folder or None, config=_known(credentials), **common)
        case "az":
            if endpoint := _endpoint(address):
                credentials["endpoint"] = endpoint
            return store.AzureStore(address.host, prefix=address.folder or None, config=_known(credentials), **common)
        case _:
            return store.HTTPStore(f"{address.scheme}://{address.host}/{address.folder}", **common)


def _without_token(login: Mapping[str, str]) -> Callable[[], Mapping[str, Any]]:
    """A key and its secret, and no more: beside them obstore sends a token of the environment, which is for others."""
    return lambda: {**login, "token": None, "expires_at": None}


def usual_credentials(address: ObjectAddress) -> bool:
    """Whether an address needs none, or there are some in the environment or in one of the usual files."""
    match address.scheme:
        case "s3":
            return any(os.environ.get(name) for name in _S3_VARIABLES) or bool(_aws_profile())
        case "gs":
            return any(name.startswith("GOOGLE_") for name in os.environ) or _GCLOUD.expanduser().exists()
        case "az":
            return any(name.startswith("AZURE_") for name in os.environ)
        case _:
            return True


def _known(credentials: dict[str, str]) -> Any:
    return credentials or None


def _s3(address: ObjectAddress, credentials: dict[str, str]) -> Any:
    """Settings beside those that obstore takes from the environment; ~/.aws/credentials where that has no key."""
    config: dict[str, Any] = dict(credentials)
    if not config and not os.environ.get("AWS_ACCESS_KEY_ID"):
        config |= _aws_profile()
    if endpoint := _endpoint(address):
        config["endpoint"] = endpoint
        # Servers of one's own seldom have a name for each bucket.
        config["virtual_hosted_style_request"] = address.option("path_style") in ("no", "false")
    region = address.option("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    config["region"] = region or config.get("region") or "us-east-1"
    return config


def _aws_profile() -> dict[str, str]:
    """Key and secret of the chosen profile in ~/.aws/credentials, or nothing."""
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws/credentials")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    profile = os.environ.get("AWS_PROFILE", "default")
    if not parser.has_section(profile):
        return {}
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "token",
    }
    return {ours: parser.get(profile, theirs) for theirs, ours in names.items() if parser.has_option(profile, theirs)}
