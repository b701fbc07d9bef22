"""Keys for libraries at addresses: in this process's memory, and handed to the worker that carries out a job.

With them goes what the environment says of how an address is reached: a worker that the system starts has none of it.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaging import handing, objects
from imaging.address import ObjectAddress
from imaging.errors import UsageError
from imaging.regular import read_regular

_PIPE = "credentials"
"""Its name in a job's folder."""
_INHERITED = ("AWS_", "AZURE_", "GOOGLE_", "SSL_CERT_", "RESCUE_RATE", "RESCUE_RETRY_SECONDS", "RESCUE_CHUNK_CACHE")
"""How the names of variables begin that say how an address is reached."""
_TOKENS = ("AWS_SESSION_TOKEN", "AWS_TOKEN")
"""What goes with a key of the environment, and with no other."""
_MOST_KEY_FILE = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What lets somebody in at an address, by the names that obstore gives it, and how quick they want to be."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate: int = 0
    """Bytes a second at most; 0 without a limit."""


NONE = Keys()
_kept: dict[str, Keys] = {}
_lock = threading.Lock()


def of_login(address: ObjectAddress, user: str, secret: str) -> Mapping[str, str]:
    """A key and its secret by the names that obstore has for them. Raises UsageError where an address takes none."""
    match address.scheme:
        case "s3":
            return {"access_key_id": user, "secret_access_key": secret}
        case "az":
            return {"account_name": user, "account_key": secret}
        case _:
            raise UsageError(f"{address.url} takes no user and password", code="bad-login")


def keep(address: ObjectAddress, keys: Keys) -> None:
    """Use these at an address from now on, in this process and in the jobs that it starts."""
    with _lock:
        _kept[_place(address)] = keys


def kept(address: ObjectAddress) -> Keys:
    """Those that are kept for an address."""
    with _lock:
        return _kept.get(_place(address), NONE)


def are_known(address: ObjectAddress) -> bool:
    """Whether an address needs none, or some are kept or in one of the usual places."""
    return bool(kept(address).values) or objects.usual_credentials(address)


def _place(address: ObjectAddress) -> str:
    """What one login is good for: all of a bucket or host."""
    return f"{address.scheme}://{address.host}?{address.option('endpoint')}"


def needed(addresses: Iterable[ObjectAddress]) -> dict[str, Any]:
    """What another process of this user has to `learn` to reach these addresses; empty without any."""
    places = {_place(address) for address in addresses}
    with _lock:
        keys = {
            place: {"values": dict(ours.values), "rate": ours.rate} for place, ours in _kept.items() if place in places
        }
    environment = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
    if all(keys.get(place, {}).get("values") for place in places if place.startswith("s3:")):
        environment = {name: value for name, value in environment.items() if name not in _TOKENS}
    return {"environment": environment, "keys": keys} if places else {}


def learn(told: Mapping[str, Any]) -> None:
    """Know what another process said was `needed`."""
    if not told:
        return
    os.environ.update(told["environment"])
    objects.set_rate(float(os.environ.get("RESCUE_RATE") or 0))
    with _lock:
        _kept.update({place: Keys(**words) for place, words in told["keys"].items()})


def handed_over(folder: Path, addresses: Iterable[ObjectAddress]) -> AbstractContextManager[None]:
    """While this lasts, the worker of the job in a folder can `take` what it needs for these addresses. IoError."""
    return handing.handed_over(folder, _PIPE, needed(addresses))


def take(folder: Path) -> None:
    """Take what whoever submitted a job hands over; nothing where there is nothing."""
    learn(handing.taken(folder, _PIPE))


def read_key_file(path: Path) -> str:
    """The JSON of a service account's key, as Google hands it out. Raises UsageError where it is none."""
    try:
        words = read_regular(path, _MOST_KEY_FILE).decode()
        document: Any = json.loads(words)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", code="bad-key-file") from error
    except ValueError:
        document = None
    if not isinstance(document, dict) or "private_key" not in document:
        # Without the cause: it would show a part of what may be a secret.
        raise UsageError(f"{path} is no key of a service account", code="bad-key-file", hint="give its JSON file")
    return words
