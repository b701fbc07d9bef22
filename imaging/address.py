"""Addresses of image libraries in object storage and on web servers: s3, gs, az, https, http.

No address holds a secret: credentials come from the environment, from the usual files, or from a file of this system
that only its user can read.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from imaging.errors import UsageError

_ADDRESS = re.compile(r"(s3|gs|az|https?)://", re.IGNORECASE)
_OPTIONS = {
    "s3": frozenset({"endpoint", "region", "path_style"}),
    "gs": frozenset(),
    "az": frozenset({"endpoint"}),
    "http": frozenset(),
    "https": frozenset(),
}
"""What may stand after the ? of an address, by scheme."""
_READ_ONLY = ("http", "https")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+=,:~-]*")
_ENDPOINT = re.compile(r"https?://[a-z0-9\[][a-z0-9.:\[\]_-]*(/[a-z0-9._~/-]*)?", re.IGNORECASE | re.ASCII)
"""A host, a port and a folder, in letters that look like no others: a person reads where keys would go."""
_MOST = 1000


def is_address(words: str) -> bool:
    """Whether this is an address rather than a folder."""
    return _ADDRESS.match(words) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAddress:
    """Where a library lies: a bucket, container or host, the folder in it, and how the service is reached."""

    scheme: str
    host: str
    folder: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """As a person would type it."""
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{self.scheme}://{self.host}/{self.folder}".rstrip("/") + query

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there: web servers take nothing."""
        return self.scheme in _READ_ONLY

    @property
    def name(self) -> str:
        """A relative path that tells it from any other, and that a person can read."""
        options = f"@{urlencode(self.options).replace('/', '_')}" if self.options else ""
        return f"{self.scheme}/{self.host}{options}/{self.folder}".rstrip("/")

    def option(self, name: str) -> str:
        """One of the options; empty where it is not given."""
        return dict(self.options).get(name, "")


def parse(words: str) -> ObjectAddress:
    """Parse an address such as s3://bucket/folder?endpoint=https://nas:9000. Raises UsageError where it is none.

    One that holds a user's name or a password is refused: it would be seen in lists of processes, plans and logs.
    """
    parts = urlsplit(words)
    scheme = parts.scheme.lower()
    if scheme not in _OPTIONS or len(words) > _MOST:
        raise _bad(words, "it is none of s3, gs, az, https and http")
    if "@" in parts.netloc or parts.fragment:
        raise UsageError(
            "an address holds no user's name and no password: others could read it",
            code="secret-in-address",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the like, in the environment",
        )
    if not _BUCKET.fullmatch(parts.netloc):
        raise _bad(words, "it names no bucket or host")
    folder = parts.path.strip("/")
    if folder and not all(_PLAIN.fullmatch(name) for name in folder.split("/")):
        raise _bad(words, "its folders have names that cannot be used in an address")
    options = tuple(sorted(parse_qsl(parts.query, keep_blank_values=True)))
    for name, value in options:
        if name not in _OPTIONS[scheme] or not value:
            raise _bad(words, f"{scheme} knows no {name}")
        if name == "endpoint" and not _ENDPOINT.fullmatch(value):
            raise _bad(words, "its endpoint is no http or https address")
    return ObjectAddress(scheme=scheme, host=parts.netloc, folder=folder, options=options)


def _bad(words: str, why: str) -> UsageError:
    return UsageError(
        f"{words!r} is no address of a library: {why}",
        code="bad-address",
        hint="such as s3://bucket/folder, or s3://bucket/folder?endpoint=https://nas.example:9000",
    )
