"""Addresses of shares as people type them, and mounting them through tools that stand in for the real ones."""

import errno
import os
from pathlib import Path

import pytest

from imaging import media, newmounts, nfsshares, sharemounts
from imaging.disk import Mount
from imaging.errors import IoError, RefusedError, RescueError, UsageError
from imaging.mounts import parse_options
from imaging.run import Completed
from imaging.sharemounts import attach
from imaging.shares import Address, Kind, Login, is_address, parse


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("//nas/backup", "//nas/backup"),
        (" //nas/backup/office/2026/ ", "//nas/backup/office/2026"),
        ("\\\\nas\\backup\\office", "//nas/backup/office"),
        ("smb://nas.local/backup", "//nas.local/backup"),
        ("SMB://nas/My%20Images", "//nas/My Images"),
        ("cifs://192.168.1.10/images$", "//192.168.1.10/images$"),
        ("//[fe80::1]/images", "//[fe80::1]/images"),
        ("//nas/a@b", "//nas/a@b"),
        ("//nas/backup/anna@home/2026", "//nas/backup/anna@home/2026"),
        ("smb://nas/a@b", "//nas/a@b"),
        ("//[fe80::1]/a@b", "//[fe80::1]/a@b"),
        ("nas:/volume1/images", "nas:/volume1/images"),
        ("[fe80::1]:/images/", "[fe80::1]:/images"),
        ("nfs://nas/volume1/images", "nas:/volume1/images"),
        ("nfs://nas", "nas:/"),
    ],
)
def test_addresses_are_understood_as_people_write_them(words: str, source: str) -> None:
    assert is_address(words)
    assert parse(words).source == source


def test_an_at_sign_parts_the_user_from_the_server_alone() -> None:
    assert parse("smb://anna@nas/b@c") == Address(kind=Kind.SMB, server="nas", path="b@c", user="anna")


def test_user_domain_and_port_are_taken_from_an_address() -> None:
    assert parse("smb://OFFICE;anna@nas:1445/backup") == Address(
        kind=Kind.SMB, server="nas", path="backup", user="anna", domain="OFFICE", port=1445
    )
    assert parse("nfs://nas:2050/images").port == 2050


@pytest.mark.parametrize("words", ["/media/stick", "images", "./images", "~/images", "/srv/a:b", "/srv/a@b:c", ""])
def test_a_folder_is_no_address(words: str) -> None:
    assert not is_address(words)


