"""How a drive can erase itself, with what it keeps aside, by its own account: what nvme-cli and hdparm print. Pure.

Sources: NVM Express base specification, "Identify Controller" (OACS, SANICAP) and "Sanitize Status"; ATA/ATAPI command
set ACS-4, "Sanitize Device" and "Security"; NIST SP 800-88, "Purge"; nvme(1), hdparm(8).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from imaging.decodable import decodable
from imaging.disk import Size
from imaging.errors import IoError

PASSWORD = "rescue"
"""Under which an ATA drive is locked while it erases itself. The plan tells it: nothing of it is secret."""
_FORMAT_NVM = 1 << 1
_MANAGES_NAMESPACES = 1 << 3
"""Bits of OACS."""
_OTHER_CONTROLLERS = 1 << 1
"""A bit of CMIC."""
_CRYPTO_ERASE, _BLOCK_ERASE = 1 << 0, 1 << 1
"""Bits of SANICAP."""
_SCALE = 0x10000
"""In which both standards count how far a drive is."""
_STATUS, _NEVER, _DONE, _WORKING, _DONE_AND_KEPT = 7, 0, 1, 2, 4
"""The last three bits of SSTAT: never begun; done, with or without deallocating; at work."""


class Method(StrEnum):
    """A command by which a drive erases all of itself."""

    NVME_BLOCK_ERASE = "nvme-block-erase"
    NVME_CRYPTO_ERASE = "nvme-crypto-erase"
    NVME_FORMAT = "nvme-format"
    ATA_BLOCK_ERASE = "ata-block-erase"
    ATA_CRYPTO_SCRAMBLE = "ata-crypto-scramble"
    ATA_ENHANCED_SECURITY_ERASE = "ata-enhanced-security-erase"
    ATA_SECURITY_ERASE = "ata-security-erase"

    @property
    def sets_password(self) -> bool:
        """Whether the drive is locked with a password meanwhile, which goes by itself when it is done."""
        return self in (Method.ATA_SECURITY_ERASE, Method.ATA_ENHANCED_SECURITY_ERASE)


class Obstacle(StrEnum):
    """Why a drive does not erase itself."""

    NONE = ""
    UNABLE = "unable"
    """It knows no such command, or is a kind of disk that none is sent to: behind USB, a card, a virtual disk, a file.
    """
    SHARED = "shared"
    """An NVMe drive holds other disks (namespaces), which would be erased as well."""
    FROZEN = "frozen"
    """The drive takes no such command until it is without power for a moment: the computer's firmware wants it so."""
    LOCKED = "locked"
    """The drive has a password already."""
    UNKNOWN = "unknown"
    """It could not be asked."""


