"""Small documents over HTTP: fetching an order, posting a result. Bounded in bytes, time and redirects.

A server is believed by https alone where its certificate is proved; a plain http:// address is what somebody chose.
Sources: urllib.request, ssl; RFC 9110 for statuses and redirects.
"""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, TypeVar
from urllib.parse import urlsplit

from imaging import __version__
from imaging.errors import IoError, RefusedError, RescueError, UsageError

_TIMEOUT = 15.0
"""Seconds without a byte."""
_WHOLE = 60.0
"""Seconds for all of an answer: a server that sends a byte now and then must not hold a computer up."""
_REDIRECTS = 3
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a later attempt may succeed."""
_PIECE = 16 << 10
_BETWEEN = 2.0
TRANSIENT = "no-server"
"""The code of failures that a network which comes up, or a server that is restarted, may end."""
NOT_PROVED = "certificate"
"""The code of a server's certificate that is not proved."""

T = TypeVar("T")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Few, never away from https, never of what is sent: a POST would become a GET without its body."""

    max_redirections = _REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The next request; raises RefusedError where it would be no safe one."""
        if req.data is not None or not _is_web(newurl) or (req.type == "https" and urlsplit(newurl).scheme != "https"):
            fp.close()
            raise RefusedError(
                f"{shown(req.full_url)} leads to {shown(newurl)}, which is not followed",
                code="bad-redirect",
                hint="give the address that it leads to",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def shown(url: str) -> str:
    """The address for messages and logs: what stands before an @ or after a ? may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_address(words: str) -> bool:
    """Whether somebody means a document on the web, and not a file."""
    return words.lower().startswith(("http://", "https://"))


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def fetch(url: str, most: int) -> bytes:
    """What is at an address, of `most` bytes at most.

    Raises UsageError for what is no address, RefusedError, IoError; code "no-server" where a later try may succeed.
    """
    return _ask(urllib.request.Request(_checked(url), headers=_headers()), most)


def post(url: str, document: bytes) -> None:
    """Send a JSON document; the answer's body is of no interest. Raises as `fetch` does."""
    headers = {**_headers(), "Content-Type": "application/json"}
    _ask(urllib.request.Request(_checked(url), data=document, headers=headers, method="POST"), None)


def _headers() -> dict[str, str]:
    return {"User-Agent": f"rescue/{__version__}"}


def _checked(url: str) -> str:
    parts = urlsplit(url)
    odd = not url.isascii() or not url.isprintable() or " " in url
    if odd or not _is_web(url) or not parts.hostname or "@" in parts.netloc:
        raise UsageError(
            "this is not an address that begins with http:// or https:// and holds no password",
            code="bad-address",
            hint="write it as https://server/folder/order.toml",
        )
    return url


def _trusting() -> ssl.SSLContext:
    """Who is believed: the same as by obstore, which asks the same servers.

    From Python 3.13 on certificates have to hold all that RFC 5280 asks for, and many that people make themselves do
    not say what their key is for. Who vouches for whom, for which name and until when is proved without that as well.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _ask(request: urllib.request.Request, most: int | None) -> bytes:
    name = shown(request.full_url)
    opener = urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=_trusting()))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            return b"" if most is None else _read(answer, most, name)
    except RescueError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        code = TRANSIENT if error.code in _AGAIN else "http-status"
        raise IoError(f"{name} answers with status {error.code}", code=code) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise _not_proved(name, error.reason) from error
        raise _no_answer(name, error.reason) from error
    except ssl.SSLCertVerificationError as error:
        raise _not_proved(name, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _no_answer(name, error) from error


def _read(answer: http.client.HTTPResponse, most: int, name: str) -> bytes:
    deadline = time.monotonic() + _WHOLE
    data = b""
    while piece := answer.read1(_PIECE):
        data += piece
        if len(data) > most:
            raise RefusedError(f"{name} has more than {most} bytes", code="too-large")
        if time.monotonic() > deadline:
            raise IoError(f"{name} did not come within {_WHOLE:.0f} s", code=TRANSIENT)
    if answer.length:
        raise IoError(f"{name} was cut off after {len(data)} bytes", code=TRANSIENT)
    return data


def _no_answer(name: str, reason: object) -> IoError:
    why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return IoError(
        f"{name} does not answer: {why}",
        code=TRANSIENT,
        hint="check the address, the cable, and the network (Network in the main menu)",
    )


def _not_proved(name: str, error: ssl.SSLCertVerificationError) -> RefusedError:
    return RefusedError(
        f"{name}: its certificate is not proved: {error.verify_message}",
        code=NOT_PROVED,
        hint="check this computer's clock and the server's certificate; http:// asks for none",
    )


def patiently(
    ask: Callable[[], T],
    seconds: float,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Ask again, while the network is not up or the server is away, for so long; raises the last failure."""
    deadline, between = clock() + seconds, _BETWEEN
    while True:
        try:
            return ask()
        except RescueError as error:
            if error.code != TRANSIENT or clock() + between > deadline:
                raise
        pause(between)
        between = min(2 * between, 10.0)
