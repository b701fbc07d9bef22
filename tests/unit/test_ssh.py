"""Coming in by ssh: which keys are taken, what is said of others, and switching it, with tools that stand in."""

import base64
import re
import subprocess
from pathlib import Path

import pytest

from imaging import bootline, ssh
from imaging.errors import RefusedError, UsageError
from imaging.sshkeys import ALPHABET, PublicKey, authorized_keys, make_password, parse_key

CONNECTION = Path(__file__).parents[2] / "live-image/system/overlay/usr/lib/rescue/ssh-connection"
FINGERPRINT = "SHA256:3kRS9MeI7K8LLxPciwkuX8XZyFz5GuW5rSW9wjuMO8g"


def blob(kind: str, *parts: bytes) -> str:
    """A key's bytes in base64."""
    fields = [kind.encode(), *parts]
    return base64.b64encode(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).decode()


ED25519 = blob("ssh-ed25519", bytes(range(32)))
RSA = blob("ssh-rsa", b"\1\0\1", b"\0" + bytes(range(1, 256)) + b"\7")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (f"ssh-ed25519 {ED25519} anna@laptop", "anna@laptop"),
        (f"  ssh-ed25519   {ED25519}  Anna's laptop \n", "Anna's laptop"),
        (f"ssh-ed25519 {ED25519}", ""),
        (ED25519, ""),
        (f"{ED25519} anna", "anna"),
        (f"ssh-ed25519 {ED25519} evil\x1b[2J", "evil[2J"),
    ],
)
def test_a_key_is_taken_as_people_have_it(words: str, name: str) -> None:
    assert parse_key(words) == PublicKey(kind="ssh-ed25519", blob=ED25519, name=name)


def test_keys_of_other_kinds_are_taken() -> None:
    assert parse_key(f"ssh-rsa {RSA} x").kind == "ssh-rsa"
    assert parse_key(blob("ecdsa-sha2-nistp256", b"nistp256", b"\4" + bytes(64))).kind == "ecdsa-sha2-nistp256"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "no part that begins with AAAA"),
        ("ssh-ed25519", "no part that begins with AAAA"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "no part that begins with AAAA"),
        (f"ssh-ed25519 {ED25519[:-5]}", "base64"),
        (f"ssh-ed25519 {ED25519[:-8]}", "cut off"),
        (blob("ssh-ed25519"), "cut off"),
        (f"ssh-ed25519 {blob('ssh-dss', b'x')}", "'ssh-dss' are not taken"),
        (blob("ssh-ed25519-cert-v01@openssh.com", b"x"), "are not taken"),
        (f'command="rm -rf /" ssh-ed25519 {ED25519}', "before the key stands"),
        (f"ssh-rsa {ED25519}", "before the key stands"),
        ("AAAA" + "A" * 9000, "AAAA"),
        ("AAAA//////8=", "cut off"),
        (f"ssh-ed25519 {ED25519[:20]}\u00e4{ED25519[20:]}", "base64"),
    ],
)
def test_what_is_no_key_is_refused_in_words(words: str, why: str) -> None:
    with pytest.raises(UsageError, match="that is no public key of ssh") as caught:
        parse_key(words)
    assert why in caught.value.message


def test_keys_let_in_and_forward_nothing() -> None:
    written = authorized_keys([parse_key(f"{ED25519} anna"), parse_key(RSA)])
    restricted = "no-agent-forwarding,no-port-forwarding,no-X11-forwarding"
    assert written == f"{restricted} ssh-ed25519 {ED25519} anna\n{restricted} ssh-rsa {RSA}\n"


def test_a_password_is_long_enough_and_can_be_read_out() -> None:
    made = [make_password() for _ in range(50)]
    assert len(set(made)) == 50
    assert len(ALPHABET) ** 15 > 2**60
    assert not set("01loi") & set(ALPHABET)
    assert all(re.fullmatch(rf"[{ALPHABET}]{{5}}(-[{ALPHABET}]{{5}}){{2}}", password) for password in made)


