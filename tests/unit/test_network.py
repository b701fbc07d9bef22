"""Addresses that are typed, what `ip` prints, and when the network may be changed."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from imaging import network
from imaging.disk import Mount
from imaging.errors import IoError, RefusedError, UsageError
from imaging.imageplans import VerifyPlan
from imaging.jobs import JobState
from imaging.network import How, Static, parse_gateways, parse_links, parse_name_servers, parse_static

LINKS = """[
{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"link_type":"loopback","address":"00:00:00:00:00:00",
 "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","valid_life_time":4294967295}]},
{"ifindex":2,"ifname":"eno1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP",
 "link_type":"ether","address":"52:54:00:12:34:56",
 "addr_info":[{"family":"inet","local":"10.0.2.15","prefixlen":24,"scope":"global","dynamic":true},
              {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
{"ifindex":3,"ifname":"eno2","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP"],"link_type":"ether",
 "address":"52:54:00:12:34:57","addr_info":[]},
{"ifindex":4,"ifname":"eno3","flags":["BROADCAST","MULTICAST"],"link_type":"ether","address":"52:54:00:12:34:58"}
]"""
ROUTES = """[{"dst":"default","gateway":"10.0.2.2","dev":"eno1","protocol":"dhcp","metric":1002,"flags":[]},
{"dst":"default","gateway":"10.0.2.9","dev":"eno1","metric":5000},{"dst":"10.0.2.0/24","dev":"eno1"}]"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ip` and a `systemctl` that note what they are asked for, and the folders of a live system."""
    said = tmp_path / "said"
    for name, words in (
        (
            "ip",
            f"case \"$*\" in *-json?address) cat <<'E'\n{LINKS}\nE\n;; '-json route') cat <<'E'\n{ROUTES}\nE\n;; "
            f'\'-json route get \'*) echo \'[{{"dst":"x","dev":"eno1","flags":[]}}]\' ;; esac',
        ),
        ("systemctl", ""),
    ):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {said}\n{words}\n')
        (tmp_path / name).chmod(0o755)
    for card in ("eno1", "eno2", "eno3"):
        (tmp_path / "sys" / card / "device").mkdir(parents=True)
    (tmp_path / "resolv.conf").write_text("search home\nnameserver 10.0.2.3\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(network, "_SYS", tmp_path / "sys")
    monkeypatch.setattr(network, "STATE", tmp_path / "state")
    monkeypatch.setattr(network, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("RESCUE_LIVE", "1")
    return said


@pytest.mark.usefixtures("tools")
def test_cards_are_told_with_cable_address_and_gateway() -> None:
    found = network.network()
    first, second, third = found.interfaces
    assert (first.name, first.cable, first.addresses, first.gateway) == ("eno1", True, ("10.0.2.15/24",), "10.0.2.2")
    assert (second.cable, second.addresses) == (False, ())
    assert third.cable is None
    assert found.name_servers == ("10.0.2.3",)
    assert (found.why_not, first.how) == ("", How.DHCP)


def test_a_static_address_takes_the_place_of_dhcp(tools: Path) -> None:
    network.use_static("eno1", Static(address="10.0.2.7/24", gateway="10.0.2.2", name_servers=("9.9.9.9", "1.1.1.1")))
    assert tools.read_text().splitlines() == [
        "systemctl stop rescue-dhcp@eno1.service",
        "ip address flush dev eno1",
        "ip link set eno1 up",
        "ip address add 10.0.2.7/24 dev eno1",
        "ip route replace default via 10.0.2.2 dev eno1",
    ]
    assert network.RESOLV_CONF.read_text() == "nameserver 9.9.9.9\nnameserver 1.1.1.1\n"
    assert network.network().interfaces[0].how is How.STATIC


def test_dhcp_and_off_are_remembered(tools: Path) -> None:
    network.switch_off("eno2")
    assert network.network().interfaces[1].how is How.OFF
    network.use_dhcp("eno2")
    assert network.network().interfaces[1].how is How.DHCP
    assert "systemctl start rescue-dhcp@eno2.service" in tools.read_text()


@pytest.mark.parametrize(
    ("address", "card", "refused"),
    [("10.0.2.9", "eno1", True), ("10.0.2.9", "eno2", False), ("", "eno2", True), ("fe80::9%eno1", "eno1", True)],
)
def test_a_card_is_not_changed_while_a_job_works_with_a_share_behind_it(
    tools: Path, monkeypatch: pytest.MonkeyPatch, address: str, card: str, *, refused: bool
) -> None:
    where = "/run/rescue/shares/nas-backup"
    mount = Mount(source="//nas/backup", where=where, read_only=True)
    monkeypatch.setattr("imaging.sharemounts.read_mounts", lambda: [("0:55", mount)])
    monkeypatch.setattr(network, "options_at", lambda _: {"addr": address} if address else {})
    known_plan = VerifyPlan(library=f"{where}/rescue-library", image="1", deep=False)
    job = SimpleNamespace(state=JobState.RUNNING, folder=tools.parent / "job", known_plan=known_plan, title="Verify 1")
    monkeypatch.setattr("imaging.jobs.jobs", lambda: [job])
    changes = (network.use_dhcp, network.switch_off, partial(network.use_static, static=Static(address="10.0.2.7/24")))
    for change in changes:
        if refused:
            with pytest.raises(RefusedError, match=r"over it a job uses //nas/backup: Verify 1"):
                change(card)
        else:
            change(card)
    assert (tools.exists() and "flush" in tools.read_text()) is not refused
    job.state = JobState.DONE
    network.switch_off(card)


def test_the_network_of_another_system_is_never_changed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESCUE_LIVE")
    for change in (network.use_dhcp, network.switch_off):
        with pytest.raises(RefusedError, match="this is not the recovery system"):
            change("eno1")
    with pytest.raises(RefusedError):
        network.use_static("eno1", Static(address="10.0.2.7/24"))
    assert not tools.exists()
    assert network.network().interfaces[0].how is How.SYSTEM


def test_a_name_that_is_none_is_refused(tools: Path) -> None:
    with pytest.raises(UsageError, match="not the name of a network card"):
        network.use_dhcp("eno1 up; reboot")
    assert not tools.exists()


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        (("192.168.1.50/24", "192.168.1.1", "9.9.9.9, 1.1.1.1"), ("192.168.1.50/24", "192.168.1.1", 2)),
        ((" 192.168.1.50/255.255.255.0 ", "", ""), ("192.168.1.50/24", "", 0)),
        (("fd00::5/64", "fd00::1", ""), ("fd00::5/64", "fd00::1", 0)),
        (("10.0.0.1/31", "10.0.0.0", ""), ("10.0.0.1/31", "10.0.0.0", 0)),
    ],
)
def test_what_is_typed_is_understood(typed: tuple[str, str, str], understood: tuple[str, str, int]) -> None:
    static = parse_static(*typed)
    assert (static.address, static.gateway, len(static.name_servers)) == understood


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("", "", ""), "no address was typed"),
        (("192.168.1.50", "", ""), "192.168.1.50 does not say how large its network is"),
        (("192.168.1.500/24", "", ""), "192.168.1.500/24 is not an address"),
        (("computer", "", ""), "computer is not an address"),
        (("192.168.1.0/24", "", ""), "192.168.1.0 stands for the whole network 192.168.1.0/24"),
        (("192.168.1.255/24", "", ""), "192.168.1.255 stands for the whole network"),
        (("127.0.0.1/8", "", ""), "cannot be a computer's address"),
        (("192.168.1.50/24", "10.0.0.1", ""), "the gateway 10.0.0.1 is not in the network 192.168.1.0/24"),
        (("192.168.1.50/24", "192.168.1.50", ""), "is this computer's own address"),
        (("192.168.1.50/24", "fd00::1", ""), "is not in the network"),
        (("192.168.1.50/24", "router", ""), "router is not an address of a gateway"),
        (("192.168.1.50/24", "", "9.9.9"), "9.9.9 is not an address of a name server"),
    ],
)
def test_what_is_wrong_is_said_with_how_it_is_written(typed: tuple[str, str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_static(*typed)
    assert message in error.value.message
    assert error.value.hint


def test_what_ip_prints_is_parsed() -> None:
    assert [link.ifname for link in parse_links(LINKS)] == ["eno1", "eno2", "eno3"]
    assert parse_gateways(ROUTES) == {"eno1": "10.0.2.2"}
    assert parse_gateways("") == {}
    with pytest.raises(IoError):
        parse_links("Object is not JSON")


def test_a_resolv_conf_is_parsed() -> None:
    assert parse_name_servers("# by hand\nsearch x\nnameserver ::1\nnameserver\n") == ("::1",)
