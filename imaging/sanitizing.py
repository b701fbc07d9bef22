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
_HOURS = 24 * 3600


def erase_itself(path: str, size: int, method: Method, name: str, report: Reporter) -> None:
    """Have the drive at `path` (`size` bytes) erase itself, and return when it has; raises IoError if it does not."""
    report.step(f"{name} erases itself: this cannot be stopped", size)
    match method:
        case Method.NVME_BLOCK_ERASE | Method.NVME_CRYPTO_ERASE:
            action = 2 if method is Method.NVME_BLOCK_ERASE else 4
            run(["nvme", "sanitize", path, f"--sanact={action}", *_held()], timeout=_ANSWER)
            log = ["nvme", "sanitize-log", path]
            _await(lambda: sanitize.nvme_progress(run(log, timeout=_ANSWER).stdout), size, report)
        case Method.NVME_FORMAT:
            wait = f"--timeout={_HOURS * 1000}"
            run(["nvme", "format", path, "--ses=1", "--force", wait], timeout=_HOURS)
        case Method.ATA_BLOCK_ERASE | Method.ATA_CRYPTO_SCRAMBLE:
            command = "block-erase" if method is Method.ATA_BLOCK_ERASE else "crypto-scramble"
            run(["hdparm", "--yes-i-know-what-i-am-doing", f"--sanitize-{command}", path], timeout=_ANSWER)
            ask = ["hdparm", "--sanitize-status", path]
            _await(lambda: sanitize.ata_progress(run(ask, timeout=_ANSWER).stdout), size, report)
        case Method.ATA_SECURITY_ERASE | Method.ATA_ENHANCED_SECURITY_ERASE:
            _by_security(path, enhanced=method is Method.ATA_ENHANCED_SECURITY_ERASE)
    report.finish_step()


def _held() -> list[str]:
    """The word by which newer versions of nvme go on with a drive that is held: it is this job that holds it."""
    said = run(["nvme", "sanitize", "--help"], accept=range(256), timeout=_ANSWER)
    return ["--force"] if "--force" in said.stdout + said.stderr else []


def _by_security(path: str, *, enhanced: bool) -> None:
    as_user = ["hdparm", "--user-master", "u"]
    run([*as_user, "--security-set-pass", PASSWORD, path], timeout=_ANSWER)
    erase = "--security-erase-enhanced" if enhanced else "--security-erase"
    try:
        run([*as_user, erase, PASSWORD, path], timeout=_HOURS)
        if "not\tenabled" not in run(["hdparm", "-I", path], timeout=_ANSWER).stdout:
            raise IoError(f"{path} did not erase itself: it has its password still", code="tool-failed")
    except RescueError:
        # A drive that has not begun takes its password back; one that is done has none.
        with suppress(RescueError):
            run([*as_user, "--security-disable", PASSWORD, path], timeout=_ANSWER)
        raise


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
