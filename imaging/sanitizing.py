"""Having a drive erase itself, with what it keeps aside. All that is on it is gone then, and so is its table.

Once the drive has begun, nothing stops it, not even its power: it goes on when that is back. Source: NVM Express base
specification and ACS-4, "Sanitize".
"""

import time
from collections.abc import Callable
from contextlib import suppress

from imaging import sanitize
from imaging.errors import IoError, RescueError
from imaging.pipeline import Reporter
from imaging.run import run
from imaging.sanitize import Method, Progress

PASSWORD = "rescue"
"""Under which an ATA drive is locked while it erases itself. The plan tells it: nothing of it is secret."""
_LOOK_EVERY = 2.0
"""Seconds."""
_ANSWER = 60.0
"""Seconds that a drive has to take a command that it carries out in the background, or to say how far it is."""
_SILENT = 30
"""Times in a row that a drive may not answer while it is at work."""
_ATTEMPTS = 3
"""A drive counts the wrong passwords since it had no power, and takes five."""
_HOURS = 24 * 3600
"""Seconds that a drive has for a format, by which the kernel waits for it."""
_USELESS = ("password-set",)
"""Codes of errors after which a drive must not be taken for one that can be used."""
_AS_USER = ("hdparm", "--user-master", "u")


def erase_itself(path: str, size: int, method: Method, name: str, report: Reporter) -> bool:
    """Have the drive at `path` (`size` bytes) erase itself; whether it has. If not, it can be used as before.

    Raises IoError where it cannot: code "password-set".
    """
    report.step(f"{name} erases itself: this cannot be stopped", size)
    try:
        _carry_out(path, size, method, report)
    except IoError as error:
        if error.code in _USELESS:
            raise
        report.log(f"{name} did not erase itself: {error.message}", "warning")
        return False
    report.finish_step()
    return True


def _carry_out(path: str, size: int, method: Method, report: Reporter) -> None:
    match method:
        case Method.NVME_BLOCK_ERASE | Method.NVME_CRYPTO_ERASE:
            action = 2 if method is Method.NVME_BLOCK_ERASE else 4
            run(["nvme", "sanitize", path, f"--sanact={action}", *_held()], timeout=_ANSWER)
            log = ["nvme", "sanitize-log", path]
            _await(lambda: sanitize.nvme_progress(run(log, timeout=_ANSWER).stdout), size, report)
        case Method.NVME_FORMAT:
            # nvme waits no longer than this: hours of work are not given up before.
            run(["nvme", "format", path, "--ses=1", "--force", f"--timeout={_HOURS * 1000}"])
        case Method.ATA_BLOCK_ERASE | Method.ATA_CRYPTO_SCRAMBLE:
            command = "block-erase" if method is Method.ATA_BLOCK_ERASE else "crypto-scramble"
            run(["hdparm", "--yes-i-know-what-i-am-doing", f"--sanitize-{command}", path], timeout=_ANSWER)
            ask = ["hdparm", "--sanitize-status", path]
            _await(lambda: sanitize.ata_progress(run(ask, timeout=_ANSWER).stdout), size, report)
        case Method.ATA_SECURITY_ERASE | Method.ATA_ENHANCED_SECURITY_ERASE:
            _by_security(path, enhanced=method is Method.ATA_ENHANCED_SECURITY_ERASE)


def _held() -> list[str]:
    """The word by which newer versions of nvme go on with a drive that is held: it is this job that holds it."""
    said = run(["nvme", "sanitize", "--help"], accept=range(256), timeout=_ANSWER)
    return ["--force"] if "--force" in said.stdout + said.stderr else []


def _by_security(path: str, *, enhanced: bool) -> None:
    """Raises IoError where the drive did not erase itself; code "password-set" where it has its password still."""
    erase = "--security-erase-enhanced" if enhanced else "--security-erase"
    try:
        run([*_AS_USER, "--security-set-pass", PASSWORD, path], timeout=_ANSWER)
        # hdparm waits no longer than twice what the drive says, and an hour: hours of work are not given up before.
        run([*_AS_USER, erase, PASSWORD, path])
        if _has_password(path):
            raise IoError(f"{path} did not erase itself: it has its password still", code="tool-failed")
    except (RescueError, OSError):
        # Whatever failed: where it was the answer alone that did not come, the password is set all the same.
        if not took_password_back(path):
            raise IoError(
                f"{path} did not erase itself, and has a password: it locks itself once it was without power",
                code="password-set",
                hint="take the password back, and restore it again: "
                f"hdparm --user-master u --security-disable {PASSWORD} {path}",
            ) from None
        raise


def took_password_back(path: str) -> bool:
    """Whether an ATA drive has no password any more, where it was this one. A wrong one it does not mind a few times.

    One that has not begun takes it back; one that is done has none.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_LOOK_EVERY)
        with suppress(RescueError, OSError):
            # Not for what hdparm says of it: it is refused where there is none, too.
            run([*_AS_USER, "--security-disable", PASSWORD, path], accept=range(256), timeout=_ANSWER)
            if not _has_password(path):
                return True
    return False


def _has_password(path: str) -> bool:
    return sanitize.has_password(run(["hdparm", "-I", path], timeout=_ANSWER).stdout)


def _await(ask: Callable[[], Progress], size: int, report: Reporter) -> None:
    """Look until the drive is done; raises IoError where it says that it failed, or says nothing for a minute."""
    told = silent = 0
    while True:
        try:
            state = ask()
        except RescueError:
            # It may be busy with nothing but this for a while.
            silent += 1
            if silent >= _SILENT:
                raise
        else:
            silent = 0
            if state.failed:
                raise IoError("the drive says that it could not erase itself", code="tool-failed")
            if state.done:
                return
            now = min(int(state.share * size), size)
            report.advance(max(now - told, 0))
            told = max(told, now)
        time.sleep(_LOOK_EVERY)
