"""Recovery media that trust keys: where these stand, who keeps them, and what is copied to such a medium."""

import hashlib
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from imaging import iso, mediakeys, mediavouching, medium, ownfiles, trust, vouching
from imaging.errors import RefusedError
from imaging.events import CaptureResult
from imaging.library import Library
from imaging.mediumcheck import check_folder
from imaging.pipeline import Reporter
from imaging.signingkeys import PrivateKey, PublicKey
from rescue.signed import doubt_words
from tests import small_medium
from tests.command import run_rescue
from tests.disks import MIB, blank, run
from tests.faults.media import NEXT, STICK, a_stick, examined, library_on, plan_create, plan_update, systems
from tests.faults.world import Sample, capture_here, carry_out_here

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def both(quick: Path) -> tuple[Path, Path]:
    """A small recovery system, and a later one."""
    return systems(quick / "trusting-systems")


@pytest.fixture(scope="module")
def system(both: tuple[Path, Path]) -> Path:
    return both[0]


def copied(made: Path, folder: Path) -> Path:
    target = folder / "stick.img"
    run("cp", "--sparse=always", made, target)
    return target


KEY = PrivateKey(seed=bytes(range(32)))
ANNA = PublicKey(raw=KEY.public.raw, name="Anna, backups")


def on(stick: Path) -> tuple[PublicKey, ...]:
    """The keys that a medium trusts."""
    with medium.volume_of(str(stick)) as volume:
        return mediakeys.keys_on(volume, str(stick))


@pytest.fixture(scope="module")
def trusting(quick: Path, system: Path) -> Path:
    """A medium that trusts Anna; not to be changed."""
    folder = quick / "trusting"
    folder.mkdir()
    stick = a_stick(folder)
    plan = plan_create(system, stick)
    plan = mediavouching.of_plan(plan, trusted=mediavouching.trusted_by(plan, [ANNA]))
    assert carry_out_here(plan, folder / "job").status == 0
    return stick


def test_trusted_keys_stand_in_the_system_part_beneath_its_own_digests(
    trusting: Path, system: Path, tmp_path: Path
) -> None:
    assert (on(trusting), on(system)) == ((ANNA,), ())
    assert examined(trusting).trusted == (ANNA,)
    assert examined(trusting).findings == ()
    stick = copied(trusting, tmp_path)
    data = stick.read_bytes()
    at = data.index(ANNA.pem.encode())
    assert data.count(ANNA.pem.encode()) == 1
    with stick.open("r+b") as file:
        file.seek(at)
        file.write(b"\n" * len(ANNA.pem.encode()))
    assert on(stick) == ()
    assert [one.file for one in examined(stick).findings] == [mediakeys.PLACE]


def test_what_the_initramfs_compares_names_the_list_of_keys(trusting: Path) -> None:
    with medium.volume_of(str(trusting)) as volume:
        image, files = medium.system_files(volume)
        sums = iso.read_file(image, files[medium.SUMS], MIB)
        listed = iso.read_file(image, files[mediakeys.PLACE], MIB)
    assert f"{hashlib.sha256(listed).hexdigest()}  {mediakeys.PLACE}\n".encode() in sums


def test_an_update_keeps_the_keys_of_the_medium_and_a_copy_takes_those_of_its_source(
    trusting: Path, both: tuple[Path, Path], tmp_path: Path
) -> None:
    stick = copied(trusting, tmp_path)
    (tmp_path / "sibling").mkdir()
    for plan in (plan_update(both[1], stick), plan_create(trusting, a_stick(tmp_path / "sibling"))):
        plan = mediavouching.of_plan(plan, trusted=mediavouching.trusted_by(plan))
        assert plan.trusted == (ANNA,)
        assert carry_out_here(plan, tmp_path / f"job-{plan.update}").status == 0
        assert on(Path(plan.target.path)) == (ANNA,)
        assert examined(plan.target.path).findings == ()
    assert mediavouching.trusted_by(plan_update(both[1], stick), ()) == ()