@pytest.mark.parametrize(
    "line",
    [
        f'quiet rescue.ssh="ssh-ed25519 {ED25519} anna" x=1',
        f'quiet "rescue.ssh=ssh-ed25519 {ED25519} anna" x=1',
        f'rescue.ssh="ssh-ed25519 {ED25519} anna',
        f'quiet rescue.ssh=\\"ssh-ed25519 {ED25519} anna\\" x=1',
    ],
)
def test_quotes_hold_a_key_together_wherever_the_boot_loader_puts_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    monkeypatch.setattr(bootline, "PATH", tmp_path / "cmdline")
    (tmp_path / "cmdline").write_text(f"{line}\n")
    assert bootline.values("rescue.ssh") == (f"ssh-ed25519 {ED25519} anna",)


def test_the_last_word_of_a_name_counts_and_an_empty_line_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootline, "PATH", tmp_path / "cmdline")
    assert bootline.value("rescue.lang") == ""
    (tmp_path / "cmdline").write_text("rescue.lang=de quiet rescue.lang=en rescue.langs=fr\n")
    assert bootline.value("rescue.lang") == "en"
    assert bootline.values("rescue.lang") == ("de", "en")


class Live:
    """A live system whose tools note what they were asked, and with what on standard input."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.state, self.stick = folder / "state", folder / "rescue-ssh"
        for name, value in (("STATE", self.state), ("STICK", self.stick), ("KERNEL_LOG", folder / "kmsg")):
            monkeypatch.setattr(ssh, name, value)
        monkeypatch.setattr(bootline, "PATH", folder / "cmdline")
        monkeypatch.setenv("RESCUE_LIVE", "1")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        tools = folder / "bin"
        tools.mkdir()
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        note = f'echo "$(basename $0) $*" >> {folder}/calls\n'
        active = f"{folder}/active"
        self.tool(
            "systemctl",
            note
            + f"""
case "$*" in
"start rescue-ssh.socket") touch {active} ;;
"stop rescue-ssh.socket") rm -f {active} ;;
show*) [ -e {active} ] && echo ActiveState=active || echo ActiveState=inactive; echo NConnections=2 ;;
esac""",
        )
        self.tool("chpasswd", note + f"cat >> {folder}/secrets")
        self.tool("dropbear", "")
        self.tool(
            "dropbearkey",
            note
            + f'''
for last; do :; done
[ "$1" = -y ] || echo made > "$last"
grep -q bad "$last" && exit 1
echo "ssh-ed25519 AAAA root@vm"; echo "Fingerprint: {FINGERPRINT}"''',
        )
        self.tool("dropbearconvert", note + 'cp "$3" "$4"')

    def tool(self, name: str, script: str) -> None:
        """A tool that stands in."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def text(self, name: str) -> str:
        """A file that the tools wrote; empty where there is none."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def words(self, line: str) -> None:
        """The kernel command line."""
        (self.folder / "cmdline").write_text(line)

    def on_the_stick(self, name: str, data: bytes) -> None:
        """A file in the stick's folder."""
        self.stick.mkdir(exist_ok=True)
        (self.stick / name).write_bytes(data)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    (tmp_path / "kmsg").touch()
    return Live(tmp_path, monkeypatch)


def test_it_is_off_until_somebody_asks(live: Live) -> None:
    live.words("quiet")
    assert ssh.ssh() == ssh.Ssh()
    assert ssh.allow_keys() == ssh.Ssh()
    assert "start" not in live.text("calls")


