"""The images that are named on the command line to be copied to a recovery medium."""

from argparse import Namespace

from imaging import mediaplan
from imaging.library import Library
from imaging.manifest import Image
from imaging.mediasource import Weight, weigh
from rescue.finding import find


def chosen_images(options: Namespace, filesystem: str = mediaplan.FILESYSTEMS[0]) -> tuple[Weight, str]:
    """The images to copy, with what they take, and the id of the factory image."""
    names = [*options.image, *([options.factory] if options.factory else [])]
    chosen: list[tuple[Library, Image]] = []
    for name in dict.fromkeys(names):
        found = find(Namespace(**{**vars(options), "image": name}))
        chosen.append((found.library, found.image))
    return weigh(chosen, mediaplan.blocks(filesystem)), options.factory or ""