def test_a_system_without_a_place_for_keys_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    old = small_medium.make(tmp_path / "old.img", room_for_keys=False)
    stick = blank(tmp_path / "stick.img", 300 * MIB, fill=0xAA)
    plan = plan_create(old, stick)
    done = carry_out_here(replace(plan, trusted=(ANNA,)), tmp_path / "job")
    assert (done.status, done.code) == (3, "no-place-for-keys")
    assert stick.read_bytes()[:MIB] == b"\xaa" * MIB
    assert carry_out_here(plan, tmp_path / "without").status == 0


def test_images_that_nobody_trusted_has_signed_are_not_copied_to_a_medium(
    system: Path, sample: Sample, tmp_path: Path
) -> None:
    stick = blank(tmp_path / "stick.img", STICK, fill=0xAA)
    plan = plan_create(system, stick, [sample])
    only_there = mediavouching.of_plan(plan, trusted=[ANNA])
    assert "could not be restored from the medium" in only_there.doubt
    trust.trust(ANNA)
    for refused in (plan, mediavouching.of_plan(plan), only_there):
        done = carry_out_here(refused, tmp_path / "refused")
        assert (done.status, done.code) == (3, "not-trusted")
    assert stick.read_bytes()[:MIB] == b"\xaa" * MIB
    vouching.sign(sample.library, sample.image_id, KEY)
    plan = mediavouching.of_plan(plan, trusted=[ANNA])
    assert not plan.doubt
    assert carry_out_here(plan, tmp_path / "job").status == 0
    with library_on(stick) as library:
        standing = vouching.look(Library.open(library), sample.image_id).standing
        assert [one.name for one in standing.signers] == ["Anna, backups"]


def test_what_is_accepted_of_one_image_lets_no_other_through(system: Path, sample: Sample, tmp_path: Path) -> None:
    trust.trust(ANNA)
    found = capture_here(sample.disk, sample.library, tmp_path / "second").result
    assert isinstance(found, CaptureResult)
    second = Sample(sample.library, found.image, sample.disk)
    plan = plan_create(system, blank(tmp_path / "stick.img", STICK), [sample, second])
    vouching.sign(second.library, second.image_id, KEY)
    shown = mediavouching.of_plan(plan, accept_unsigned=True)
    assert len(mediavouching.sources(shown)) == 2
    second.edit(lambda image: image.update(label="forged"))
    with pytest.raises(RefusedError, match=f"{second.image_id} is not used: its signature does not match"):
        mediavouching.sources(shown)
    shown = mediavouching.of_plan(plan, accept_unsigned=True)  # of a plan that is older than the forgery
    assert [line.split(": ")[0] for line in doubt_words(shown.doubt).splitlines()] == ["NOT TRUSTED"] * 2
    assert "is not signed" in shown.doubt
    assert "does not match" in shown.doubt
    with pytest.raises(RefusedError, match="not the one that was shown"):
        mediavouching.sources(shown)


def test_the_command_writes_keys_to_media_and_discs(system: Path, tmp_path: Path) -> None:
    (tmp_path / "anna.pub").write_text(ANNA.pem)
    disc = tmp_path / "disc.iso"
    run_rescue("media", "iso", disc, "--system", system, "--trust", tmp_path / "anna.pub")
    assert on(disc) == (ANNA,)
    assert examined(disc).findings == ()
    words = ("media", "create", a_stick(tmp_path), "--system", disc, "--plan")
    assert "TRUSTED: from this medium" in run_rescue(*words).out
    assert "TRUSTED" not in run_rescue(*words, "--no-trust").out


def test_the_system_on_a_computers_own_disk_keeps_its_keys_when_it_is_replaced(
    trusting: Path, both: tuple[Path, Path], tmp_path: Path
) -> None:
    report, cancel = Reporter(lambda _: 0), threading.Event()
    for image in (trusting, both[1]):
        with ownfiles.opened(str(image)) as source:
            ownfiles.bring(ownfiles.trusting_as_before(source, tmp_path), tmp_path, "", report, cancel)
        found = check_folder(tmp_path, installed="")
        assert found.trusted == (ANNA,)
        assert not found.damaged
    assert found.about.build == NEXT
