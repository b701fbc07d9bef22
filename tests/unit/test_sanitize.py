"""What nvme-cli and hdparm say of how a drive can erase itself is understood, and what is in doubt is left alone."""

import json

import pytest

from imaging import sanitize
from imaging.errors import IoError
from imaging.sanitize import Method, Obstacle, Sanitizer

ONE = "[   0]:0x1\n"
ATA = """
/dev/sda:

ATA device, with non-removable media
Commands/features:
\tEnabled\tSupported:
\t   *\tDevice-initiated interface power management
{features}
Security:
\tMaster password revision code = 65534
\t\tsupported
\t{enabled}\tenabled
\tnot\tlocked
\t{frozen}\tfrozen
\tnot\texpired: security count
{enhanced}\t4min for SECURITY ERASE UNIT. 2min for ENHANCED SECURITY ERASE UNIT.
Checksum: correct
"""
ENHANCED = "\t\tsupported: enhanced erase\n"


def ata(features: str = "", *, enabled: bool = False, frozen: bool = False, enhanced: bool = True) -> str:
    return ATA.format(
        features="".join(f"\t   *\t{name}\n" for name in features.split(",") if name),
        enabled="" if enabled else "not",
        frozen="" if frozen else "not",
        enhanced=ENHANCED if enhanced else "",
    )


@pytest.mark.parametrize(
    ("oacs", "sanicap", "namespaces", "expected"),
    [
        (0x17, 3, ONE, Sanitizer(method=Method.NVME_BLOCK_ERASE)),
        (0x17, 1, ONE, Sanitizer(method=Method.NVME_CRYPTO_ERASE)),
        (0x17, 0, ONE, Sanitizer(method=Method.NVME_FORMAT)),
        (0x15, 0, ONE, Sanitizer(obstacle=Obstacle.UNABLE)),
        (0x17, 4, ONE, Sanitizer(method=Method.NVME_FORMAT)),
        (0x17, 3, ONE + "[   1]:0x2\n", Sanitizer(obstacle=Obstacle.SHARED)),
        (0x17, 3, "", Sanitizer(obstacle=Obstacle.SHARED)),
    ],
)
def test_nvme(oacs: int, sanicap: int, namespaces: str, expected: Sanitizer) -> None:
    said = json.dumps({"vid": 1, "mn": "Drive", "nn": 1, "oacs": oacs, "sanicap": sanicap})
    assert sanitize.of_nvme(said, namespaces) == expected
    assert sanitize.manages_namespaces(said) is bool(oacs & 8)


def test_a_format_has_the_sectors_of_before() -> None:
    def options(flbas: int, dps: int = 0) -> list[str]:
        return sanitize.nvme_format(json.dumps({"nsze": 1, "nlbaf": 3, "flbas": flbas, "dps": dps, "lbafs": []}))

    assert options(0) == ["--lbaf=0", "--ms=0", "--pi=0", "--pil=0"]
    assert options(0x13, 0xB) == ["--lbaf=3", "--ms=1", "--pi=3", "--pil=1"]
    assert options(0x42)[0] == "--lbaf=34"
    for said in ("", "{}", '{"flbas": 0}', '{"flbas": "0", "dps": 0}', "{" * 5000):
        with pytest.raises(IoError):
            sanitize.nvme_format(said)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cmic": 0, "ioccsz": 0}, Obstacle.NONE),
        ({"cmic": 2}, Obstacle.SHARED),
        ({"cmic": 2, "oacs": 0x1F}, Obstacle.NONE),
        ({"ioccsz": 4}, Obstacle.UNABLE),
    ],
)
def test_a_drive_that_is_not_this_computer_s_alone(facts: dict[str, int], expected: Obstacle) -> None:
    """It has other controllers, whose disks are not all listed, or is attached through a network."""
    assert sanitize.of_nvme(json.dumps({"nn": 1, "oacs": 0x17, "sanicap": 3, **facts}), ONE).obstacle is expected