def test_elsewhere_it_is_neither_shown_nor_switched(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESCUE_LIVE")
    assert "not the recovery system" in ssh.ssh().why_not
    for switch in (ssh.allow_password, ssh.allow_keys, ssh.switch_off):
        with pytest.raises(RefusedError, match="not the recovery system"):
            switch()
    assert not live.text("calls")


def test_a_password_goes_where_nobody_else_can_read_it(live: Live) -> None:
    password = ssh.allow_password()
    found = ssh.ssh()
    assert found == ssh.Ssh(on=True, connections=2, password=password.number, fingerprint=FINGERPRINT)
    assert live.text("secrets") == f"root:{password.words}\n"
    written = "".join(path.read_text() for path in live.state.iterdir()) + live.text("calls") + live.text("kmsg")
    assert password.words not in written
    assert password.number not in password.words
    assert f"on, host key {FINGERPRINT}" in live.text("kmsg")
    assert live.state.stat().st_mode & 0o777 == 0o700
    another = ssh.allow_password()
    assert another.number != password.number
    assert live.text("calls").count("dropbearkey -t ed25519") == 1


def test_switching_it_off_locks_the_password_and_ends_the_sessions_last(live: Live) -> None:
    ssh.allow_password()
    (live.folder / "calls").unlink()
    ssh.switch_off()
    assert live.text("calls").splitlines() == [
        "systemctl stop rescue-ssh.socket",
        "chpasswd --encrypted",
        "systemctl --no-block stop rescue-ssh@*.service",
    ]
    assert live.text("secrets").endswith("root:*\n")
    assert ssh.ssh() == ssh.Ssh()
    assert not (live.state / "password").exists()


def test_keys_of_the_command_line_and_the_stick_let_in_and_bad_ones_are_told(live: Live) -> None:
    live.words(f'rescue.ssh="ssh-ed25519 {ED25519} anna" rescue.ssh=ssh-ed25519')
    live.on_the_stick("authorized_keys", f"# the office\n\nssh-rsa {RSA} office\nnonsense\n".encode())
    found = ssh.allow_keys()
    assert found.on
    assert found.keys == ("anna", "office")
    assert not found.password
    told = found.problems
    assert len(told) == 2
    assert told[0].startswith("the key of rescue.ssh does not let in: that is no public key")
    assert "authorized_keys line 4" in told[1]
    assert (live.state / "authorized_keys").read_text().count("no-port-forwarding") == 2


def test_bad_keys_alone_let_nobody_in(live: Live) -> None:
    live.words("rescue.ssh=ssh-ed25519")
    found = ssh.allow_keys()
    assert not found.on
    assert len(found.problems) == 1
    assert found.problems[0] in live.text("kmsg")
    assert "start" not in live.text("calls")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"A" * (1 << 17)])
def test_a_file_of_keys_that_is_none_is_told(live: Live, data: bytes) -> None:
    live.words("")
    live.on_the_stick("authorized_keys", data)
    found = ssh.allow_keys()
    assert not found.on
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("data", "converted", "taken"),
    [(b"-----BEGIN OPENSSH PRIVATE KEY-----", True, True), (b"dropbear's own", False, True), (b"bad", False, False)],
)
def test_the_sticks_host_key_stays_and_a_bad_one_is_replaced(
    live: Live, data: bytes, *, converted: bool, taken: bool
) -> None:
    live.words(f"rescue.ssh={ED25519}")
    live.on_the_stick("host_key", data)
    found = ssh.allow_keys()
    assert found.on
    assert found.fingerprint == FINGERPRINT
    assert ("dropbearconvert openssh dropbear" in live.text("calls")) is converted
    assert ("dropbearkey -t ed25519" in live.text("calls")) is not taken
    assert (live.state / "host_key").read_bytes() == (data if taken else b"made\n")
    assert bool(found.problems) is not taken
    assert not list(live.state.glob("*.given"))


@pytest.mark.parametrize("password", [False, True])
def test_a_connection_refuses_passwords_unless_one_was_made(tmp_path: Path, *, password: bool) -> None:
    (tmp_path / "dropbear").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "dropbear").chmod(0o755)
    if password:
        (tmp_path / "password").touch()
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RESCUE_SSH": str(tmp_path)}
    said = subprocess.run([CONNECTION], env=environ, check=True, capture_output=True, text=True).stdout.split()
    assert ("-s" in said) is not password
    assert {"-j", "-k"} <= set(said)
    assert said[said.index("-G") + 1] == "root"
