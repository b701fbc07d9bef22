"""Disks that are wiped before something is restored to them, and tools that do to them what a drive does by itself."""

import os
from pathlib import Path

import pytest

from imaging import inventory, planner, sanitizers, sanitizing
from imaging.restoreplans import RestorePlan, Wipe
from imaging.sanitize import Method, Sanitizer
from tests.disks import MIB
from tests.faults.world import Sample

OLD = b"an old secret of 32 bytes' length"[:32]
NVME = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
sanitize) case "$*" in *--help*) exit 0;; *--sanact=1*) echo 0 > {folder}/states; exit 0;; esac; {deed}; {answer};;
sanitize-log) echo 'Sanitize Progress (SPROG) :  30000'
    echo "Sanitize Status (SSTAT) :  $(sed -n 1p {folder}/states)"
    [ "$(wc -l < {folder}/states)" -gt 1 ] && sed -i 1d {folder}/states;;
id-ns) echo '{{"nsze": 1, "nlbaf": 1, "flbas": 17, "mc": 3, "dps": 9, "lbafs": [{{"ms": 0, "ds": 9, "rp": 0}}]}}';;
format) {deed};;
esac
exit 0
"""
HDPARM = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
*--sanitize-status*) printf 'State:    SD0 Sanitize Idle\\n    Last Sanitize Operation Completed Without Error\\n';;
*--security-erase*) {deed}; rm -f {folder}/password;;
*--sanitize-*) {deed};;
*--security-set-pass*) touch {folder}/password; {answer};;
*--security-disable*) [ -e {folder}/stuck ] || rm -f {folder}/password;;
*-I*) [ -e {folder}/password ] || not=not; printf "\\nSecurity:\\n\\t$not\\tenabled\\n";;
esac
exit 0
"""
ZEROS = "dd if=/dev/zero of={disk} bs=1M count={size} conv=notrunc status=none"


def pretend(
    folder: Path,
    disk: Path,
    deed: str,
    patch: pytest.MonkeyPatch,
    states: str = "0x2\n0x101\n",
    answer: str = "true",
) -> Path:
    """Tools that do to `disk` what a drive does with their commands; what was asked of them stands in the file."""
    tools = folder / "tools"
    tools.mkdir()
    (folder / "states").write_text(states)
    (folder / "asked").touch()
    deed = deed.format(disk=disk, size=disk.stat().st_size // MIB)
    for name, words in (("nvme", NVME), ("hdparm", HDPARM)):
        tool = tools / name
        tool.write_text(words.format(folder=folder, deed=deed, answer=answer))
        tool.chmod(0o755)
    patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    patch.setattr(sanitizing, "_LOOK_EVERY", 0.0)
    return folder / "asked"


def sanitized(
    sample: Sample, disk: Path, method: Method, patch: pytest.MonkeyPatch, *, now: Sanitizer | None = None
) -> RestorePlan:
    """A plan by which the disk erases itself; `now` is what it says when that is carried out, if not the same."""
    patch.setattr(sanitizers, "look", lambda _disk: Sanitizer(method=method))
    plan = sanitizers.with_sanitizers(planned(sample, disk, Wipe.SANITIZE))
    patch.setattr(sanitizers, "look", lambda _disk: now or Sanitizer(method=method))
    return plan


def planned(sample: Sample, disk: Path, way: Wipe) -> RestorePlan:
    target = inventory.look(str(disk), [sample.library])
    plan = planner.plan_restore(sample.library, sample.image, {sample.imaged.name: target})
    return planner.with_wipe(plan, way)