class Sanitizer(msgspec.Struct, frozen=True, kw_only=True):
    """How a drive erases itself, and in how many minutes by its own account (0: not known); or what is in the way."""

    method: Method | None = None
    minutes: Size = 0
    obstacle: Obstacle = Obstacle.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a drive is: `share` from 0 to 1; `failed`, too, where it has not `begun`."""

    done: bool
    failed: bool
    share: float
    begun: bool = True


@decodable
class _Controller(msgspec.Struct, frozen=True):
    nn: int
    oacs: int = 0
    sanicap: int = 0
    cmic: int = 0
    ioccsz: int = 0


@decodable
class _Namespace(msgspec.Struct, frozen=True):
    flbas: int
    dps: int


def manages_namespaces(identified: str) -> bool:
    """Whether a controller (`nvme id-ctrl --output-format=json`) can hold namespaces that are not attached to it."""
    return bool(_controller(identified).oacs & _MANAGES_NAMESPACES)


def of_nvme(identified: str, namespaces: str) -> Sanitizer:
    """What `nvme id-ctrl --output-format=json` and `nvme list-ns` say; raises IoError where that cannot be read.

    All commands but a format of one namespace reach all namespaces, and some drives' formats do: there must be one.
    """
    controller = _controller(identified)
    count = len(re.findall(r"^\s*\[\s*\d+\]:\s*0x[0-9a-fA-F]+\s*$", namespaces, re.MULTILINE))
    methods = [
        method
        for able, method in (
            (controller.sanicap & _BLOCK_ERASE, Method.NVME_BLOCK_ERASE),
            (controller.sanicap & _CRYPTO_ERASE, Method.NVME_CRYPTO_ERASE),
            (controller.oacs & _FORMAT_NVM, Method.NVME_FORMAT),
        )
        if able
    ]
    # What is attached through a network (it has command capsules, IOCCSZ) is no drive of this computer's.
    if not methods or controller.ioccsz:
        return Sanitizer(obstacle=Obstacle.UNABLE)
    # A second controller of the drive may have disks of its own; a list of all comes with the management of them.
    unseen = controller.cmic & _OTHER_CONTROLLERS and not controller.oacs & _MANAGES_NAMESPACES
    return Sanitizer(method=methods[0]) if count == 1 and not unseen else Sanitizer(obstacle=Obstacle.SHARED)


def nvme_format(identified: str) -> list[str]:
    """The options of `nvme format` by which a namespace keeps the sectors and the protection that it has.

    Without them it gets the drive's first kind of sectors, where the drive formats all namespaces at once (FNA, bit 0),
    and loses its protection everywhere. `identified` is what `nvme id-ns --output-format=json` says: FLBAS, DPS. Raises
    IoError where that cannot be read.
    """
    try:
        now = msgspec.json.decode(identified, type=_Namespace)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise IoError(f"nvme says what cannot be read: {error}", code="bad-answer") from error
    kind = now.flbas & 0xF | (now.flbas & 0x60) >> 1
    return [f"--lbaf={kind}", f"--ms={now.flbas >> 4 & 1}", f"--pi={now.dps & 7}", f"--pil={now.dps >> 3 & 1}"]


def _controller(identified: str) -> _Controller:
    try:
        return msgspec.json.decode(identified, type=_Controller)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise IoError(f"nvme says what cannot be read: {error}", code="bad-answer") from error


def of_ata(identified: str, status: str = "") -> Sanitizer:
    """What `hdparm -I` says, and `hdparm --sanitize-status` of a drive that `knows_sanitize`."""
    by_security = _by_security(identified)
    methods = _sanitizes(identified)
    if not methods:
        return by_security
    if re.search(r"State:\s*SD1", status):
        return by_security if by_security.method else Sanitizer(obstacle=Obstacle.FROZEN)
    return Sanitizer(method=methods[0])


def knows_sanitize(identified: str) -> bool:
    """Whether an ATA drive knows a command of "Sanitize Device" that is of use here, by what `hdparm -I` says."""
    return bool(_sanitizes(identified))


def _sanitizes(identified: str) -> list[Method]:
    if not re.search(r"^\s*\*\s+SANITIZE feature set\s*$", identified, re.MULTILINE):
        return []
    return [
        method
        for words, method in (
            ("BLOCK_ERASE_EXT command", Method.ATA_BLOCK_ERASE),
            ("CRYPTO_SCRAMBLE_EXT command", Method.ATA_CRYPTO_SCRAMBLE),
        )
        if re.search(rf"^\s*\*\s+{words}\s*$", identified, re.MULTILINE)
    ]


def _by_security(identified: str) -> Sanitizer:
    """The older command, which needs a password: a drive that has one, or takes none, is left alone."""
    said, section = _security(identified)
    if "supported" not in said:
        return Sanitizer(obstacle=Obstacle.UNABLE)
    if "not enabled" not in said or "not locked" not in said:
        return Sanitizer(obstacle=Obstacle.LOCKED)
    # After too many wrong passwords it takes none, not even that by which it would be told to erase itself.
    if "not frozen" not in said or "not expired: security count" not in said:
        return Sanitizer(obstacle=Obstacle.FROZEN)
    enhanced = re.search(r"(\d+)min for ENHANCED SECURITY ERASE UNIT", section)
    plain = re.search(r"(\d+)min for SECURITY ERASE UNIT", section)
    if "supported: enhanced erase" in said:
        return Sanitizer(method=Method.ATA_ENHANCED_SECURITY_ERASE, minutes=int(enhanced.group(1)) if enhanced else 0)
    return Sanitizer(method=Method.ATA_SECURITY_ERASE, minutes=int(plain.group(1)) if plain else 0)


def _security(identified: str) -> tuple[list[str], str]:
    """The lines on that older command, and all of them as they stand there."""
    _, _, section = identified.partition("\nSecurity:")
    return [" ".join(line.split()) for line in section.splitlines()], section


def is_locked(identified: str) -> bool:
    """Whether an ATA drive keeps what it holds to itself until it is told its password, by what `hdparm -I` says."""
    return "locked" in _security(identified)[0]


def has_password(identified: str) -> bool:
    """Whether an ATA drive has a password, by what `hdparm -I` says; raises IoError where it does not say so."""
    said, _ = _security(identified)
    if "enabled" not in said and "not enabled" not in said:
        raise IoError("hdparm does not say whether the drive has a password", code="bad-answer")
    return "enabled" in said


def nvme_progress(said: str) -> Progress:
    """What `nvme sanitize-log` says; raises IoError where that cannot be read."""
    share = re.search(r"\(SPROG\)\s*:\s*(\d+)", said)
    status = re.search(r"\(SSTAT\)\s*:\s*(0x[0-9a-fA-F]+|\d+)", said)
    if not share or not status:
        raise IoError("nvme does not say how far the drive is", code="bad-answer")
    state = int(status.group(1), 0) & _STATUS
    done = state in (_DONE, _DONE_AND_KEPT)
    failed = not done and state != _WORKING
    return Progress(done=done, failed=failed, share=int(share.group(1)) / _SCALE, begun=state != _NEVER)


def ata_progress(said: str) -> Progress:
    """What `hdparm --sanitize-status` says, its complaints included; raises IoError where that is nothing of it.

    In the state of failure the drive refuses the question itself.
    """
    share = re.search(r"Progress:\s*(0x[0-9a-fA-F]+)", said)
    if "Last Sanitize Command completed unsuccessfully" in said:
        return Progress(done=False, failed=True, share=0.0)
    if not re.search(r"State:\s*SD\d", said):
        raise IoError("hdparm does not say how far the drive is", code="bad-answer")
    working = "Sanitize operation In Process" in said
    done = not working and "Completed Without Error" in said
    return Progress(
        done=done,
        failed=not done and not working,
        share=int(share.group(1), 16) / _SCALE if share else 0.0,
        begun=done or working,
    )
