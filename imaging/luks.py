"""LUKS volumes, read without device-mapper: cryptsetup opens a key slot, the data is decrypted as it is read.

Sources: the LUKS On-Disk Format Specification 1.2.3, the LUKS2 On-Disk Format Specification 1.1.3, and dm-crypt in the
kernel's documentation (the number of a sector always counts units of 512 bytes).
"""

import re
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from imaging.blockdev import opened, read, size_of
from imaging.decodable import decodable
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.fuse import VirtualFile
from imaging.run import run

_MAGIC = b"LUKS\xba\xbe"
_HEADER1 = struct.Struct(">6sH32s32s32sI")
"""Magic, version, cipher, mode, hash, offset of the data in sectors of 512 bytes."""
_UNIT = 512
_SECTORS = (512, 1024, 2048, 4096)
_XTS, _ESSIV = "aes-xts-plain64", "aes-cbc-essiv:sha256"
_CIPHERS = (_XTS, _ESSIV)
_TIMEOUT = 300.0
"""Seconds: a slot may ask for much work, and an emulated machine is slow."""
_NO_KEY, _NO_MEMORY = 2, 3
"""How cryptsetup ends; see cryptsetup(8), RETURN CODES."""
_SIGNALS = 64
_KEY = re.compile(r"MK\s+dump:((?:\s+[0-9a-f]{2})+)")
_CODE = "bad-luks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Where the data of a LUKS volume lies, in bytes, and how it is encrypted; `tweak` is its first sector's number."""

    offset: int
    size: int
    sector: int
    cipher: str
    tweak: int = 0


class _Segment(msgspec.Struct, frozen=True):
    type: str
    offset: str
    size: str
    encryption: str = ""
    iv_tweak: str = "0"
    sector_size: int = _UNIT
    integrity: Any = None


class _Kdf(msgspec.Struct, frozen=True):
    memory: int = 0


class _Slot(msgspec.Struct, frozen=True):
    kdf: _Kdf = _Kdf()


class _Config(msgspec.Struct, frozen=True):
    requirements: Any = None


@decodable
class _Header2(msgspec.Struct, frozen=True):
    segments: dict[str, _Segment]
    keyslots: dict[str, _Slot] = {}
    config: _Config = _Config()


def segment(path: str) -> Segment:
    """The data of the LUKS volume on a device. Raises BadImageError, RefusedError where it is not known how to read it.

    IoError where the device cannot be read.
    """
    with opened(path) as fd:
        size = size_of(fd)
        head = read(fd, min(size, _UNIT), 0)
    magic, version, cipher, mode, _hash, payload = _HEADER1.unpack_from(head.ljust(_HEADER1.size, b"\0"))
    if magic != _MAGIC:
        raise BadImageError("there is no LUKS header", code=_CODE)
    if version == 1:
        names = (word.split(b"\0")[0].decode("ascii", "replace") for word in (cipher, mode))
        return _checked(
            Segment(offset=payload * _UNIT, size=size - payload * _UNIT, sector=_UNIT, cipher="-".join(names)), size
        )
    header = _header2(path)
    if header.config.requirements or len(header.segments) != 1:
        raise RefusedError("it was about to be encrypted anew, or needs what is not known here", code=_CODE)
    one = next(iter(header.segments.values()))
    if one.type != "crypt" or one.integrity is not None:
        raise RefusedError("it protects its data in a way that is not known here", code=_CODE)
    try:
        offset, tweak = int(one.offset), int(one.iv_tweak)
        length = size - offset if one.size == "dynamic" else int(one.size)
    except ValueError as error:
        raise _damaged() from error
    return _checked(
        Segment(offset=offset, size=length, sector=one.sector_size, cipher=one.encryption, tweak=tweak), size
    )


def _checked(found: Segment, size: int) -> Segment:
    if found.cipher not in _CIPHERS:
        raise RefusedError(f"it is encrypted with {found.cipher!r}, which is not known here", code=_CODE)
    good = found.sector in _SECTORS and found.offset > 0 and found.offset % _UNIT == 0 and 0 <= found.tweak < 1 << 63
    if not good or not 0 < found.size <= size - found.offset:
        raise _damaged()
    whole = found.size // found.sector * found.sector
    return Segment(offset=found.offset, size=whole, sector=found.sector, cipher=found.cipher, tweak=found.tweak)


def _damaged() -> BadImageError:
    return BadImageError("its LUKS header is damaged", code=_CODE)


def _header2(path: str) -> _Header2:
    done = run(["cryptsetup", "luksDump", "--dump-json-metadata", path], accept=range(256), timeout=_TIMEOUT)
    if done.status != 0:
        raise _damaged()
    try:
        return msgspec.json.decode(done.stdout, type=_Header2)
    except msgspec.MsgspecError as error:
        raise _damaged() from error


def volume_key(path: str, passphrase: str) -> bytes:
    """The key of the LUKS volume on a device. Takes seconds, and as much memory as its slots were made to need.

    Raises RefusedError (code "wrong-passphrase") where no slot opens with the passphrase, IoError.
    """
    argv: Sequence[str] = ("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--key-file", "-", path)
    done = run(argv, accept=range(-_SIGNALS, 256), timeout=_TIMEOUT, secret=passphrase)
    if done.status == _NO_KEY:
        raise RefusedError("that is not its passphrase", code="wrong-passphrase", hint="mind the keyboard's layout")
    if done.status in (_NO_MEMORY, -signal.SIGKILL):
        raise IoError(
            "there is not enough memory to try its passphrase",
            code="no-memory",
            hint="open it on a computer with as much memory as the one that it was made on",
        )
    found = _KEY.search(done.stdout)
    if done.status != 0 or found is None:
        raise _damaged()
    return bytes.fromhex("".join(found[1].split()))


class Decrypted:
    """The plain data of a LUKS volume: a file for imaging.fuse."""

    def __init__(self, source: VirtualFile, where: Segment, key: bytes) -> None:
        """Take the volume, where its data lies, and its key. Raises BadImageError where the key cannot be one."""
        self._source, self._where, self._key = source, where, key
        sizes = (32, 64) if where.cipher == _XTS else (16, 24, 32)
        if len(key) not in sizes:
            raise _damaged()
        digest = Hash(SHA256())
        digest.update(key)
        self._essiv = digest.finalize()

    @property
    def size(self) -> int:
        """Bytes of the plain data."""
        return self._where.size

    def read(self, offset: int, size: int) -> Sequence[memoryview]:
        """As VirtualFile."""
        end = min(self.size, offset + size)
        if end <= offset:
            return []
        sector = self._where.sector
        first, last = offset // sector, -(-end // sector)
        sealed = b"".join(self._source.read(self._where.offset + first * sector, (last - first) * sector))
        plain = bytearray(len(sealed))
        for n in range(last - first):
            at = n * sector
            number = self._where.tweak + (first + n) * (sector // _UNIT)
            plain[at : at + sector] = self._sector(number, sealed[at : at + sector])
        return [memoryview(plain)[offset - first * sector : end - first * sector]]

    def _sector(self, number: int, sealed: bytes) -> bytes:
        tweak = number.to_bytes(16, "little")
        if self._where.cipher == _XTS:
            return Cipher(algorithms.AES(self._key), modes.XTS(tweak)).decryptor().update(sealed)
        start = Cipher(algorithms.AES(self._essiv), modes.ECB()).encryptor().update(tweak)
        return Cipher(algorithms.AES(self._key), modes.CBC(start)).decryptor().update(sealed)
