"""Keys that sign images: Ed25519, in the files that OpenSSL reads and writes.

A private key is PKCS#8 in PEM, with a passphrase if wanted; a public key SubjectPublicKeyInfo in PEM. A list of public
keys is these blocks one after the other, each below a line `# name`, and nothing else but blank lines.
Sources: RFC 8032, 8410, 5958 and 7468.

What does the mathematics takes a tenth of a second to load: only where there is something to sign or to prove.
"""

import base64
import binascii
import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imaging.errors import BadImageError, RefusedError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_SIZE, SIGNATURE_SIZE = 32, 64
"""Bytes of a public key, and of a signature."""
MOST_KEYS = 32
"""Public keys in one list."""
MOST_LIST = 16 << 10
"""Bytes that no list of public keys exceeds."""
MOST_PRIVATE = 16 << 10
"""Bytes that no file with a private key exceeds."""
LONGEST_NAME = 60
_HEAD = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes in SubjectPublicKeyInfo: RFC 8410, section 4."""
_GROUPS, _IN_A_GROUP = 6, 4
_BLOCK = re.compile(r"^-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]*)-----END \1-----", re.MULTILINE)
_PUBLIC = "PUBLIC KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that proves signatures: its 32 bytes, and what people here call its owner."""

    raw: bytes
    name: str = ""

    @property
    def id(self) -> str:
        """By what people tell keys apart: 96 bits of the SHA-256 of its DER, in groups that can be read out."""
        digits = hashlib.sha256(_HEAD + self.raw).hexdigest()
        return "-".join(digits[at : at + _IN_A_GROUP] for at in range(0, _GROUPS * _IN_A_GROUP, _IN_A_GROUP))

    @property
    def pem(self) -> str:
        """As OpenSSL writes it, below its name."""
        name = f"# {self.name}\n" if self.name else ""
        body = base64.b64encode(_HEAD + self.raw).decode()
        return f"{name}-----BEGIN {_PUBLIC}-----\n{body}\n-----END {_PUBLIC}-----\n"

    def proves(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature of the message was made with this key's private half."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PrivateKey:
    """A key that signs, without its passphrase."""

    seed: bytes

    @classmethod
    def new(cls) -> "PrivateKey":
        """A key that nobody has had before."""
        return cls(seed=secrets.token_bytes(KEY_SIZE))  # RFC 8032, 5.1.5: any 32 bytes by chance

    @property
    def public(self) -> PublicKey:
        """Its public half, without a name."""
        return PublicKey(raw=self._key.public_key().public_bytes_raw())

    @property
    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes that prove that whoever has this key means the message."""
        return self._key.sign(message)

    def pem(self, passphrase: bytes = b"") -> bytes:
        """As OpenSSL writes it; with a passphrase nobody signs without that."""
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def name_of_owner(words: str) -> str:
    """A name as it is kept; raises UsageError where it is too long or more than a line."""
    words = words.strip()
    if len(words) > LONGEST_NAME:
        raise UsageError(f"a key's name has at most {LONGEST_NAME} characters, this one has {len(words)}", code="usage")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in words):
        raise UsageError("a key's name is one line of text, without control characters", code="usage")
    return words


def parse_list(data: bytes, name: str) -> tuple[PublicKey, ...]:
    """The public keys of a file called `name`, each once; none where it is empty, or blank.

    Raises BadImageError where it holds anything else, or more than a list may: what is damaged is not taken for blank.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", code="bad-key", hint="give a public key of Ed25519: rescue key new")

    if len(data) > MOST_LIST:
        raise bad(f"a list of keys has at most {MOST_LIST} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad("these are no public keys") from error
    odd = "it is cut short or damaged, or holds something else than public keys"
    found: dict[bytes, PublicKey] = {}
    place = 0
    for block in _BLOCK.finditer(text):
        if block[1] != _PUBLIC:
            raise bad("it holds a private key" if "PRIVATE" in block[1] else "these are no public keys")
        raw = _raw(block[2])
        if raw is None:
            raise bad("a key in it is none of Ed25519, or damaged")
        before = text[place : block.start()]
        if _is_more_than_remarks(before):
            raise bad(odd)
        found.setdefault(raw, PublicKey(raw=raw, name=_name_before(before)))
        place = block.end()
    if _is_more_than_remarks(text[place:]) or (text.strip() and not found):
        raise bad(odd)
    if len(found) > MOST_KEYS:
        raise bad(f"a list has at most {MOST_KEYS} keys")
    return tuple(found.values())


def _raw(body: str) -> bytes | None:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return der[len(_HEAD) :] if der.startswith(_HEAD) and len(der) == len(_HEAD) + KEY_SIZE else None


def _is_more_than_remarks(text: str) -> bool:
    """Whether there is anything in it but blank lines, and lines that begin with `#`."""
    return any(line.strip() and not line.startswith("#") for line in text.splitlines())


def _name_before(text: str) -> str:
    """The last line that begins with `#`, as far as it can be a name."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    clean = "".join(char for char in (lines[-1] if lines else "") if char.isprintable())
    return clean[:LONGEST_NAME]


def render_list(keys: Iterable[PublicKey]) -> bytes:
    """A file that `parse_list` reads."""
    return "".join(key.pem for key in keys).encode()


def parse_public(data: bytes, name: str) -> PublicKey:
    """The one public key of a file; raises BadImageError where it has none or several."""
    keys = parse_list(data, name)
    if len(keys) != 1:
        raise BadImageError(
            f"{name}: it holds {len(keys)} public keys, not one",
            code="bad-key",
            hint="give a public key of Ed25519: rescue key new",
        )
    return keys[0]


def parse_private(data: bytes, name: str, passphrase: bytes = b"") -> PrivateKey:
    """The private key of a file called `name`.

    Raises RefusedError with code "passphrase" where it needs one, or another one; BadImageError where it is no private
    key of Ed25519.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    bad = BadImageError(
        f"{name} is no private key of Ed25519 in PKCS#8", code="bad-key", hint="make one: rescue key new FILE"
    )
    if len(data) > MOST_PRIVATE:
        raise bad
    is_locked = b"ENCRYPTED PRIVATE KEY" in data
    if is_locked and not passphrase:
        raise RefusedError(f"{name} is protected by a passphrase", code="passphrase", hint="type it when asked")
    try:
        key = load_pem_private_key(data, passphrase if is_locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if is_locked:
            raise RefusedError(f"that is not the passphrase of {name}", code="passphrase") from error
        raise bad from error
    if not isinstance(key, Ed25519PrivateKey):
        raise bad
    return PrivateKey(seed=key.private_bytes_raw())
