"""Verify an image's chunks, or compare a disk with an image."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from imaging import inventory
from imaging.blockdev import opened, read_exactly
from imaging.content import Content
from imaging.errors import BadImageError, IoError
from imaging.events import VerifyResult
from imaging.library import Library
from imaging.pipeline import ChunkBuffer, Counter, Reporter, busy_chunks, run_all
from imaging.plan import VerifyPlan


def verify(plan: VerifyPlan, report: Reporter, cancel: threading.Event) -> VerifyResult:
    """Carry out a verification: nothing is written. Every bad chunk is found, not just the first.

    Raises BadImageError where manifest, index, used map or digest table cannot be used, RefusedError where the disk to
    compare with is not the one that was shown, IoError, CancelledError.
    """
    began = time.monotonic()
    library = Library.open(Path(plan.library))
    image = library.image(plan.image)
    counts = Counter()
    bad: set[str] = set()
    for disk in image.disks:
        if plan.against is not None and disk.name != plan.disk:
            continue
        content = Content.load(library, image, disk)
        if plan.against is None:
            _verify_chunks(content, bad, counts, report, cancel)
        else:
            inventory.refuse_if_changed(plan.against, inventory.look(plan.against.path))
            _compare(content, plan.against.path, counts, report, cancel)
    return VerifyResult(
        image=image.id,
        chunks=counts["chunks"],
        bytes=counts["bytes"],
        bad=tuple(sorted(bad)),
        differing=counts["differing"],
        seconds=time.monotonic() - began,
    )


def _verify_chunks(content: Content, bad: set[str], counts: Counter, report: Reporter, cancel: threading.Event) -> None:
    """Check each chunk once, the all-zero ones that casync needs among them."""
    index = content.index
    chosen = _claims(content)
    chosen.sort()
    report.step(f"Verifying {content.disk.name}", sum(index.length(i) for i in chosen))

    def make_worker() -> Callable[[int], None]:
        def work(i: int) -> None:
            try:
                content.plain(i)
            except BadImageError as error:
                bad.add(index.id(i).hex())
                report.log(error.message, "warning")
            counts.add("chunks")
            counts.add("bytes", index.length(i))
            report.advance(index.length(i))

        return work

    run_all(chosen, make_worker, cancel)
    report.finish_step()


def _claims(content: Content) -> list[int]:
    """One number for each chunk that the image names; one id with two lengths or digests is a claim each."""
    index, digests = content.index, content.digests
    first: dict[bytes, int] = {}
    others = []
    for i in range(len(index)):
        same = first.setdefault(index.id(i), i)
        if (index.length(i), digests[i]) != (index.length(same), digests[same]):
            others.append(i)
    return [*first.values(), *others]


def _compare(content: Content, path: str, counts: Counter, report: Reporter, cancel: threading.Event) -> None:
    with opened(path) as fd:

        def read(buffer: memoryview, offset: int) -> None:
            read_exactly(fd, buffer, offset)

        report.step(f"Comparing {path.rsplit('/', 1)[-1]} with the image", content.body.total)

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(i: int) -> None:
                size = sum(high - low for low, high in content.ranges(i))
                if not content.matches(i, read, buffer):
                    counts.add("differing")
                    report.log(f"The disk differs from the image at byte {content.index.start(i)}", "warning")
                counts.add("chunks")
                counts.add("bytes", size)
                report.advance(size)

            return work

        run_all(busy_chunks(content.index, content.body), make_worker, cancel)
        report.finish_step()
        _compare_table(content, read, path, counts, report)


def _compare_table(
    content: Content, read: Callable[[memoryview, int], None], path: str, counts: Counter, report: Reporter
) -> None:
    size = inventory.look(path).size
    for at, data in content.table_pieces(size):
        found = bytearray(len(data))
        try:
            read(memoryview(found), at)
        except IoError:
            found = bytearray()
        if found != data:
            counts.add("differing")
            report.log(f"The disk's partition table differs from the image's at byte {at}", "warning")
