"""The screen of a job that runs, and of one that has ended."""

from imaging.events import Log, Progress, Step
from imaging.imageplans import CapturePlan, VerifyPlan
from rescue.screens.progress import ProgressScreen
from rescue.screens.result import ResultScreen
from tests.app.conftest import Person, Sit
from tests.app.disks import GB, SDA
from tests.app.images import LIBRARY
from tests.app.jobs import CAPTURED, DIED, FAILED, RESTORED, FakeJob, running_job
from tests.app.machine import FakeBackend


async def tick(person: Person) -> str:
    """A second goes by."""
    screen = person.app.screen
    assert isinstance(screen, ProgressScreen)
    screen.poll()
    await person.settle()
    return person.screen


async def test_there_is_a_bar_for_the_whole_and_one_for_the_step(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(known_jobs=[running_job()])) as person:
        lines = (await person.press("r")).splitlines()
        whole = next(line for line in lines if "Whole job" in line)
        step = next(line for line in lines if "This step" in line)
        assert whole.index("█") == step.index("█")
        assert whole.rstrip().endswith(" 25 %")


async def test_the_bar_of_the_whole_is_not_shown_where_it_is_not_known(sit_down: Sit) -> None:
    job = FakeJob(known_plan=VerifyPlan(library="/l", image="i"))
    job.say(Step(time=1000.0, name="Verifying sda", total=100), Progress(time=1001.0, done=50, total=100))
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        screen = await person.press("r")
        assert "Whole job" not in screen
        assert "50 %" in screen


async def test_an_update_changes_few_characters(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r")
        before = await tick(person)
        for second in range(26, 60):
            job.say(Progress(time=1000.0 + second, done=second * GB, total=100 * GB, moved=(second - 24) * GB))
            after = await tick(person)
            assert sum(a != b for a, b in zip(before, after, strict=True)) <= 16
            before = after
        assert " 59.0 GB of 100.0 GB" in "".join([await tick(person) for _ in range(8)])


async def test_the_log_scrolls_with_what_the_job_says(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r")
        job.say(*(Log(time=1030.0, message=f"line {n}") for n in range(40)))
        await tick(person)
        assert "line 39" in await tick(person)


async def test_cancel_says_what_it_would_leave_behind_and_then_that_it_stops(sit_down: Sit) -> None:
    job = running_job()
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("r", "c")
        assert "sda holds half a system and cannot be used until a restore has run to its end." in person.words
        assert person.focus == "no"
        assert "stopping .." in await person.press("y")
        job.say(Log(time=1030.0, message="one more"))
        assert "stopping .." in await tick(person)
        assert job.calls == ["cancel"]


async def test_every_result_says_where_the_log_is(sit_down: Sit) -> None:
    for end in (RESTORED, FAILED, DIED):
        job = running_job()
        job.end(end, "done")
        async with sit_down(FakeBackend(known_jobs=[job])) as person:
            person.app.follow(job)
            await person.settle()
            assert isinstance(person.app.screen, ResultScreen)
            assert "Log: /nonexistent/jobs/1; s saves it" in person.words


async def test_after_a_backup_a_verification_is_offered(sit_down: Sit) -> None:
    job = FakeJob(known_plan=CapturePlan(library=str(LIBRARY), disks=(SDA,)))
    job.end(CAPTURED)
    backend = FakeBackend(known_jobs=[job])
    async with sit_down(backend) as person:
        person.app.follow(job)
        await person.settle()
        assert person.focus == "home"
        await person.press("right", "enter")
        assert backend.submitted == [VerifyPlan(library=str(LIBRARY), image="i")]
        assert isinstance(person.app.screen, ProgressScreen)


async def test_a_job_is_cancelled_from_the_list_of_jobs_and_only_while_it_runs(sit_down: Sit) -> None:
    running, ended = running_job(), running_job()
    ended.id = "2"
    ended.end(RESTORED)
    async with sit_down(FakeBackend(known_jobs=[running, ended])) as person:
        await person.press("5", "c")
        assert "What it leaves behind: sda holds half a system" in person.words
        assert person.focus == "no"
        await person.press("y")
        assert running.calls == ["cancel"]
        await person.press("down", "c")
        assert "Cancel this job?" not in person.screen
        assert ended.calls == []
