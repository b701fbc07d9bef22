"""Looking elsewhere for images: folders, disks, network shares and the login that these ask for."""

from pathlib import Path

import pytest
from textual.widgets import Input

from imaging import remote
from imaging.errors import IoError, RefusedError
from imaging.places import Remembered
from rescue.screens.elsewhere import ElsewhereScreen
from rescue.screens.images import ImagesScreen
from tests.app.conftest import Person, Sit
from tests.app.fakeplaces import MIRROR as WEB_MIRROR
from tests.app.images import LIBRARY, FakeListing
from tests.app.machine import FakeBackend

MOUNTED = Path("/run/rescue/shares/nas-backup")


class OneLibrary(FakeBackend):
    """Only the library that is found elsewhere has images."""

    def images(self, library_path: Path):  # type: ignore[no-untyped-def]
        """The same, wherever it is."""
        assert library_path in self.hidden
        return self.listing


def lost(*hidden: Path) -> OneLibrary:
    """A computer with no library but what is found elsewhere."""
    return OneLibrary(found_libraries=(), hidden=hidden)


async def look(person: Person, *keys: str) -> str:
    """From the menu to the choice of places, and what is pressed there."""
    return await person.press("1", "o", *keys)


async def test_places_are_listed_with_what_cannot_be_looked_into_and_why(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await look(person)
        assert "A network share .." in screen
        assert "A folder .." in screen
        assert 'sda2  499.0 GB  ext4 "debian"' in screen
        assert "cannot be chosen: it is encrypted" in screen


async def test_a_folder_can_be_named_in_which_to_look(sit_down: Sit) -> None:
    async with sit_down(lost(LIBRARY)) as person:
        assert "No image library was found." in await person.press("1")
        await person.press("o", "down", "down", "enter")
        await person.type("/media/stick")
        assert "clean install" in await person.press("enter")
        assert isinstance(person.app.screen, ImagesScreen)


async def test_a_folder_without_a_library_is_told_and_another_can_be_named(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await look(person, "down", "down", "enter")
        await person.type("/nowhere")
        await person.press("enter")
        assert "no image library was found in /nowhere" in person.words
        await person.press("enter")
        assert isinstance(person.app.screen, ElsewhereScreen)
        assert "clean install" in await person.press("escape")


async def test_a_partition_is_looked_into(sit_down: Sit) -> None:
    async with sit_down(lost(Path("/run/rescue/media/sda2/Backups"))) as person:
        await look(person, "down", "down", "down", "down", "enter")
        assert "clean install" in person.screen


async def test_a_partition_without_images_is_told(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await look(person, "down", "down", "down", "enter")
        assert "no image library was found in" in person.words


async def test_a_share_of_windows_asks_for_user_and_password_and_its_images_are_listed(sit_down: Sit) -> None:
    backend = lost(MOUNTED / "office")
    backend.servers["//nas/backup"] = MOUNTED
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("//nas/backup")
        screen = await person.press("enter")
        assert "Who asks for //nas/backup?" in screen
        assert person.focus == "user"
        await person.type("anna")
        await person.press("enter")
        assert person.focus == "password"
        screen = await person.type("pa,ss")
        assert "pa,ss" not in screen
        assert "clean install" in await person.press("enter")
        assert backend.calls == ["connect //nas/backup anna  ro"]


async def test_a_wrong_password_is_asked_for_again_with_the_user_kept(sit_down: Sit) -> None:
    backend = lost(MOUNTED)
    backend.servers["//nas/backup"] = MOUNTED
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("smb://OFFICE;anna@nas/backup")
        await person.press("enter")
        assert person.focus == "password"
        await person.type("wrong")
        await person.press("enter")
        assert "nas does not let this user at //nas/backup" in person.words
        assert person.focus == "password"
        assert "wrong" not in person.screen
        await person.type("pa,ss")
        assert "clean install" in await person.press("enter")
        assert backend.calls[-1] == "connect //nas/backup anna OFFICE ro"


async def test_a_guest_leaves_the_user_empty_and_nfs_asks_nothing(sit_down: Sit) -> None:
    backend = lost(Path("/run/rescue/shares/nas-images"))
    backend.servers["nas:/images"] = Path("/run/rescue/shares/nas-images")
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("//nas/open")
        await person.press("enter", "enter")
        assert backend.calls == ["connect //nas/open   ro"]
        assert "nas does not answer" in person.words
        await person.press("enter", "enter")
        await person.type("nas:/images")
        assert "clean install" in await person.press("enter")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nas:images", "names no user"),
        ("ftp://cloud/images", "cannot read images from ftp://"),
        ("s3://bucket/images?colour=red", "s3 knows no colour"),
        ("https://anna:geheim@cloud/images", "holds no user's name and no password"),
        ("//nas", "names no share"),
        ("smb://anna:geheim@nas/backup", "The address holds a password What to do: leave it out"),
        ("images", "neither the path of a folder nor the address of a share"),
    ],
)
async def test_what_cannot_be_used_is_told_while_the_words_stay_to_be_mended(
    sit_down: Sit, words: str, said: str
) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type(words)
        await person.press("enter")
        assert said in person.words
        assert person.focus == "answer"
        assert backend.calls == []
        await person.press("backspace")
        assert said not in person.words
        await person.press("escape")
        assert isinstance(person.app.screen, ElsewhereScreen)


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("there is no //nas/backup", code="no-share", hint="check how it is spelled"),
        RefusedError("this system cannot mount such a share: mount.cifs is not installed", code="no-tool", hint="x"),
        IoError("no computer called nas is known here", code="no-server", hint="check the name"),
    ],
)
async def test_why_a_share_cannot_be_had_is_told_in_words(sit_down: Sit, error: RefusedError | IoError) -> None:
    backend = FakeBackend(servers={"//nas/backup": error})
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("//nas/backup")
        await person.press("enter", "enter")
        assert f"{error.message} What to do: {error.hint}" in person.words
        await person.press("escape")
        assert isinstance(person.app.screen, ElsewhereScreen)