@pytest.mark.parametrize(
    ("words", "user", "source"),
    [
        ("anna@nas:/images/", "anna", "ssh://anna@nas/images"),
        ("anna@nas:images", "anna", "ssh://anna@nas/~/images"),
        ("anna@nas:", "anna", "ssh://anna@nas/~/"),
        ("anna@[fe80::1]:/", "anna", "ssh://anna@[fe80::1]/"),
        ("ssh://nas/images", "", "ssh://nas/images"),
        ("sftp://anna@nas:2222/a/b", "anna", "ssh://anna@nas:2222/a/b"),
        ("ssh://anna@nas/~/images", "anna", "ssh://anna@nas/~/images"),
    ],
)
def test_a_folder_over_ssh_is_written_as_ssh_takes_it(words: str, user: str, source: str) -> None:
    assert is_address(words)
    found = parse(words)
    assert (found.kind, found.user, found.source) == (Kind.SSH, user, source)
    assert parse(found.source) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nas:images", "names no user"),
        ("-oProxyCommand=x@nas:/images", "cannot begin with a hyphen"),
        ("ssh://anna:se-cret@nas/images", "holds a password"),
        ("ssh://anna:se/cret@nas/images", "holds a password"),
        ("anna:se-cret@nas:/images", "holds a password"),
        ("anna@nas:/a,ssh_command=x", "commas"),
    ],
)
def test_an_address_for_ssh_that_means_something_else_is_refused(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse(words)
    assert "cret" not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize("words", ["ftp://nas/images", "dav://anna:se-cret@cloud/x"])
def test_what_cannot_be_mounted_is_refused_with_what_can_be_done(words: str) -> None:
    with pytest.raises(UsageError, match="cannot read images from") as caught:
        parse(words)
    assert "copy the library to a disk" in (caught.value.hint or "")
    assert "se-cret" not in caught.value.message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("//nas", "names no share"),
        ("//nas/", "names no share"),
        ("///backup", "names no server"),
        ("smb:///backup", "names no server"),
        ("//nas:99999/backup", "names no server"),
        ("//na s/backup", "names no server"),
        ("//-o/backup", "names no server"),
        ("gopher://nas/x", "not an address that this version knows"),
        ("images", "not the address of a share"),
        ("//nas/backup,uid=0", "commas"),
        ("nas:/images,rw", "commas"),
        ("//nas/a\nb", "control characters"),
        ("//nas/a%00b", None),
        ("smb://nas/a%00b", "control characters"),
        ("smb://an,na@nas/a", "commas"),
        ("//nas/backup/../secret", "'..'"),
    ],
)
def test_what_is_no_address_is_refused(words: str, said: str | None) -> None:
    if said is None:
        assert parse(words).path == "a%00b"
        return
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "words", ["smb://anna:se-cret@nas/backup", "smb://anna:se/cret@nas/backup", "//anna:1/cret@nas/backup"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(words: str) -> None:
    with pytest.raises(UsageError, match="holds a password") as caught:
        parse(words)
    assert "cret" not in caught.value.message + str(caught.value.hint)


def test_a_login_never_shows_its_password() -> None:
    assert "se-cret" not in repr(Login(user="anna", password="se-cret"))


class Tools:
    """Stand-ins for mount.cifs, mount.nfs and umount that note what they were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("mount.cifs", "mount.nfs", "umount"):
            self.fail(name, 0, "")

    def fail(self, name: str, status: int, said: str) -> None:
        """What the tool says and how it ends."""
        script = self.folder / name
        (self.folder / f"{name}.says").write_text(said)
        script.write_text(
            "#!/bin/sh\n"
            f'for word in "$@"; do printf "%s\\n" "$word"; done >> "{self.folder}/{name}.argv"\n'
            f'/usr/bin/env > "{self.folder}/{name}.env"\n'
            f'/bin/cat > "{self.folder}/{name}.stdin"\n'
            f'/bin/cat "{self.folder}/{name}.says" >&2\n'
            f"exit {status}\n"
        )
        script.chmod(0o755)

    def given(self, name: str, what: str = "argv") -> str:
        """What a tool was given: its arguments, environment or input."""
        path = self.folder / f"{name}.{what}"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """The stand-ins first on PATH, and a folder for the shares."""
    made = Tools(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sharemounts, "ROOT", tmp_path / "shares")
    monkeypatch.setattr(sharemounts, "read_mounts", list)
    return made


def test_a_windows_share_is_mounted_read_only_with_its_password_through_a_pipe_alone(tools: Tools) -> None:
    where = attach(parse("//nas/My Images"), Login(user="anna", password='pa,ss "w0rt', domain="OFFICE"))
    source, folder, dash, options = tools.given("mount.cifs").splitlines()
    assert (source, folder, dash) == ("//nas/My Images", str(where), "-o")
    assert {"ro", "nosuid", "nodev", "noexec", "username=anna", "domain=OFFICE"} <= set(options.split(","))
    assert tools.given("mount.cifs", "stdin") == 'pa,ss "w0rt'
    assert "PASSWD_FD=0" in tools.given("mount.cifs", "env").splitlines()
    assert "w0rt" not in tools.given("mount.cifs") + tools.given("mount.cifs", "env")
    assert where.name == "nas-My-Images"


def test_without_a_user_a_windows_share_is_asked_as_a_guest_and_never_on_the_terminal(tools: Tools) -> None:
    attach(parse("//nas/backup"))
    assert "guest" in tools.given("mount.cifs").splitlines()[-1].split(",")
    assert "PASSWD_FD=0" in tools.given("mount.cifs", "env").splitlines()


def test_the_user_of_the_address_is_used_where_no_other_is_given(tools: Tools) -> None:
    attach(parse("smb://OFFICE;anna@nas:1445/backup"), Login(password="x"))
    assert {"username=anna", "domain=OFFICE", "port=1445"} <= set(tools.given("mount.cifs").splitlines()[-1].split(","))


def test_an_nfs_export_is_mounted_with_errors_instead_of_endless_waits(tools: Tools) -> None:
    attach(parse("nas:/volume1/images"), writable=True)
    source, _, _, options = tools.given("mount.nfs").splitlines()
    assert source == "nas:/volume1/images"
    assert {"rw", "soft", "retry=0", "nolock", "nosuid"} <= set(options.split(","))


def test_folders_of_an_nfs_export_that_is_written_to_are_always_looked_at_anew(tools: Tools) -> None:
    attach(parse("nas:/volume1/images"), writable=True)
    fresh = {"acdirmin=0", "acdirmax=0", "lookupcache=positive"}
    assert fresh <= set(tools.given("mount.nfs").splitlines()[-1].split(","))
    attach(parse("nas:/volume2/images"))
    assert not fresh & set(tools.given("mount.nfs").splitlines()[-1].split(","))


def speak(tools: Tools, answers: dict[str, str]) -> None:
    """Let the server say no, in these words, in these versions of NFS."""
    cases = "".join(
        f"    *vers={version}) echo 'mount.nfs: {said}' >&2; exit 32;;\n" for version, said in answers.items()
    )
    script = tools.folder / "mount.nfs"
    script.write_text(
        "#!/bin/sh\nfor options; do :; done\n"
        f'echo "${{options##*,}}" >> "{script}.argv"\n'
        f"case $options in\n{cases}esac\n"
    )


NO_VERSION = "requested NFS version or transport protocol is not supported"


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ({}, ["4.1"]),
        ({"4.1": NO_VERSION}, ["4.1", "4.0"]),
        ({"4.1": "Protocol not supported", "4.0": NO_VERSION}, ["4.1", "4.0", "3"]),
        # Without NFS 4, another program or none is at its port; and an older server has other paths there.
        ({"4.1": "Connection refused", "4.0": "Connection refused"}, ["4.1", "4.0", "3"]),
        ({"4.1": "failed: No such file or directory", "4.0": "failed: No such file or directory"}, ["4.1", "4.0", "3"]),
    ],
)
def test_nfs_is_spoken_in_no_version_whose_reads_may_be_wrong_and_in_older_ones_where_need_be(
    tools: Tools, answers: dict[str, str], asked: list[str]
) -> None:
    speak(tools, answers)
    attach(parse("nas:/images"))
    assert tools.given("mount.nfs").splitlines() == [f"vers={version}" for version in asked]


@pytest.mark.parametrize(
    ("answers", "code", "asked"),
    [
        ({"4.1": "access denied by server", "4.0": "x", "3": "x"}, "login", 1),
        ({"4.1": "Connection timed out", "4.0": "x", "3": "x"}, "no-server", 1),
        ({"4.1": "No such file", "4.0": "No such file", "3": "Connection refused"}, "no-share", 3),
        ({"4.1": NO_VERSION, "4.0": NO_VERSION, "3": "access denied by server"}, "login", 3),
        # In version 4 a server hides its exports from whom they are not for.
        ({"4.1": "No such file", "4.0": "No such file", "3": "access denied by server"}, "login", 3),
        ({"4.1": NO_VERSION, "4.0": NO_VERSION, "3": NO_VERSION}, "too-old", 3),
        ({"4.1": "Connection refused", "4.0": "Connection refused", "3": "Connection refused"}, "no-server", 3),
    ],
)
def test_of_the_answers_in_several_versions_of_nfs_the_one_that_says_most_is_told(
    tools: Tools, answers: dict[str, str], code: str, asked: int
) -> None:
    speak(tools, answers)
    with pytest.raises(RescueError) as caught:
        attach(parse("nas:/images"))
    assert caught.value.code == code
    assert len(tools.given("mount.nfs").splitlines()) == asked


@pytest.mark.usefixtures("tools")
def test_a_server_that_has_said_no_and_then_nothing_has_said_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_once(argv: list[str | Path], **_: object) -> Completed:
        if "vers=4.1" in str(argv[-1]):
            return Completed(status=32, stdout="", stderr="mount.nfs: No such file or directory")
        raise IoError("mount.nfs did not end within 60 s", code="tool-hung")

    monkeypatch.setattr(nfsshares, "run", answer_once)
    with pytest.raises(RefusedError, match="there is no nas:/backup"):
        attach(parse("nas:/backup"))


@pytest.mark.parametrize("user", ["an,na", "an\nna"])
def test_a_user_cannot_smuggle_in_an_option(tools: Tools, user: str) -> None:
    with pytest.raises(UsageError):
        attach(parse("//nas/backup"), Login(user=user))
    assert tools.given("mount.cifs") == ""


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (
            "mount error(13): Permission denied\nRefer to the mount.cifs(8) manual page",
            "login",
            "does not let this user",
        ),
        ("mount error(127): Key has expired", "login", "does not let this user"),
        ("mount error(2): No such file or directory", "no-share", "there is no //nas/backup"),
        ("mount error(6): No such device or address", "no-share", "there is no //nas/backup"),
        (
            "mount error(111): could not connect to 10.0.0.9Unable to find suitable address.",
            "no-server",
            "does not answer",
        ),
        ("mount error(112): Host is down", "no-server", "does not answer, or speaks nothing newer than SMB 1"),
        ("mount error(113): could not connect", "no-server", "does not answer"),
        ("mount error: could not resolve address for nas: Unknown error", "no-server", "no computer called nas"),
        ("mount error: cifs filesystem not supported by the system", "not-allowed", "this system cannot mount"),
        ("mount error(95): Operation not supported", "too-old", "speaks a version of the protocol"),
        ("mount error(5): Input/output error", "io", "could not be mounted: mount error(5)"),
        ("", "io", "no reason was given"),
    ],
)
def test_why_a_windows_share_cannot_be_mounted_is_told_in_words(tools: Tools, said: str, code: str, words: str) -> None:
    tools.fail("mount.cifs", 32, said)
    with pytest.raises(RescueError) as caught:
        attach(parse("//nas/backup"), Login(user="anna", password="se-cret"))
    assert caught.value.code == code
    assert words in caught.value.message
    assert "se-cret" not in caught.value.message
    assert list(sharemounts.ROOT.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("mount.nfs: access denied by server while mounting nas:/a", "login"),
        ("mount.nfs: mounting nas:/a failed, reason given by server: No such file or directory", "no-share"),
        ("mount.nfs: Failed to resolve server nas: Name or service not known", "no-server"),
        ("mount.nfs: Connection refused", "no-server"),
        ("mount.nfs: Connection timed out", "no-server"),
        ("mount.nfs: No route to host for nas:/a on /x", "no-server"),
        ("mount.nfs: Protocol not supported", "too-old"),
        ("mount.nfs: No such device", "not-allowed"),
    ],
)
def test_why_an_nfs_export_cannot_be_mounted_is_told_in_words(tools: Tools, said: str, code: str) -> None:
    tools.fail("mount.nfs", 32, said)
    with pytest.raises(RescueError) as caught:
        attach(parse("nas:/a"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        ("subsystem request failed on channel 0\nConnection closed by nas port 22\n", "no-sftp", "switch sftp on"),
        # A server that lets nobody in for a while, since logins failed.
        ("Connection closed by 192.0.2.1 port 22\nread: Connection reset by peer\n", "closed", "wait some minutes"),
        ("anna@nas: Permission denied (publickey).\nread: Connection reset by peer\n", "login", "check the user"),
        ("anna@nas:/nothing: No such file or directory\n", "no-share", "spelled"),
    ],
)
def test_why_a_folder_over_ssh_cannot_be_mounted_is_told_in_words(said: str, code: str, hint: str) -> None:
    error = sharemounts._refusal(parse("ssh://anna@nas/backup"), said)
    assert error.code == code
    assert error.hint is not None and hint in error.hint


@pytest.mark.usefixtures("tools")
def test_without_the_tool_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging.run.find_tool", lambda _: None)
    with pytest.raises(RefusedError, match=r"mount\.cifs is not installed") as caught:
        attach(parse("//nas/backup"))
    assert "cifs-utils" in (caught.value.hint or "")
    with pytest.raises(RefusedError) as caught:
        attach(parse("nas:/backup"))
    assert "nfs-common" in (caught.value.hint or "")
    assert list(sharemounts.ROOT.iterdir()) == []


def test_a_share_without_a_letter_in_its_name_has_a_folder_of_its_own(tools: Tools) -> None:
    assert attach(parse("//[::]/\u00fc")).parent == sharemounts.ROOT
    assert tools.given("mount.cifs")


@pytest.mark.usefixtures("tools")
def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise IoError("mount.nfs did not end within 60 s", code="tool-hung")

    monkeypatch.setattr(nfsshares, "run", hang)
    with pytest.raises(IoError, match="nas does not answer"):
        attach(parse("nas:/backup"))


def mounts(monkeypatch: pytest.MonkeyPatch, *found: Mount) -> None:
    """What the kernel says is mounted."""
    for module in (sharemounts, media):
        monkeypatch.setattr(module, "read_mounts", lambda: [("0:55", mount) for mount in found])


def test_a_share_that_is_mounted_is_used_and_one_that_is_read_only_is_mounted_anew_for_writing(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sharemounts.ROOT / "nas-backup"
    old.mkdir(parents=True)
    (old / "held").touch()
    mounts(monkeypatch, Mount(source="//nas/backup", where=str(old), read_only=True))
    assert attach(parse("//nas/backup")) == old
    assert tools.given("mount.cifs") == ""
    new = attach(parse("//nas/backup"), writable=True)
    assert new == sharemounts.ROOT / "nas-backup-2"
    assert "rw" in tools.given("mount.cifs").splitlines()[-1].split(",")
    assert tools.given("umount").splitlines() == [str(old)]


@pytest.mark.parametrize(
    ("words", "login", "options", "used"),
    [
        ("//nas/backup", Login(), "rw,username=anna,domain=OFFICE", False),
        ("//nas/backup", Login(user="bob"), "rw,username=anna", False),
        ("//nas/backup", Login(user="anna"), "rw,username=anna", True),
        # The server has told its domain; the other one was asked for.
        ("//nas/backup", Login(user="anna"), "rw,username=anna,domain=OFFICE", True),
        ("//nas/backup", Login(user="anna", domain="office"), "rw,username=anna,domain=OFFICE", True),
        ("//nas/backup", Login(user="anna", domain="LAB"), "rw,username=anna,domain=OFFICE", False),
        ("smb://anna@nas/backup", Login(), "rw,username=anna", True),
        ("smb://nas:1445/backup", Login(), "rw,sec=none", False),
        ("smb://nas:1445/backup", Login(), "rw,sec=none,port=1445", True),
        ("//nas/backup", Login(user="an na"), "rw,username=an\\040na", True),
        ("nas:/backup", Login(), "rw,vers=4.2,addr=10.0.0.9", True),
        ("nfs://nas:2050/backup", Login(), "rw,vers=3,port=2050", True),
        ("nfs://nas:2050/backup", Login(), "rw,vers=3", False),
    ],
)
def test_a_mounted_share_is_used_for_the_same_user_and_port_alone(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, words: str, login: Login, options: str, *, used: bool
) -> None:
    old = sharemounts.ROOT / "nas-backup"
    old.mkdir(parents=True)
    (old / "held").touch()
    address = parse(words)
    mounts(monkeypatch, Mount(source=address.source, where=str(old), read_only=True))
    monkeypatch.setattr(sharemounts, "options_at", lambda _: parse_options(options))
    assert (attach(address, login) == old) is used
    assert tools.given("umount") == ""


def test_a_share_of_an_ipv6_server_is_known_again(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    old = sharemounts.ROOT / "v6"
    old.mkdir(parents=True)
    mounts(monkeypatch, Mount(source="//fe80::1/backup", where=str(old), read_only=True))
    assert attach(parse("//[fe80::1]/backup")) == old
    assert tools.given("mount.cifs") == ""


def test_shares_are_media_and_only_writable_ones_take_a_backup(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = sharemounts.ROOT / "a", sharemounts.ROOT / "b"
    for folder in (reading, writing):
        folder.mkdir(parents=True)
    mounts(
        monkeypatch,
        Mount(source="//nas/a", where=str(reading), read_only=True),
        Mount(source="//nas/b", where=str(writing)),
        Mount(source="//nas/c", where="/somewhere/else"),
    )
    assert media.mounted() == (reading, writing)
    assert media.mounted(writable=True) == (writing,)
    assert tools.given("umount") == ""


def test_a_share_that_is_mounted_read_only_is_known_though_its_file_system_is_writable(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sharemounts.ROOT / "nas-backup"
    old.mkdir(parents=True)
    (old / "held").touch()
    mounts(monkeypatch, Mount(source="//nas/backup", where=str(old), read_only=False))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK or Path(path) != old)
    assert media.mounted() == (old,)
    assert media.mounted(writable=True) == ()
    assert attach(parse("//nas/backup"), writable=True) != old
    assert "rw" in tools.given("mount.cifs").splitlines()[-1].split(",")


def test_where_nothing_may_be_mounted_the_way_out_is_told(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tools.folder / "file"
    blocked.touch()
    monkeypatch.setattr(sharemounts, "ROOT", blocked / "shares")
    with pytest.raises(RefusedError) as caught:
        attach(parse("//nas/backup"))
    assert "name its folder" in (caught.value.hint or "")


def test_what_ip_netns_mounts_is_no_medium(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount(source="/dev/sda2", where="/run/netns", read_only=False)
    monkeypatch.setattr(media, "read_mounts", lambda: [("8:2", mount)])
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert media.mounted(writable=True) == ()
    monkeypatch.setattr(media, "_NOT_MEDIA", ("/proc",))
    assert media.mounted(writable=True) == (Path("/run/netns"),)


@pytest.mark.parametrize(
    ("answers", "gone"),
    [
        ([errno.EIO, errno.EIO, errno.ENOTCONN], True),
        # To whoever was waiting for the process as it ended.
        ([errno.ECONNABORTED, errno.ENOTCONN], True),
        ([errno.ENOTCONN], True),
        ([errno.EIO, 0], False),
        ([errno.EACCES], False),
        ([0], False),
    ],
)
def test_a_mount_whose_process_is_just_ending_is_waited_for(
    answers: list[int], gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(answers)
    released: list[Path] = []

    def statvfs(_where: Path) -> None:
        if number := left.pop(0):
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", statvfs)
        patch.setattr(newmounts, "release", released.append)
        newmounts.clear(tmp_path)
    assert (bool(released), left) == (gone, [])
