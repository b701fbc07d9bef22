"""`rescue factory`: which images are factory images, and putting this computer back to the one made for it."""

import argparse
from argparse import Namespace
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from imaging import care, inventory, matching, notes
from imaging.disk import Disk
from imaging.errors import ExitStatus, RefusedError, UsageError
from imaging.manifest import Image
from imaging.orders import DiskMatch, Match
from rescue import chosen, commands
from rescue.accepting import (
    add_accept,
    add_erase,
    add_grow,
    add_keep,
    add_keep_files,
    add_no_boot_entry,
    add_save_first,
    add_shrink,
    add_wipe,
)
from rescue.factories import Offer, offers, only_one, target_by_rule
from rescue.factory_words import made_for
from rescue.finding import find, libraries
from rescue.formats import clean, columns
from rescue.language import _
from rescue.targeting import targets


def add_factory(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `factory` and those beneath it."""
    top = found.add_parser("factory", help=_("mark factory images, and put this computer back to the one made for it"))
    under = top.add_subparsers(metavar="COMMAND", dest="factory_command", required=True)
    _add_set(under.add_parser("set", parents=list(parents), help=_("make an image a factory image")))
    unset = under.add_parser("unset", parents=list(parents), help=_("make it an ordinary image again"))
    unset.add_argument("image", metavar="IMAGE")
    unset.set_defaults(run=unset_factory)
    words = _("list the factory images, those made for this computer first")
    under.add_parser("list", parents=list(parents), help=words).set_defaults(run=list_factory)
    words = _("restore the factory image that was made for this computer")
    _add_reset(under.add_parser("reset", parents=list(parents), help=words))


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--name", default="", metavar="TEXT", help=_("what it is called to a person"))
    parser.add_argument("--description", default="", metavar="TEXT", help=_("a line that says what it is"))
    parser.add_argument("--edition", default="", metavar="TEXT", help=_("its edition or version"))
    meant = _("the {what} of the computers that it is made for (`rescue factory list` shows this one's); * is any text")
    for option, what in (("--vendor", _("maker")), ("--product", _("model")), ("--serial", _("serial number"))):
        words = meant.format(what=what)
        parser.add_argument(option, action="append", default=[], metavar="PATTERN", help=words)
    parser.add_argument(
        "--only-internal", action="store_true", help=_("it goes to the one disk that is built in, and nobody is asked")
    )
    words = _("it goes to the one disk of this model, and nobody is asked")
    parser.add_argument("--disk-model", action="append", default=[], metavar="PATTERN", help=words)
    words = _("of disks that it may go to: at least so large, such as 200GB")
    parser.add_argument("--min-size", metavar="SIZE", help=words)
    words = _("of disks that it may go to: at most so large")
    parser.add_argument("--max-size", metavar="SIZE", help=words)
    parser.set_defaults(run=set_factory)


def _add_reset(parser: argparse.ArgumentParser) -> None:
    words = _("the factory image (default: the one that was made for this computer)")
    parser.add_argument("image", metavar="IMAGE", nargs="?", help=words)
    words = _("the disk to erase (default: by the image's own rule); for one disk of several: NAME=TARGET")
    parser.add_argument("--to", action="append", default=[], metavar="TARGET", help=words)
    add_confirmation(parser)
    add_keep(parser)
    add_keep_files(parser)
    words = _("take an image that was made for other computers")
    parser.add_argument("--other-computer", action="store_true", help=words)
    parser.set_defaults(run=reset)


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """The options of a restore whose image and disk are not named one by one."""
    parser.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    add_yes_on(parser)
    # A computer that is put back to what it was stays the one that it is.
    parser.set_defaults(new_identity=False, host_name="")
    add_erase(parser)
    parser.add_argument("--no-read-back", action="store_true", help=_("do not read back and compare what was written"))
    add_accept(parser)
    add_grow(parser)
    add_shrink(parser)
    add_save_first(parser)
    add_wipe(parser)
    add_no_boot_entry(parser)


def add_yes_on(parser: argparse.ArgumentParser) -> None:
    """The option that confirms disks by their serial numbers."""
    parser.add_argument(
        "--yes-on",
        action="append",
        default=[],
        metavar="SERIAL",
        help=_("confirms the disk by its serial number, in place of typing its name; once for each"),
    )


def set_factory(options: Namespace) -> int:
    """`rescue factory set IMAGE`."""
    found = find(options)
    match = Match(vendor=tuple(options.vendor), product=tuple(options.product), serial=tuple(options.serial))
    state = notes.factory_state(options.name, options.description, options.edition, match, _disk_rule(options))
    care.mark_factory(found.library.path, found.image.id, state)
    if options.json:
        commands.print_json({"library": str(found.library.path), "id": found.image.id, "factory": state})
        return ExitStatus.DONE
    image = clean(found.image.id)
    print(_("Image {image} is a factory image now, for: {computers}").format(image=image, computers=made_for(match)))
    print(_("Nobody can delete it before `rescue factory unset`."))
    return ExitStatus.DONE


def _disk_rule(options: Namespace) -> DiskMatch | None:
    """The rule that was given."""
    rule = DiskMatch(
        model=tuple(options.disk_model),
        min_size=options.min_size,
        max_size=options.max_size,
        only_internal=options.only_internal,
    )
    return rule if rule != DiskMatch() else None


def unset_factory(options: Namespace) -> int:
    """`rescue factory unset IMAGE`."""
    found = find(options)
    care.mark_factory(found.library.path, found.image.id, None)
    if options.json:
        commands.print_json({"library": str(found.library.path), "id": found.image.id, "factory": None})
    else:
        print(_("Image {image} is no factory image any more.").format(image=clean(found.image.id)))
    return ExitStatus.DONE


def _offers(options: Namespace) -> list[Offer]:
    return _offers_and_doubts(options)[0]


def _offers_and_doubts(options: Namespace) -> tuple[list[Offer], list[str]]:
    """The factory images, and the ids of what may be the one for this computer, and is damaged, or its notes are."""
    here = inventory.machine()
    there, doubts = [], []
    for library in libraries(options):
        listing = library.images()
        doubts += [*sorted(listing.unnoted), *(bad.id for bad in listing.damaged)]
        for image in listing.images:
            noted = listing.notes.get(image.id, notes.NOTHING)
            if noted.factory is not None:
                there.append((library.path, image, noted.factory))
                bad = noted.verified is not None and not noted.verified.good
                doubts += [image.id] if bad and matching.is_for(noted.factory.match, here) else []
    return offers(there, here), doubts


def list_factory(options: Namespace) -> int:
    """`rescue factory list`."""
    found, here = _offers(options), inventory.machine()
    if options.json:
        commands.print_json({"machine": here, "factory": [_value(offer) for offer in found]})
        return ExitStatus.DONE
    known = (clean(here.vendor), clean(here.model), clean(here.serial))
    print(_("This computer: {words}").format(words=", ".join(filter(None, known)) or _("not known")))
    if not found:
        print(_("No image is marked as a factory image."))
        return ExitStatus.DONE
    heads = [_("Fits"), _("Name"), _("Edition"), _("Made for"), _("Image")]
    commands.print_lines(columns([heads, *map(_row, found)]))
    return ExitStatus.DONE


def _row(offer: Offer) -> list[str]:
    fits = _("yes") if offer.fits else _("no")
    return [fits, offer.name, clean(offer.state.edition), made_for(offer.state.match), clean(offer.image.id)]


def _value(offer: Offer) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(offer.state)
    return {"library": str(offer.library), "id": offer.image.id, "fits": offer.fits, **builtins}


def reset(options: Namespace) -> int:
    """`rescue factory reset [IMAGE]`: a restore of the factory image, with a restore's plan and confirmation."""
    found, doubts = _offers_and_doubts(options)
    if doubts and options.image is None:
        raise RefusedError(
            f"image {doubts[0]} or its notes are damaged, and may be the factory image for this computer",
            code="ambiguous-image",
            hint="name the image that is meant: `rescue factory list`",
        )
    offer = _chosen(found, options)
    words = list(options.to) or [_ruled(offer).path]
    return restore(options, offer.library, offer.image, words)


def restore(
    options: Namespace, library: Path, image: Image, words: Sequence[str], partitions: Collection[int] = ()
) -> int:
    """`rescue restore` of an image onto targets, or of these partitions alone, confirmed by `--erase` or `--yes-on`."""
    restored = Namespace(**vars(options))
    restored.library, restored.image, restored.targets = str(library), image.id, list(words)
    there = list(targets(words, image.disks, [library]).items()) if options.yes_on else []
    refuse_names(options.yes_on, [found for _, (found, _new) in there])
    restored.partition, restored.erase = [str(number) for number in partitions], [*options.erase, *options.yes_on]
    if (options.keep or partitions) and there:
        # One by one, as what is erased alone is always confirmed.
        stored = {disk.name: disk.volumes for disk in image.disks}
        restored.erase = [
            f"{serial}:{volume.number}"
            for serial in options.yes_on
            for name, (target, _new) in there
            for volume in stored[name]
            if target.id.serial == serial
            and (volume.number in partitions or not partitions)
            and volume.number not in chosen.kept(options.keep, target)
        ]
        restored.erase += options.erase
    return commands.restore(restored)


def _chosen(found: list[Offer], options: Namespace) -> Offer:
    if options.image is None:
        return only_one(found)
    offer = next((offer for offer in found if offer.image.id == options.image), None)
    if offer is None:
        find(options)
        raise RefusedError(
            f"image {options.image} is no factory image",
            code="no-factory-image",
            hint="`rescue factory set` marks it; `rescue restore` restores any image",
        )
    if not offer.fits and not options.other_computer:
        raise RefusedError(
            f"image {offer.image.id} was not made for this computer",
            code="not-here",
            hint="with --other-computer it is taken all the same",
        )
    return offer


def _ruled(offer: Offer) -> Disk:
    disk = target_by_rule(offer, inventory.machine(), inventory.scan([offer.library]))
    if disk is None:
        raise UsageError(
            f"factory image {offer.image.id} does not say which disk it goes to",
            code="usage",
            hint="name it with --to DISK",
        )
    return disk


def refuse_names(serials: Sequence[str], found: Iterable[Disk]) -> None:
    """What is confirmed unseen is confirmed by a serial number: the kernel's names change from start to start."""
    known = {disk.id.serial for disk in found} - {""}
    for serial in serials:
        if serial not in known:
            raise RefusedError(
                f"--yes-on {serial} is the serial number of none of the targets",
                code="not-confirmed",
                hint="`rescue disks` shows the serial numbers; nothing was written",
            )
