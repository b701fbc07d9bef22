"""What an order finds on this computer: the library that it names, the images in it, the disks and their roles."""

from pathlib import Path

from imaging import (
    access,
    credentials,
    inventory,
    matching,
    media,
    objects,
    remote,
    resectored,
    shares,
    smaller,
    vouching,
    web,
)
from imaging.address import is_address, parse
from imaging.bootentry import with_boot_entry
from imaging.credentials import Keys
from imaging.errors import BadImageError, RefusedError
from imaging.keeping import refuse_forgotten, with_kept_files
from imaging.library import FOLDER, Library, discover
from imaging.manifest import Machine
from imaging.matching import Found
from imaging.orders import ATTACHED, STICK, Capture, Login, Order, Restore
from imaging.pack import first_piece, is_pack
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan
from imaging.sanitizers import with_sanitizers
from imaging.shares import GUEST

NETWORK = 180.0
"""Seconds in which a share has to answer, the network's own start included."""


def look(order: Order, machine: Machine, library: Path | None = None) -> Found:
    """Find it all; takes seconds, or minutes where a share does not answer. `library` goes before the order's.

    Raises RefusedError where the library is not exactly one, BadImageError, IoError, UsageError.
    """
    new = isinstance(order.work, Capture)
    library = library or _library(order.work.library, order.login, new=new)
    disks = inventory.scan([library])
    files = {
        path: matching.refuse_unless_file(path, inventory.look(path, [library])) for path in matching.files_of(order)
    }
    if new:
        return Found(machine=machine, disks=disks, library=library, files=files)
    listing = Library.open(library).images()
    return Found(
        machine=machine,
        disks=disks,
        library=library,
        files=files,
        images=listing.images,
        damaged=listing.damaged,
        notes=listing.notes,
        unnoted=listing.unnoted,
    )


def plan_order(order: Order, found: Found) -> Plan:
    """What an order comes to here; raises as matching.plan_order does.

    An order comes from the medium or from a server: it cannot accept an image that nobody vouches for who is trusted
    here (RefusedError, code "not-trusted").
    """
    plan = matching.plan_order(order, found)
    if not isinstance(plan, RestorePlan):
        return plan
    smaller.refuse_unless_fits(plan)
    resectored.refuse_unless_possible(plan)
    if isinstance(order.work, Restore) and order.work.boot_entry:
        plan = with_boot_entry(plan)
    if isinstance(order.work, Restore) and order.work.keep_files:
        plan = with_kept_files(plan, order.work.keep_files, found.library)
    plan = with_sanitizers(plan)
    refuse_forgotten(plan, "give keep_files in the order, or have a person complete or undo that restore")
    return vouching.refuse_doubtful(vouching.of_restore(plan))


def _library(word: str, login: Login | None, *, new: bool) -> Path:
    """The folder of the library; one that is to be captured into need not be one yet."""
    if word == STICK:
        return _within((media.IMAGES, Path(inventory.MEDIUM)), "the medium that this computer was started from", new)
    if word == ATTACHED:
        return _attached()
    if is_address(word):
        return _at_address(word, login, new=new)
    if shares.is_address(word):
        address = shares.parse(word)
        who = shares.Login(user=login.user, password=login.password, domain=login.domain) if login else GUEST
        where = web.patiently(lambda: access.connect(address, who, writable=new), NETWORK)
        return _within((where,), address.source, new)
    return _within((Path(word),), word, new)


def _at_address(word: str, login: Login | None, *, new: bool) -> Path:
    """The folder that stands for the library at an address, which is there or may be made.

    The network may just be starting: each request is repeated for minutes, as a job's are.
    """
    objects.be_patient()
    if login is not None:
        address = parse(word)
        credentials.keep(address, Keys(values=credentials.of_login(address, login.user, login.password)))
    folder = remote.folder_for(word)
    if not new:
        Library.open(folder)
    return folder


def _within(roots: tuple[Path, ...], name: str, new: bool) -> Path:
    """The library in one of the folders, or in `rescue-library` beneath it; an image in a single file is one itself."""
    for root in roots:
        single = first_piece(root)
        if is_pack(single):
            return single
        for path in (root, root / FOLDER):
            if (path / "library.json").exists():
                return path
    if new and roots[0].is_dir() and (len(roots) == 1 or roots[0].is_mount()):
        return roots[0] if not any(roots[0].iterdir()) else roots[0] / FOLDER
    raise BadImageError(
        f"no image library was found on {name}",
        code="not-a-library",
        hint="copy one there, or say in the order where it is: library = ..",
    )


def _attached() -> Path:
    """The one library on all media."""
    media.attach(inventory.scan())
    found = discover()
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadImageError("no image library was found on the media that are attached", code="not-a-library")
    raise RefusedError(
        f"several libraries are attached: {', '.join(map(str, found))}",
        code="ambiguous-library",
        hint="unplug the others, or give one's path in the order",
    )
