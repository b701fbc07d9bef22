"""The part of the engine that looks into libraries and their images, keeps them in order, and copies out of them."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from imaging import (
    backlog,
    care,
    exportplan,
    factory,
    fileclient,
    fileplan,
    forecast,
    freeing,
    imagevolumes,
    keyring,
    library,
    partitions,
    vouching,
)
from imaging.errors import RescueError
from imaging.exportplan import SingleFile
from imaging.fileplan import Place as FilePlace
from imaging.freeing import Freed
from imaging.imageplans import DeletePlan, FilesPlan, VerifyPlan, VerifySetPlan
from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image
from imaging.signatures import Standing
from rescue.backend import Files, Listing
from rescue.places_engine import PlacesEngine


class ImagesEngine(PlacesEngine):
    """Knows what libraries and images hold."""

    def images(self, library_path: Path) -> Listing:
        """What a library holds."""
        return library.Library.open(library_path).images()

    def signatures(self, library_path: Path, images: Sequence[str]) -> Mapping[str, Standing]:
        """What the signatures of images say, by id; raises where whom to trust is not known."""
        return vouching.of_images(library.Library.open(library_path), images)

    def is_locked(self, library_path: Path) -> bool:
        """Whether a library is encrypted and was not opened yet; at once, and never raises."""
        try:
            return keyring.is_locked(library.Library.look(library_path))
        except RescueError:
            return False

    def unlock(self, library_path: Path, words: str) -> None:
        """Open an encrypted library; takes a second. Raises RefusedError (code "wrong-passphrase"), BadImageError."""
        keyring.unlock(library.Library.look(library_path), words, str(library_path))

    def factory_image(self, library: Path) -> str:
        """The id of the library's factory image, empty where none is marked; raises BadImageError, IoError."""
        return factory.factory_image(library)

    def free_room(self, library: Path) -> int | None:
        """Free bytes on a library's medium; None where that cannot be told."""
        return forecast.free_room(library)

    def size_of(self, library: Path, cancel: threading.Event) -> int:
        """Bytes that a library's chunks take; takes seconds, or until `cancel`."""
        return freeing.size_of(library, cancel)

    def rename(self, library: Path, image_id: str, label: str) -> None:
        """Give an image another label; raises UsageError where it cannot be one, IoError."""
        care.rename(library, image_id, label)

    def note(self, library: Path, image_id: str, text: str) -> None:
        """Replace an image's notes; raises UsageError where they are too long, IoError."""
        care.note(library, image_id, text)

    def pin(self, library: Path, image_id: str, *, pinned: bool) -> None:
        """Keep an image from being deleted, or allow it again."""
        care.pin(library, image_id, pinned=pinned)

    def plan_delete(self, library: Path, image_id: str) -> DeletePlan:
        """Delete an image, damaged or not; raises BadImageError where it is gone."""
        return freeing.plan_delete(library, image_id)

    def freed_by(self, plan: DeletePlan, cancel: threading.Event) -> Freed:
        """What a deletion will free; takes seconds, or until `cancel`."""
        return freeing.freed_by(plan, cancel)

    def plan_verify(self, library_path: Path, image_id: str) -> VerifyPlan:
        """Check every chunk of an image; raises BadImageError where there is no such image."""
        return partitions.plan_verify(library_path, library.Library.open(library_path).image(image_id), chosen={})

    def plan_verify_set(self, library_path: Path) -> VerifySetPlan:
        """Check every chunk of all images of a library; takes seconds. Raises BadImageError, IoError."""
        return backlog.plan_verify_set(library.Library.open(library_path), datetime.now(UTC))

    def volumes(self, image: Image) -> Sequence[OpenVolume]:
        """The volumes of an image, and why those cannot be looked into that cannot."""
        return imagevolumes.volumes(image)

    def unlock_volume(
        self, library: Path, image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        """What an encrypted volume holds, opened with its passphrase; the key is known from then on."""
        return fileclient.unlock(library, image_id, volume, words, unlocked)

    def open_files(self, library: Path, image_id: str, volume: str, unlocked: Sequence[str] = ()) -> Files:
        """Mount a volume of an image, read-only, in a process beside this one."""
        return fileclient.open_files(library, image_id, volume, unlocked)

    def file_places(self) -> Sequence[FilePlace]:
        """Folders on attached disks, sticks and shares that files can be copied into."""
        self.libraries()
        return fileplan.places()

    def file_place(self, folder: Path) -> FilePlace:
        """What there is to know of a folder, there or not."""
        return fileplan.place(folder)

    def plan_files(
        self,
        library: Path,
        image: Image,
        volume: OpenVolume,
        paths: Sequence[Sequence[bytes]],
        target: Path,
        unlocked: Sequence[str] = (),
    ) -> FilesPlan:
        """Copy files into a folder, which is made where need be."""
        return fileplan.plan_files(library, image, volume, paths, target, unlocked)

    def single_file_places(self) -> Sequence[FilePlace]:
        """The top of attached disks, sticks and shares that can be written to."""
        self.libraries()
        return exportplan.places()

    def plan_single_file(self, library: Path, image: Image, where: Path) -> SingleFile:
        """Save an image as a single file, and what it takes there."""
        return exportplan.plan_single_file(library, image, where)
