"""Having a drive erase itself, with what it keeps aside. All that is on it is gone then, and so is its table.

Once the drive has begun, nothing stops it, not even its power: it goes on when that is back. Source: NVM Express base
specification and ACS-4, "Sanitize".
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from imaging import erasing, sanitize
from imaging.errors import IoError, RescueError
from imaging.pipeline import Reporter
from imaging.run import run
from imaging.sanitize import PASSWORD, Method, Progress
from imaging.sanitizers import ata_status

_LOOK_EVERY = 2.0
"""Seconds."""
_ANSWER = 60.0
"""Seconds that a drive has to take a command that it carries out in the background, or to say how far it is."""
_SILENT = 450
"""Times in a row that a drive may not answer while it is at work: a quarter of an hour at least."""
_ATTEMPTS = 3
"""At a password: a drive that has failed in the middle may be busy for a moment."""
_HOURS = 24 * 3600
"""Seconds that a drive has for a format, by which the kernel waits for it."""
_FAILED = "erase-failed"
_USELESS = ("password-set", "still-erasing")
"""Codes of errors after which a drive must not be taken for one that can be used."""
_AS_USER = ("hdparm", "--user-master", "u")


def erase_itself(path: str, size: int, method: Method, name: str, report: Reporter) -> bool:
    """Have the drive at `path` (`size` bytes) erase itself; whether it has. If not, it can be used as before.

    Raises IoError where it cannot: code "password-set", or "still-erasing" for all that is known.
    """
    report.step(f"{name} erases itself: this cannot be stopped", size)
    try:
        with erasing.announced(path):
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
            _by_nvme_sanitize(path, 2 if method is Method.NVME_BLOCK_ERASE else 4, size, report)
        case Method.NVME_FORMAT:
            as_it_is = sanitize.nvme_format(
                run(["nvme", "id-ns", path, "--output-format=json"], timeout=_ANSWER).stdout
            )
            # nvme waits no longer than this: hours of work are not given up before.
            run(["nvme", "format", path, "--ses=1", *as_it_is, "--force", f"--timeout={_HOURS * 1000}"])
        case Method.ATA_BLOCK_ERASE | Method.ATA_CRYPTO_SCRAMBLE:
            command = "block-erase" if method is Method.ATA_BLOCK_ERASE else "crypto-scramble"
            begin = ["hdparm", "--yes-i-know-what-i-am-doing", f"--sanitize-{command}", path]
            _in_background(begin, partial(_ata_progress, path), size, report)
        case Method.ATA_SECURITY_ERASE | Method.ATA_ENHANCED_SECURITY_ERASE:
            _by_security(path, enhanced=method is Method.ATA_ENHANCED_SECURITY_ERASE)


def _by_nvme_sanitize(path: str, action: int, size: int, report: Reporter) -> None:
    """A drive that fails is told to take data again: that it may, as `--ause` says, for it is wiped otherwise then."""
    command = ["nvme", "sanitize", path, *_held()]
    try:
        _in_background([*command, f"--sanact={action}", "--ause"], partial(_nvme_progress, path), size, report)
    except IoError as error:
        if error.code == _FAILED:
            with suppress(RescueError):
                run([*command, "--sanact=1"], timeout=_ANSWER)
        raise


def _nvme_progress(path: str) -> Progress:
    return sanitize.nvme_progress(run(["nvme", "sanitize-log", path], timeout=_ANSWER).stdout)


def _ata_progress(path: str) -> Progress:
    return sanitize.ata_progress(ata_status(path, _ANSWER))


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


def took_password_back(path: str, attempts: int = _ATTEMPTS) -> bool:
    """Whether an ATA drive has no password any more, where it was this one; of wrong ones it takes five at most.

    One that has not begun takes it back; one that is done has none.
    """
    for attempt in range(attempts):
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


def _in_background(begin: Sequence[str], ask: Callable[[], Progress], size: int, report: Reporter) -> None:
    """Have the drive begin, and look until it is done; raises IoError where it does not begin, or as `_await`."""
    try:
        run(begin, timeout=_ANSWER)
    except IoError as error:
        # It may have begun all the same: the answer was lost, or came too late.
        if error.code != "tool-hung" and not _at_work(ask):
            raise
    _await(ask, size, report)


def _at_work(ask: Callable[[], Progress]) -> bool:
    try:
        state = ask()
    except RescueError:
        return False
    return not state.done and not state.failed


def _await(ask: Callable[[], Progress], size: int, report: Reporter) -> None:
    """Look until the drive is done; raises IoError where it says that it failed, or says nothing for very long."""
    told = silent = 0
    while True:
        try:
            state = ask()
        except RescueError as error:
            # It may be busy with nothing but this for a while.
            silent += 1
            if silent >= _SILENT:
                raise IoError(
                    f"the drive does not say any more whether it still erases itself: {error.message}",
                    code="still-erasing",
                    hint="leave it switched on, for hours if need be: it goes on by itself. Then restore it again",
                ) from error
        else:
            silent = 0
            if state.failed:
                raise IoError("the drive says that it could not erase itself", code=_FAILED)
            if state.done:
                return
            now = min(int(state.share * size), size)
            report.advance(max(now - told, 0))
            told = max(told, now)
        time.sleep(_LOOK_EVERY)
