"""Save an image as a single file: where to, the plan with what it takes there, and the job."""

from pathlib import Path

from imaging.errors import RefusedError
from imaging.events import ExportResult, Finished
from imaging.fileplan import Place
from imaging.imageplans import ExportFormat, ExportPlan
from rescue.screens.image import ImageScreen
from rescue.screens.result import ResultScreen
from rescue.screens.singlefile import SingleFilePlaceScreen
from tests.app.conftest import Sit
from tests.app.disks import GB
from tests.app.images import LIBRARY
from tests.app.jobs import FakeJob
from tests.app.machine import FakeBackend

PLACES = ("3", "enter", "x")


async def test_the_plan_says_what_where_how_much_and_in_how_many_pieces(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press(*PLACES)
        assert "Image: clean install" in screen
        assert "> /run/rescue/media/sde1" in screen
        assert "30.0 GB free, vfat" in screen
        await person.press("enter")
        assert 'EXPORTED: image "clean install"' in person.words
        assert "WRITTEN: a new file /run/rescue/media/sde1/clean-install.rescue" in person.words
        assert "HOW MUCH: 9.0 GB at most ROOM there: 30.0 GB PIECES: 3, for vfat holds no file so large" in person.words
        assert "ENCRYPTED" not in person.words
        assert person.focus == "back"
        assert backend.submitted == []
        await person.press("enter")
        assert isinstance(person.app.screen, SingleFilePlaceScreen)
        await person.press("enter", "right", "enter")
        (plan,) = backend.submitted
        assert isinstance(plan, ExportPlan)
        assert (plan.library, plan.format) == (str(LIBRARY), ExportFormat.RESCUE)
        assert plan.target == "/run/rescue/media/sde1/clean-install.rescue"


async def test_one_file_where_it_fits_and_that_it_stays_encrypted(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(sealed=True)) as person:
        await person.press(*PLACES, "down", "enter")
        assert "PIECES" not in person.words
        assert "ENCRYPTED, as it is in its library" in person.words


async def test_it_begins_on_the_list_of_images_too_and_esc_goes_back(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("3", "x")
        assert isinstance(person.app.screen, SingleFilePlaceScreen)
        await person.press("escape", "enter", "x", "escape")
        assert isinstance(person.app.screen, ImageScreen)


async def test_a_typed_file_and_a_refusal(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press(*PLACES, "end", "enter")
        await person.type("/srv/out/mine.rescue")
        await person.press("enter")
        assert "a new file /srv/out/mine.rescue" in person.words
        full = RefusedError("there is not enough room for /srv/out/mine.rescue: it needs 9.0 GB", hint="free some room")
        backend.refusal = full
        await person.press("escape", "enter")
        await person.type("/srv/out/mine.rescue")
        await person.press("enter")
        assert "there is not enough room for /srv/out/mine.rescue" in person.words
        assert "What to do: free some room" in person.words
        await person.press("enter")
        assert isinstance(person.app.screen, SingleFilePlaceScreen)
        assert "Measuring" not in person.screen
        assert backend.submitted == []


async def test_it_goes_to_a_share_that_is_connected_first(sit_down: Sit) -> None:
    share = Path("/run/rescue/shares/nas-backup")
    backend = FakeBackend(servers={"//nas/backup": share}, found_file_places=())
    async with sit_down(backend) as person:
        assert "No writable disk or stick was found" in await person.press(*PLACES)
        await person.press("home", "enter")
        await person.type("//nas/backup")
        await person.press("enter")
        backend.found_file_places = (Place(path=share / "rescue-files", free=90 * GB, kind="cifs"),)
        await person.type("anna")
        await person.press("enter")
        await person.type("pa,ss")
        assert f"> {share}" in await person.press("enter")
        await person.press("enter")
        assert f"a new file {share}/clean-install.rescue" in person.words


async def test_the_result_says_what_was_written(sit_down: Sit) -> None:
    plan = ExportPlan(
        library=str(LIBRARY), image="x", target="/mnt/pc.rescue", format=ExportFormat.RESCUE, label="clean install"
    )
    job = FakeJob(known_plan=plan)
    result = ExportResult(
        image="x", file="/mnt/pc.rescue.001", disk_size=256 * GB, size=9 * GB, pieces=3, seconds=100.0
    )
    job.end(Finished(time=1100.0, status=0, message="/mnt/pc.rescue.001 was written.", result=result))
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("5")
        await person.until(lambda: "Export clean install as /mnt/pc.rescue" in person.screen)
        await person.press("enter")
        assert isinstance(person.app.screen, ResultScreen)
        assert "Pieces: 3" in person.words
        assert "9.0 GB" in person.words