BUCKET = "s3://bucket/images"
TYPED = f"{BUCKET}?endpoint=https%3A%2F%2Fnas%3A9000&region=eu"
MIRROR = Path("/run/rescue/remote/s3/bucket/images/.mirror")


async def test_a_bucket_asks_for_what_is_not_known_and_its_images_are_listed(sit_down: Sit) -> None:
    backend = lost(MIRROR)
    backend.servers[TYPED] = MIRROR
    async with sit_down(backend) as person:
        await look(person, "down", "enter")
        await person.type(BUCKET)
        screen = await person.press("enter")
        assert "What lets you in at s3://bucket/images?" in screen
        assert person.focus == "server"
        for words in ("nas:9000", "eu", "AKIA1"):
            await person.type(words)
            await person.press("enter")
        assert person.focus == "secret"
        assert "wrong" not in await person.type("wrong")
        await person.press("enter")
        await person.type("2,5")
        await person.press("enter")
        assert "does not let these credentials in" in person.words
        assert person.focus == "secret"  # all else is filled in
        await person.type("pa,ss")
        assert "clean install" in await person.press("enter", "enter")
        assert backend.calls == [f"reach {TYPED} 2500000 ro"] * 2


async def test_a_limit_that_is_none_is_told_and_nothing_is_reached(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await look(person, "down", "enter")
        await person.type("az://bucket/images")
        screen = await person.press("enter")
        assert "Storage account" in screen
        await person.press("enter", "enter", "enter")
        await person.type("fast")
        await person.press("enter")
        assert "The limit is a number of megabytes a second" in person.words
        assert backend.calls == []
        await person.press("escape")
        assert isinstance(person.app.screen, ElsewhereScreen)


async def test_a_web_server_asks_nothing(sit_down: Sit) -> None:
    backend = lost(WEB_MIRROR)
    backend.servers["https://cloud/images"] = WEB_MIRROR
    async with sit_down(backend) as person:
        await look(person, "down", "enter")
        await person.type("https://cloud/images")
        assert "clean install" in await person.press("enter")
        assert backend.calls == ["reach https://cloud/images - ro"]


async def test_a_server_whose_images_cannot_be_read_is_named_once(
    sit_down: Sit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoIndex(FakeBackend):
        def images(self, library_path: Path) -> FakeListing:
            raise IoError(f"{remote.name_of(library_path)}: the web server does not list what is in images/")

    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    backend = NoIndex(found_libraries=(remote.folder_for("https://cloud/images"),))
    async with sit_down(backend) as person:
        await person.press("1")
        assert "Cannot be read: https://cloud/images: the web server does not list" in person.words


async def test_who_vouches_for_a_server_can_be_said(sit_down: Sit) -> None:
    nobody = RefusedError("cloud: the server's certificate is not proved: nobody", code="unknown-issuer")
    backend = lost(WEB_MIRROR)
    backend.servers["https://cloud/images"] = nobody
    async with sit_down(backend) as person:
        await look(person, "down", "enter")
        await person.type("https://cloud/images")
        assert "is not proved: nobody" in await person.press("enter")
        await person.type("/media/stick/ca.pem")
        assert "clean install" in await person.press("enter")
        assert backend.calls[1] == "trust /media/stick/ca.pem"


async def test_a_server_of_ssh_is_met_before_anybody_says_who_they_are(sit_down: Sit) -> None:
    where = Path("/run/rescue/shares/nas-images")
    backend = lost(where)
    backend.servers["ssh://anna@nas/images"] = where
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("anna@nas:/images")
        screen = await person.press("enter")
        assert "SHA256:" in screen
        assert "ed25519" in screen
        await person.press("enter")  # No has the focus
        assert isinstance(person.app.screen, ElsewhereScreen)
        assert backend.calls == ["host_key nas"]
        await person.press("enter")
        await person.type("anna@nas:/images")
        await person.press("enter", "y")
        assert person.focus == "password"
        assert "Key file" in person.screen
        await person.type("pa,ss")
        assert "clean install" in await person.press("enter")
        assert backend.trusted == ["nas"]


async def test_a_share_without_images_is_told(sit_down: Sit) -> None:
    backend = FakeBackend(servers={"nas:/empty": Path("/run/rescue/shares/nas-empty")})
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("nas:/empty")
        await person.press("enter")
        assert "no image library was found in" in person.words


async def test_every_dialogue_can_be_left_with_esc_and_nothing_is_connected(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("//nas/backup")
        await person.press("enter", "escape", "escape")
        assert isinstance(person.app.screen, ImagesScreen)
        assert backend.calls == []


async def test_the_dialogues_explain_themselves_and_fit_a_small_screen(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await look(person, "enter")
        assert "//192.168.1.10/backup" in await person.press("f1")
        await person.press("escape")
        await person.pilot.resize_terminal(60, 20)
        await person.settle()
        assert all(line.count("║") == 2 for line in person.screen.splitlines() if "║" in line)
        await person.type("//nas/backup")
        screen = await person.press("enter")
        for words in ("Password", "Domain (may stay empty)", "[ Connect ]", "[ Back ]"):
            assert words in screen
        assert all(field.size.width >= 20 for field in person.app.screen.query(Input))


async def test_a_share_is_remembered_on_the_drive_only_where_that_is_ticked(sit_down: Sit) -> None:
    backend = lost(MOUNTED)
    backend.drive_remembers = True
    backend.servers["//nas/backup"] = MOUNTED
    async with sit_down(backend) as person:
        await look(person, "enter")
        assert "[ ] Remember it on this recovery drive" in person.screen
        await person.type("//nas/backup")
        await person.press("enter")
        await person.type("anna")
        await person.press("enter")
        await person.type("pa,ss")
        assert "Keep the password" not in person.screen
        assert "clean install" in await person.press("enter")
        assert backend.remembered == []


@pytest.mark.parametrize("keep", [False, True])
async def test_a_remembered_share_is_at_the_top_and_asks_for_what_is_not_kept(sit_down: Sit, keep: bool) -> None:
    backend = lost(MOUNTED)
    backend.drive_remembers = True
    backend.servers["//nas/backup"] = MOUNTED
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("//nas/backup")
        await person.press("tab", "space")
        assert "[x] Remember it on this recovery drive" in person.screen
        await person.press("tab", "enter")
        await person.type("anna")
        await person.press("enter")
        await person.type("pa,ss")
        if keep:
            await person.press("tab", "tab", "space")
            assert "[x] Keep the password there" in person.screen
            await person.press("tab")
        assert "clean install" in await person.press("enter")
        kept = "pa,ss" if keep else ""
        assert backend.remembered == [Remembered(address="//nas/backup", user="anna", password=kept)]
        backend.calls.clear()
        screen = await look(person)
        assert "> //nas/backup" in screen
        assert "remembered on this recovery drive, for anna" in screen
        await person.press("enter")
        if not keep:
            assert person.focus == "password"
            await person.type("pa,ss")
            await person.press("enter")
        assert "connect //nas/backup anna  ro" in backend.calls


async def test_a_remembered_place_is_forgotten_after_a_question(sit_down: Sit) -> None:
    backend = lost(MOUNTED)
    backend.remembered = [Remembered(address="s3://office/images?endpoint=https://nas:9000")]
    async with sit_down(backend) as person:
        assert "> s3://office/images (https://nas:9000)" in await look(person)
        await person.press("d")
        assert "Forget s3://office/images (https://nas:9000)?" in person.words
        await person.press("enter")
        assert len(backend.remembered) == 1
        await person.press("d", "y")
        assert backend.remembered == []
        assert "s3://office/images" not in person.screen


async def test_a_remembered_bucket_names_the_whole_server_before_anything_goes_there(sit_down: Sit) -> None:
    """The file may be anybody's: a server that seems to be another one is told from it by its end."""
    server = f"https://s3.amazonaws.com.{'a' * 60}.example"
    backend = lost(MIRROR)
    backend.remembered = [Remembered(address=f"s3://office/images?endpoint={server}&region=eu")]
    async with sit_down(backend) as person:
        screen = await look(person)
        assert f"(https://s3.amazonaws.com.{'a' * 60}.example)" in "".join(line.strip() for line in screen.splitlines())
        await person.press("enter")
        assert "What lets you in at s3://office/images" in person.words
        assert ".example)?" in person.words
        assert backend.calls == []
        await person.press("escape", "d")
        assert ".example)?" in person.words


async def test_what_cannot_be_remembered_is_told_and_its_images_are_listed_all_the_same(sit_down: Sit) -> None:
    class Full(OneLibrary):
        def remember_place(self, place: Remembered) -> None:
            raise IoError(f"{place.address} cannot be remembered: the disk is full")

    backend = Full(found_libraries=(), hidden=(MOUNTED,))
    backend.drive_remembers = True
    backend.servers["nas:/images"] = MOUNTED
    async with sit_down(backend) as person:
        await look(person, "enter")
        await person.type("nas:/images")
        await person.press("tab", "space", "tab", "enter")
        assert "the disk is full" in person.words
        assert "clean install" in await person.press("enter")
