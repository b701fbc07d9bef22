"""The part of a computer in memory that looks into images."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging import imagevolumes
from imaging.errors import BadImageError, RefusedError
from imaging.exportplan import SingleFile
from imaging.fileplan import Place as FilePlace
from imaging.freeing import Freed
from imaging.imageplans import DeletePlan, ExportFormat, ExportPlan, FilesPlan, VerifyPlan, VerifySetPlan
from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image
from imaging.notes import Notes
from imaging.signatures import Standing
from tests.app.disks import GB
from tests.app.imagefiles import FakeFiles
from tests.app.images import LIBRARY, FakeListing, make_image
from tests.app.notedcalls import NotedCalls


@dataclass
class FakeImages(NotedCalls):
    """What the one library and its images hold."""

    listing: FakeListing = field(default_factory=lambda: FakeListing(images=(make_image(),)))
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """What the signatures of images say, by id."""
    strict: bool = False
    """Whether keys are trusted here."""
    passphrase: str = ""
    """What opens the library, where it is encrypted."""
    sealed: bool = False
    """Whether the libraries that are open are encrypted."""
    factory: str = ""
    """The id of the library's factory image."""
    room: int | None = 200 * GB
    freed: Freed = field(default_factory=lambda: Freed(chunks=2000, bytes=6 * GB, shared=1000))
    files: FakeFiles = field(default_factory=FakeFiles)
    inside: Mapping[str, Sequence[OpenVolume]] = field(default_factory=dict)
    """What encrypted volumes hold, by their names."""
    found_file_places: Sequence[FilePlace] = (
        FilePlace(path=Path("/run/rescue/media/sde1/rescue-files"), free=30 * GB, kind="vfat"),
        FilePlace(path=Path("/run/rescue/images/rescue-files"), free=2 * GB, kind="ext4"),
    )

    def images(self, library_path: Path) -> FakeListing:
        """Only the one library exists."""
        if library_path != LIBRARY:
            raise BadImageError(f"{library_path} is not an image library")
        if self.passphrase:
            raise RefusedError(f"{library_path} is encrypted", code="passphrase-needed")
        return self.listing

    def signatures(self, library: Path, images: Sequence[str]) -> Mapping[str, Standing]:
        """As the test has it, for whatever library."""
        return {image: self.standings[image] for image in images if library and image in self.standings}

    def is_locked(self, library: Path) -> bool:
        """As the test wants it."""
        return bool(self.passphrase) and library == LIBRARY

    def unlock(self, library: Path, words: str) -> None:
        """Open it for good."""
        if words != self.passphrase:
            raise RefusedError(
                f"this does not open {library}: the passphrase is wrong", code="wrong-passphrase", hint="check it"
            )
        self.passphrase = ""

    def factory_image(self, library: Path) -> str:
        """The same everywhere."""
        return self.factory

    def free_room(self, library: Path) -> int | None:
        """The same everywhere."""
        return self.room

    def size_of(self, library: Path, cancel: threading.Event) -> int:
        """The same everywhere."""
        return 30 * GB

    def rename(self, library: Path, image_id: str, label: str) -> None:
        """In memory."""
        if self.refusal:
            raise self.refusal
        images = tuple(replace(i, label=label) if i.id == image_id else i for i in self.listing.images)
        self.listing = replace(self.listing, images=images)

    def note(self, library: Path, image_id: str, text: str) -> None:
        """In memory."""
        if self.refusal:
            raise self.refusal
        noted = replace(self.listing.notes.get(image_id, Notes()), text=text)
        self.listing = replace(self.listing, notes={**self.listing.notes, image_id: noted})

    def pin(self, library: Path, image_id: str, *, pinned: bool) -> None:
        """In memory."""
        if self.refusal:
            raise self.refusal
        noted = replace(self.listing.notes.get(image_id, Notes()), pinned=pinned)
        self.listing = replace(self.listing, notes={**self.listing.notes, image_id: noted})

    def plan_delete(self, library: Path, image_id: str) -> DeletePlan:
        """Of what the listing shows."""
        known = {image.id: image for image in self.listing.images}
        image = known.get(image_id)
        created, label = (image.created, image.label) if image else ("", "")
        return DeletePlan(library=str(library), image=image_id, created=created, label=label)

    def freed_by(self, plan: DeletePlan, cancel: threading.Event) -> Freed:
        """What the test wants."""
        return self.freed

    def plan_verify(self, library_path: Path, image_id: str) -> VerifyPlan:
        """Any image can be verified."""
        return VerifyPlan(library=str(library_path), image=image_id)

    def plan_verify_set(self, library: Path) -> VerifySetPlan:
        """All sound images."""
        return VerifySetPlan(library=str(library), images=tuple(image.id for image in self.listing.images))

    def volumes(self, image: Image) -> Sequence[OpenVolume]:
        """Those of the image."""
        return imagevolumes.volumes(image)

    def unlock_volume(
        self, _library: Path, _image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        """What the test has put into it; any passphrase but one is wrong."""
        self.note_call(" ".join(["unlock", volume, *unlocked]))
        if words != "pa,ss":
            raise RefusedError(f"{volume}: that is not its passphrase", code="wrong-passphrase")
        return self.inside[volume]

    def open_files(self, _library: Path, _image_id: str, volume: str, unlocked: Sequence[str] = ()) -> FakeFiles:
        """The same of all images, or the refusal that the test wants."""
        self.note_call(" ".join(["open", volume, *unlocked]))
        return self.files

    def file_places(self) -> Sequence[FilePlace]:
        """As the test wants it."""
        return self.found_file_places

    def file_place(self, folder: Path) -> FilePlace:
        """One of those, or a folder of the computer itself."""
        known = {place.path: place for place in self.found_file_places}
        return known.get(folder, FilePlace(path=folder, free=self.room, kind="ext4"))

    def plan_files(
        self,
        library: Path,
        image: Image,
        volume: OpenVolume,
        paths: Sequence[Sequence[bytes]],
        target: Path,
        unlocked: Sequence[str] = (),
    ) -> FilesPlan:
        """Into any folder, or the refusal that the test wants."""
        if self.refusal:
            raise self.refusal
        return FilesPlan(
            library=str(library),
            image=image.id,
            volume=volume.name,
            unlock=tuple(unlocked),
            paths=tuple(b"/".join(path).decode(errors="replace") for path in paths),
            target=str(target),
            create=True,
            label=image.label,
        )

    def single_file_places(self) -> Sequence[FilePlace]:
        """The disks of those for files."""
        return [replace(place, path=place.path.parent) for place in self.found_file_places]

    def plan_single_file(self, library: Path, image: Image, where: Path) -> SingleFile:
        """Of 9 GB, in pieces on FAT, or the refusal that the test wants."""
        self.note_call(f"plan single file {where}")
        known = {place.path: place for place in self.single_file_places()}
        place = known.get(where, FilePlace(path=where, free=self.room, kind="ext4"))
        target = where if where.suffix == ".rescue" else where / "clean-install.rescue"
        plan = ExportPlan(
            library=str(library),
            image=image.id,
            target=str(target),
            format=ExportFormat.RESCUE,
            label=image.label,
        )
        pieces = 3 if place.kind == "vfat" else 1
        return SingleFile(plan=plan, place=place, size=9 * GB, pieces=pieces, encrypted=self.sealed)