@pytest.mark.parametrize("said", ["", "{}", "[]", '{"nn": "1"}', "{" * 5000])
def test_what_cannot_be_read_is_an_error(said: str) -> None:
    with pytest.raises(IoError):
        sanitize.of_nvme(said, ONE)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (ata("SANITIZE feature set,BLOCK_ERASE_EXT command,CRYPTO_SCRAMBLE_EXT command"), Method.ATA_BLOCK_ERASE),
        (ata("SANITIZE feature set,CRYPTO_SCRAMBLE_EXT command"), Method.ATA_CRYPTO_SCRAMBLE),
        (ata("BLOCK_ERASE_EXT command"), Method.ATA_ENHANCED_SECURITY_ERASE),
        (ata("SANITIZE feature set,OVERWRITE_EXT command", enhanced=False), Method.ATA_SECURITY_ERASE),
        (ata(frozen=True), Obstacle.FROZEN),
        (ata(enabled=True), Obstacle.LOCKED),
        (ata().replace("\tnot\texpired", "\t\texpired"), Obstacle.FROZEN),
        (ata().replace("\t\tsupported\n", "\tnot\tsupported\n"), Obstacle.UNABLE),
        ("/dev/sdb:\nSG_IO: bad/missing sense data\n", Obstacle.UNABLE),
        ("", Obstacle.UNABLE),
    ],
)
def test_ata(said: str, expected: Method | Obstacle) -> None:
    found = sanitize.of_ata(said)
    assert expected in ((found.method,) if isinstance(expected, Method) else (found.obstacle,))
    assert (found.method is None) is isinstance(expected, Obstacle)
    if found.method is Method.ATA_ENHANCED_SECURITY_ERASE:
        assert found.minutes == 2
    if found.method is Method.ATA_SECURITY_ERASE:
        assert found.minutes == 4


@pytest.mark.parametrize(
    ("identified", "expected"),
    [
        (ata("SANITIZE feature set,BLOCK_ERASE_EXT command"), Method.ATA_ENHANCED_SECURITY_ERASE),
        (ata("SANITIZE feature set,BLOCK_ERASE_EXT command", frozen=True), Obstacle.FROZEN),
        (ata("SANITIZE feature set,BLOCK_ERASE_EXT command", enabled=True), Obstacle.FROZEN),
        (ata(enabled=True), Obstacle.LOCKED),
    ],
)
def test_the_firmware_of_a_computer_locks_the_newer_command_too(identified: str, expected: Method | Obstacle) -> None:
    assert sanitize.knows_sanitize(identified) is ("SANITIZE" in identified)
    found = sanitize.of_ata(identified, "Sanitize status:\n    State:    SD1 Sanitize Frozen\n")
    assert expected in (found.method, found.obstacle)
    idle = sanitize.of_ata(identified, "Sanitize status:\n    State:    SD0 Sanitize Idle\n")
    assert (idle.method is Method.ATA_BLOCK_ERASE) is sanitize.knows_sanitize(identified)


def test_whether_a_drive_has_a_password() -> None:
    assert sanitize.is_locked(ata().replace("\tnot\tlocked", "\t\tlocked"))
    assert not any(sanitize.is_locked(said) for said in ("", ata(), ata(enabled=True)))
    assert sanitize.has_password(ata(enabled=True))
    assert not sanitize.has_password(ata())
    for said in ("", "/dev/sda:\nSG_IO: bad/missing sense data\n", ata(enabled=True).partition("\tenabled")[0]):
        with pytest.raises(IoError):
            sanitize.has_password(said)


def test_how_far_a_drive_is() -> None:
    log = "Sanitize Progress                      (SPROG) :  {}\nSanitize Status                        (SSTAT) :  {}\n"
    going = sanitize.nvme_progress(log.format("16384 (25.000000%)", "0x2"))
    assert (going.done, going.failed, going.share) == (False, False, 0.25)
    assert sanitize.nvme_progress(log.format(65535, "0x101")).done
    assert sanitize.nvme_progress(log.format(65535, "0x4")).done
    assert sanitize.nvme_progress(log.format(65535, "0x3")).failed
    assert sanitize.nvme_progress(log.format(65535, "0")).failed
    with pytest.raises(IoError):
        sanitize.nvme_progress("NVMe status: Invalid Log Page")
    going = sanitize.ata_progress(
        "Sanitize status:\n    State:    SD2 Sanitize operation In Process\n    Progress: 0x4000 (25%)\n"
    )
    assert (going.done, going.failed, going.share) == (False, False, 0.25)
    assert sanitize.ata_progress(
        "    State:    SD0 Sanitize Idle\n    Last Sanitize Operation Completed Without Error\n"
    ).done
    assert sanitize.ata_progress("    State:    SD3 Sanitize Operation Failed\n").failed
    assert sanitize.ata_progress("    State:    SD1 Sanitize Frozen\n").failed
    failed = "SANITIZE failed: Input/output error\nSANITIZE device error reason: {}\n"
    assert sanitize.ata_progress(failed.format("Last Sanitize Command completed unsuccessfully")).failed
    for said in ("", failed.format("Reason not reported"), "/dev/sda: No such file or directory\n"):
        with pytest.raises(IoError):
            sanitize.ata_progress(said)
