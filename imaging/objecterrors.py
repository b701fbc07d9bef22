"""What obstore's errors mean, in words that a person can do something with; none of them holds a credential.

Sources: the errors of obstore 0.8 with their causes (reqwest, rustls), Amazon's list of error codes for S3.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from obstore import exceptions

from imaging.address import ObjectAddress
from imaging.errors import IoError, RefusedError

_STATUS = re.compile(r"status code: (\d{3})|\b(40[13]) ")
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|The specified bucket does not exist")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_WHY_NOT_PROVED = (
    ("Expired", "it has expired"),
    ("NotValidYet", "it is not valid yet"),
    ("NotValidForName", "it was made for another name"),
    ("Revoked", "it was revoked"),
    ("UnknownIssuer", "nobody whom this computer knows vouches for it"),
)
_MOST_WORDS = 300
DENIED = "denied"
"""The code of an error for credentials that are not let in, or not far enough."""
_REFUSED = "AccessDenied"
"""What S3 says of one file among several that are removed by one request."""
UNKNOWN_ISSUER = "unknown-issuer"
"""The code of an error that a person can mend by saying who vouches for the server."""
_CERTIFICATE_CODE = "certificate"
NOT_PROVED = frozenset({UNKNOWN_ISSUER, _CERTIFICATE_CODE})
"""The codes of errors for certificates that are not proved."""


@contextmanager
def told(address: ObjectAddress, path: str) -> Iterator[None]:
    """Turn obstore's errors into those that say what happened and what to do; FileNotFoundError stays."""
    where = f"{address.url.partition('?')[0]}/{path}"
    try:
        yield
    except FileNotFoundError:
        raise
    except exceptions.AlreadyExistsError as error:
        raise FileExistsError(path) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _denied(where, str(error)) from error
    except exceptions.BaseError as error:
        words = str(error)
        if _NO_BUCKET.search(words):
            raise no_bucket(address) from error
        status = _STATUS.search(words)
        if _REFUSED in words or (status and "401" in status[0] + (status[1] or "")) or (status and "403" in status[0]):
            raise _denied(where, words) from error
        raise _unreachable(address, where, words) from error


def _unreachable(address: ObjectAddress, where: str, words: str) -> IoError | RefusedError:
    server = urlsplit(address.option("endpoint")).netloc or address.host
    certificate = _CERTIFICATE.search(words)
    if certificate:
        known = next((why for name, why in _WHY_NOT_PROVED if certificate[1].startswith(name)), certificate[1])
        return RefusedError(
            f"{where}: the server's certificate is not proved: {known}",
            code=UNKNOWN_ISSUER if certificate[1] == "UnknownIssuer" else _CERTIFICATE_CODE,
            hint="check this computer's clock and the server's certificate",
        )
    if "dns error" in words:
        return IoError(
            f"{where}: no computer called {server} is known here",
            code="network",
            hint="check the name and the network (Network in the main menu)",
        )
    if "InvalidContentType" in words:
        return IoError(
            f"{where}: the server speaks no https",
            code="network",
            hint="check the address: http:// and https:// have ports of their own",
        )
    return IoError(
        f"{where} cannot be reached: {first_line(words)}",
        code="network",
        hint="check the address and the network, and start anew: what was done already is not done again",
    )


def no_bucket(address: ObjectAddress) -> IoError:
    """The error for a bucket that is not there."""
    return IoError(f"{address.url}: there is no such bucket or container", code="no-bucket", hint="make it first")


def _denied(where: str, words: str) -> RefusedError:
    """The error for credentials that are not let in, from what the server said."""
    if "RequestTimeTooSkewed" in words:
        return RefusedError(
            f"{where}: the server's clock and this computer's differ by more than it allows",
            code=DENIED,
            hint="set this computer's clock in the shell: date --set",
        )
    return RefusedError(
        f"{where}: the server does not let these credentials in",
        code=DENIED,
        hint="check the key, the secret and what they allow; for S3, also the region and this computer's clock",
    )


def first_line(error: object) -> str:
    """What an error says, without the dump that follows, and without what a signed address holds."""
    line = str(error).partition("\n")[0]
    return re.sub(r"\?\S*", "", line)[:_MOST_WORDS]
