"""The seal of an encrypted library: what hides the names and the data of its chunks and its files, and proves them.

All keys come from the library's master key by HKDF-SHA256 (RFC 5869), one for each purpose, with the library's id as
salt. What lies in the library is AES-256-GCM (NIST SP 800-38D), each chunk and each file under a key of its own, bound
to its place: a chunk to its name, a file to its path. So nonces, 96 random bits, could only ever meet among the few
versions of one thing. imaging/README.md says what this keeps from whom, and what it does not.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from imaging.chunk import Buffer, chunk_id, decompress, stated_size
from imaging.errors import BadImageError

KEY_SIZE = 32
_NONCE, _TAG = 12, 16
OVERHEAD = _NONCE + _TAG
"""Bytes that a sealed chunk is longer than its frame."""
_MAGIC = b"RSEALED\x01"
FILE_OVERHEAD = len(_MAGIC) + OVERHEAD
"""Bytes that a sealed file is longer than what it holds."""


class Seal:
    """The keys of one library; called from several threads at once."""

    def __init__(self, master: bytes, library_id: str) -> None:
        """Derive the keys from the master key."""
        self._id = library_id.encode()
        self._names = derive(master, self._id, "chunk names")
        self._chunks = derive(master, self._id, "chunks")
        self._files = derive(master, self._id, "files")

    def name(self, chunk: bytes) -> bytes:
        """Under which name the chunk of this id lies: HMAC-SHA-512/256 of the id, which is that of the plain data."""
        return hmac.digest(self._names, chunk, "sha512_256")

    def seal_chunk(self, name: bytes, frame: Buffer) -> bytes:
        """A frame as it lies under its name: nonce, ciphertext, tag."""
        nonce = os.urandom(_NONCE)
        sealed = _cipher(self._chunks, name).encrypt(nonce, frame, self._bound(b"chunk", name))
        return b"".join((nonce, sealed))

    def open_chunk(self, name: bytes, sealed: Buffer) -> bytes:
        """The frame that lies under a name; raises BadImageError where it is not what the key's owner put there."""
        view, cipher = memoryview(sealed), _cipher(self._chunks, name)
        try:
            return bytes(cipher.decrypt(bytes(view[:_NONCE]), view[_NONCE:], self._bound(b"chunk", name)))
        except (InvalidTag, ValueError) as error:
            raise BadImageError(
                f"chunk {name.hex()} is corrupt: it is not what was encrypted under this name", code="corrupt-chunk"
            ) from error

    def is_whole(self, sealed: Buffer, name: bytes) -> bool:
        """Whether what lies under a name is the chunk of that name."""
        try:
            frame = self.open_chunk(name, sealed)
            size = stated_size(frame)
            return bool(size) and self.name(chunk_id(decompress(frame, size, name.hex()))) == name
        except BadImageError:
            return False

    def seal_file(self, place: str, data: Buffer) -> bytes:
        """A file as it lies at a place, its path below the library's folder."""
        nonce = os.urandom(_NONCE)
        path = place.encode()
        sealed = _cipher(self._files, path).encrypt(nonce, data, self._bound(b"file", path))
        return b"".join((_MAGIC, nonce, sealed))

    def open_file(self, place: str, sealed: Buffer) -> bytes:
        """What the file at a place holds; raises BadImageError where it is not what the key's owner put there."""
        view, path = memoryview(sealed), place.encode()
        if view[: len(_MAGIC)] != _MAGIC:
            raise BadImageError(
                f"{place} is damaged: it is not encrypted as this program does it, though its library is",
                code="bad-image-file",
            )
        nonce, rest = bytes(view[len(_MAGIC) :][:_NONCE]), view[len(_MAGIC) + _NONCE :]
        try:
            return bytes(_cipher(self._files, path).decrypt(nonce, rest, self._bound(b"file", path)))
        except (InvalidTag, ValueError) as error:
            raise BadImageError(
                f"{place} is damaged: it is not what was encrypted for this place", code="bad-image-file"
            ) from error

    def _bound(self, kind: bytes, place: bytes) -> bytes:
        return b"\0".join((b"rescue 1", self._id, kind, place))


def sealed(seal: Seal | None, place: str, data: bytes | bytearray) -> bytes | bytearray:
    """A file as it lies at a place in a library: as it is in one that is not encrypted."""
    return data if seal is None else seal.seal_file(place, data)


def opened(seal: Seal | None, place: str, data: bytes) -> bytes:
    """What the file at a place in a library holds; raises BadImageError as `Seal.open_file`."""
    return data if seal is None else seal.open_file(place, data)


def derive(master: bytes, salt: bytes, purpose: str) -> bytes:
    """The key for one purpose."""
    return HKDF(SHA256(), KEY_SIZE, salt, b"rescue 1 " + purpose.encode()).derive(master)


def _cipher(key: bytes, place: bytes) -> AESGCM:
    """AES-256-GCM under the key of one chunk or file."""
    return AESGCM(HKDFExpand(SHA256(), KEY_SIZE, place).derive(key))
