"""Shares over ssh from a real server: whose key it is, who is let in, and what a library there can do."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from imaging import access, inventory, planner, sharemounts, sshshares
from imaging.errors import RefusedError, RescueError
from imaging.jobs import JobState
from imaging.shares import Address, Login, parse
from rescue import cli
from tests.faults.killing import finish, start
from tests.faults.world import Sample, told_of_processes, until, verify_here
from tests.servers import ssh
from tests.servers.ssh import Ssh

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="there is no /dev/fuse here"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with ssh.serving(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where shares are mounted; none is left."""
    state.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(sharemounts, "ROOT", tmp_path / "shares")
    yield tmp_path / "shares"
    for mount in sharemounts.mounted():
        sharemounts.detach(Path(mount.where))


def there(server: Ssh, folder: str = "", user: str = ssh.USER) -> Address:
    return parse(f"ssh://{user}@127.0.0.1:{server.port}{ssh.FOLDER}{folder}")


BY_PASSWORD = Login(password=ssh.PASSWORD)


def confirm(address: Address) -> None:
    key = sshshares.host_key(address)
    assert key is not None
    sshshares.pin(key)


def refusal(address: Address, login: Login = BY_PASSWORD) -> tuple[str, str]:
    with pytest.raises(RescueError) as caught:
        sharemounts.attach(address, login)
    assert ssh.PASSWORD not in caught.value.message
    assert sharemounts.mounted() == ()
    return caught.value.code, caught.value.message


def test_nobody_is_talked_to_whose_key_was_not_confirmed(server: Ssh, tmp_path: Path) -> None:
    address = there(server)
    key = sshshares.host_key(address)
    assert key is not None
    assert key.fingerprint == server.fingerprint
    assert refusal(address)[0] == "host-key"
    sshshares.pin(key)
    assert sshshares.host_key(address) is None
    sharemounts.detach(sharemounts.attach(address, BY_PASSWORD))
    # Another server stands at the same address now.
    with ssh.serving(tmp_path / "other") as other:
        moved = there(other)
        sshshares.pin(sshshares.HostKey(name=f"[127.0.0.1]:{other.port}", key=key.key))
        assert refusal(moved) == ("host-key", "127.0.0.1 shows another key than the one that was confirmed")


def test_who_is_let_in_and_who_is_not_is_told(server: Ssh, tmp_path: Path) -> None:
    confirm(there(server))
    assert refusal(there(server), Login(password="wrong"))[0] == "login"
    assert refusal(there(server, user="nobody-here"))[0] == "login"
    assert refusal(there(server, "/nothing"))[0] == "no-share"
    stranger = ssh.make_key(tmp_path / "stranger")
    assert refusal(there(server), Login(key=stranger))[0] == "login"
    protected = ssh.make_key(tmp_path / "protected", "a passphrase")
    assert "a passphrase protects it" in refusal(there(server), Login(key=protected))[1]
    assert "cannot be read" in refusal(there(server), Login(key=tmp_path / "none"))[1]
    # As it lies on a FAT stick: everyone can read it.
    open_to_all = Path(shutil.copy(server.key, tmp_path / "key"))
    open_to_all.chmod(0o644)
    where = sharemounts.attach(there(server), Login(key=open_to_all))
    assert sharemounts.attach(there(server), Login(key=open_to_all)) == where
    sharemounts.detach(where)


def test_a_share_that_is_read_takes_nothing_and_no_secret_stands_anywhere(server: Ssh, state: Path) -> None:
    address = there(server)
    confirm(address)
    where = sharemounts.attach(address, BY_PASSWORD)
    with pytest.raises(OSError, match="Read-only"):
        (where / "x").touch()
    secret = ssh.PASSWORD.encode()
    lines = told_of_processes()
    programs = {path.parent: line.partition(b"\0")[0].rpartition(b"/")[2] for path, line in lines.items()}
    ours = {process for process, program in programs.items() if program in (b"ssh", b"sshfs")}
    assert ours
    assert not [path for path, line in lines.items() if secret in line]
    assert not [path for path, said in told_of_processes("environ").items() if path.parent in ours and secret in said]
    assert not [path for path in state.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert [path.name for path in state.iterdir() if path.name.startswith(".ssh")] == []
    assert stat.S_IMODE((state / "ssh-hosts").stat().st_mode) == 0o600


def test_a_disk_is_captured_to_a_share_over_ssh_and_proved_there(server: Ssh, sample: Sample, tmp_path: Path) -> None:
    address = there(server)
    confirm(address)
    where = access.connect(address, BY_PASSWORD, writable=True)
    library = where / "rescue-library"
    job = finish(start(planner.plan_capture([inventory.look(str(sample.disk))], library, "", 3)))
    assert job.state is JobState.DONE, job.finished
    result = job.finished.result if job.finished else None
    image = getattr(result, "image", "")
    away = Sample(library, image, sample.disk)
    assert {path.stat().st_uid for path in (server.home / "rescue-library").rglob("*")} == {ssh.UID}
    assert verify_here(away, tmp_path / "verify").status == 0


def cut_off(where: Path) -> bool:
    """Kill whatever of the server serves somebody; whether its folder fails by now, or is no mount any more."""
    for process, line in told_of_processes().items():
        # OpenSSH from 9.8 on has a program of its own for sessions.
        if any(f"{program}: {ssh.USER}".encode() in line for program in ("sshd", "sshd-session")):
            with suppress(ProcessLookupError):
                os.kill(int(process.parent.name), 9)
    try:
        list(where.iterdir())
    except OSError:
        return True
    return not where.is_mount()


def test_a_server_that_goes_away_ends_the_job_and_can_be_connected_again(tmp_path: Path) -> None:
    with ssh.serving(tmp_path / "server") as server:
        address = there(server)
        confirm(address)
        where = sharemounts.attach(address, BY_PASSWORD)
        # A session has its name once it is one, and its end is heard a moment later.
        until(lambda: cut_off(where), what="the end of the connection")
        again = sharemounts.attach(address, BY_PASSWORD)
        assert [path.name for path in again.iterdir()] == [".ssh"]
    with pytest.raises(RefusedError, match="nobody has confirmed"):
        sharemounts.attach(parse("anna@127.0.0.2:/"), BY_PASSWORD)


def test_a_share_is_mounted_from_the_command_line_once_its_key_is_confirmed(
    server: Ssh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where, secret = tmp_path / "mnt", tmp_path / "password"
    where.mkdir()
    secret.write_text(f"{ssh.PASSWORD}\n")

    def refused(*words: object, status: int = 3) -> str:
        assert cli.main(list(map(str, words))) == status
        return capsys.readouterr().err

    words = ["mount-share", there(server).source, str(where), "--password-file", str(secret)]
    assert f"was not confirmed: it is {server.fingerprint}" in refused(*words)
    assert "was not confirmed" in refused(*words, "--host-key", "SHA256:other")
    words += ["--host-key", server.fingerprint, "--write"]
    assert "can be read by others" in refused(*words)
    secret.chmod(0o600)
    assert cli.main(words) == 0
    (where / "written").touch()
    assert (server.home / "written").stat().st_uid == ssh.UID
    assert "is no empty folder" in refused(*words)
    (server.home / "written").unlink()
    assert cli.main(["unmount-share", str(where)]) == 0
    assert "no share is mounted" in refused("unmount-share", where)
    assert where.is_dir()
    assert "--library" in refused("mount-share", "s3://bucket/images", where, status=2)
