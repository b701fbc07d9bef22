"""The commands that make an encrypted library, open it, and change who can."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from imaging import encryption, keyring, recoverykey
from imaging.keyslots import LEAST
from imaging.library import Library
from tests.command import Outcome
from tests.faults.proof import extract, prove
from tests.faults.world import PATIENCE, Sample

Rescue = Callable[..., Outcome]
WORDS = "correct horse battery"

pytestmark = pytest.mark.usefixtures("no_keys")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the passphrase."""
    path = tmp_path / "passphrase"
    path.write_text(f"{WORDS}\n")
    return path


@contextmanager
def terminal(*words: object) -> Iterator["pexpect.spawn[str]"]:
    """The command on a terminal of 80 columns; whatever is said to it must not be shown."""
    argv = ["-m", "rescue", *map(str, words)]
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, argv, encoding="utf-8", timeout=PATIENCE, dimensions=(24, 80)
    )
    try:
        yield child
    finally:
        child.close(force=True)


def test_a_library_is_made_used_and_opened_again_by_its_recovery_key(
    rescue: Rescue, command: Rescue, captured: Sample, secret: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    made = rescue("library", "init", "--encrypt", library, "--passphrase-file", secret, "--json").json
    assert made["features"] == ["encryption"]
    given = ("--passphrase-file", secret)
    rescue("capture", captured.disk, "--library", library, *given, "--level", "1", "--json")
    error = command("images", "--library", library, "--json", status=3).json["error"]
    assert error["code"] == "passphrase-needed"
    secret.write_text(made["recovery_key"].lower().replace("-", " "))
    (image,) = command("images", "--library", library, *given, "--json").json["images"]
    rescue("unseal", library, tmp_path / "plain", *given, "--json")
    prove(tmp_path / "plain")
    disk = extract(tmp_path / "plain", image["id"], captured.disk.name, tmp_path / "disk.img")
    assert disk.read_bytes() == captured.disk.read_bytes()


def test_on_a_terminal_passphrases_are_typed_unseen(tmp_path: Path) -> None:
    library = tmp_path / "library"
    with terminal("library", "init", "--encrypt", library) as child:
        for question in ("New passphrase: ", "Once more: "):
            child.expect(question)
            child.sendline(WORDS)
        child.expect("not shown again")
        shown = child.before or ""
        child.expect(pexpect.EOF)
        assert WORDS not in shown
        recoverykey.read("".join(line for line in shown.split() if line.count("-") == 3))
    with terminal("images", "--library", library) as child:
        child.expect("Passphrase or recovery key of ")
        child.sendline("not this one")
        child.expect("That passphrase is wrong.")
        child.expect("Passphrase or recovery key of ")
        child.sendline(WORDS)
        child.expect("No images.")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0


def test_passphrases_are_added_changed_and_removed_but_for_the_last(
    command: Rescue, secret: Path, tmp_path: Path
) -> None:
    library, second = tmp_path / "library", tmp_path / "second"
    second.write_text("another passphrase")

    def passphrase(what: str, *words: object, by: Path = secret, status: int = 0) -> Outcome:
        keyring.forget_all()
        return command("library", "passphrase", what, library, "--passphrase-file", by, *words, "--json", status=status)

    encryption.create(library, WORDS, cost=LEAST)  # what the commands take is what it began with
    added = passphrase("add", "--new-passphrase-file", second).json["id"]
    assert passphrase("remove", "--id", "nothing", status=2).json["error"]["code"] == "no-such-slot"
    passphrase("remove")
    assert passphrase("add", "--new-passphrase-file", second, status=3).json["error"]["code"] == "wrong-passphrase"
    assert passphrase("remove", by=second, status=3).json["error"]["code"] == "last-passphrase"
    passphrase("change", "--new-passphrase-file", secret, by=second)
    told = command("library", "info", library).out
    assert "Opened by" in told
    assert added not in told
    recovery = command("library", "recovery-key", library, "--passphrase-file", secret, "--json").json["recovery_key"]
    keyring.forget_all()
    assert keyring.unlock(Library.look(library), recovery, "x")
    secret.write_text("short")
    assert passphrase("add", by=second, status=3).json["error"]["code"] == "passphrase-needed"


def test_whoever_gives_a_passphrase_gets_no_plain_library(command: Rescue, captured: Sample, secret: Path) -> None:
    given = ("--passphrase-file", secret, "--json")
    for library in (captured.library, secret.parent / "new"):
        error = command("capture", captured.disk, "--library", library, *given, status=3).json["error"]
        assert error["code"] == "not-encrypted"
    assert command("library", "init", secret.parent / "new", *given, status=2).json["error"]["code"] == "usage"
    assert command("unseal", captured.library, secret.parent / "new", *given, status=2).json["error"]["code"] == (
        "not-encrypted"
    )
    assert not (secret.parent / "new").exists()


@pytest.mark.parametrize("words", ["capture", "import"])
def test_a_passphrase_in_the_environment_is_kept_from_a_plain_library_too(
    command: Rescue, captured: Sample, secret: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv(keyring.PASSPHRASE_FILE, str(secret))
    error = command(words, captured.disk, "--library", secret.parent / "new", "--json", status=3).json["error"]
    assert error["code"] == "not-encrypted"
    assert not (secret.parent / "new").exists()


def test_the_byte_order_mark_of_a_file_is_no_part_of_its_passphrase(secret: Path) -> None:
    secret.write_bytes(f"{WORDS}\r\n".encode("utf-8-sig"))
    assert keyring.lines_of(str(secret)) == [WORDS]
