"""Public keys of ssh, as a person gives them, and passwords that are made for one session.

Sources: RFC 4253, 6.6, for the form of a key; sshd(8), AUTHORIZED_KEYS FILE FORMAT.
"""

import base64
import binascii
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from imaging.errors import UsageError

KINDS = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
"""What dropbear takes."""
LONGEST_NAME = 60
_MOST = 8192
"""Characters of a key: one of RSA with 16384 bits has 2,800."""
_RESTRICTED = "no-agent-forwarding,no-port-forwarding,no-X11-forwarding"

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that nobody takes for each other, and that need no Shift: 4.95 bits each."""
GROUPS, IN_A_GROUP = 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that may come in: its kind, its bytes in base64, and what its owner calls it."""

    kind: str
    blob: str
    name: str = ""


def parse_key(words: str) -> PublicKey:
    """Understand `ssh-ed25519 AAAA... name`, of which the middle is enough; raises UsageError."""
    parts = words.split()
    blob = next((part for part in parts if part.startswith("AAAA")), "")
    if not blob or len(blob) > _MOST:
        raise _wrong("it has no part that begins with AAAA, as every public key has")
    before, after = parts[: parts.index(blob)], parts[parts.index(blob) + 1 :]
    kind = _kind(blob)
    if kind not in KINDS:
        raise _wrong(f"keys of the kind {kind!a} are not taken")
    # Options such as command="..." would be left out without a word.
    if before and before != [kind]:
        raise _wrong(f"before the key stands {' '.join(before)[:LONGEST_NAME]!a}, not its kind {kind}")
    name = " ".join(after)
    return PublicKey(kind=kind, blob=blob, name="".join(c for c in name if c.isprintable())[:LONGEST_NAME])


def _kind(blob: str) -> str:
    """The kind that a key's own bytes name."""
    try:
        data = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong("the part that begins with AAAA is not base64: a piece of it may be missing") from error
    length = int.from_bytes(data[:4], "big")
    kind = data[4 : 4 + length]
    # After the kind come numbers, each with its length: they fill the key to its last byte.
    place = 4 + length
    while place < len(data):
        place += 4 + int.from_bytes(data[place : place + 4], "big")
    if place != len(data) or len(data) == 4 + length:
        raise _wrong("the key is cut off, or has too much")
    return kind.decode("ascii", errors="replace")


def _wrong(why: str) -> UsageError:
    return UsageError(
        f"that is no public key of ssh: {why}",
        code="bad-ssh-key",
        hint='give the whole line of a file such as id_ed25519.pub, in quotes: rescue.ssh="ssh-ed25519 AAAA... name"',
    )


def authorized_keys(keys: Iterable[PublicKey]) -> str:
    """The file that lets these keys in, and forwards nothing for them."""
    return "".join(f"{_RESTRICTED} {key.kind} {key.blob} {key.name}".rstrip() + "\n" for key in keys)


def make_password() -> str:
    """A password for one session: 15 characters by chance, 74 bits, in groups that can be read out."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(IN_A_GROUP)) for _ in range(GROUPS))
    return "-".join(groups)
