"""The network: each interface's cable, addresses and gateway, and setting them where this is the live system.

Elsewhere the system's own network service owns the interfaces: there they are shown, and never changed.
Sources: ip-address(8) and ip-route(8) with -json; resolv.conf(5).
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from imaging import access, media, sharemounts
from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError, UsageError
from imaging.mounts import options_at
from imaging.run import run

RESOLV_CONF = Path("/etc/resolv.conf")
STATE = Path("/run/rescue/network")
"""On the live system: a file for each interface that was set by hand, which says how."""
_SYS = Path("/sys/class/net")
_TIMEOUT = 15.0
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,15}")

_T = TypeVar("_T")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Own = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class How(StrEnum):
    """Who gave an interface its address."""

    DHCP = "dhcp"
    STATIC = "static"
    OFF = "off"
    SYSTEM = "system"
    """The network service of a system that is not the live one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One network card. `cable` is None where that is not known, since the card is switched off."""

    name: str
    hardware: str
    cable: bool | None
    addresses: tuple[str, ...] = ()
    """Each with the length of its prefix, link-local ones left out."""
    gateway: str = ""
    how: How = How.SYSTEM
    wireless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """All cards, the name servers, and why nothing can be changed; empty where it can."""

    interfaces: tuple[Interface, ...]
    name_servers: tuple[str, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """An address that was typed, with what belongs to it; understood, and fitting together."""

    address: str
    gateway: str = ""
    name_servers: tuple[str, ...] = ()


class _Address(msgspec.Struct, frozen=True):
    local: str = ""
    prefixlen: int = 0
    scope: str = ""


class _Link(msgspec.Struct, frozen=True):
    ifname: str
    flags: tuple[str, ...] = ()
    link_type: str = ""
    address: str = ""
    addr_info: tuple[_Address, ...] = ()


class _Route(msgspec.Struct, frozen=True):
    dst: str = ""
    gateway: str = ""
    dev: str = ""


_links = msgspec.json.Decoder(tuple[_Link, ...])
_routes = msgspec.json.Decoder(tuple[_Route, ...])


def network() -> Network:
    """What there is now; raises IoError where `ip` cannot tell it."""
    links = run(["ip", "-json", "address"], timeout=_TIMEOUT).stdout
    routes = run(["ip", "-json", "route"], timeout=_TIMEOUT).stdout
    routes_6 = run(["ip", "-6", "-json", "route"], timeout=_TIMEOUT, accept=(0, 1, 2)).stdout
    gateways = {**parse_gateways(routes_6), **parse_gateways(routes)}
    found = sorted(parse_links(links), key=lambda link: link.ifname)
    cards = [link for link in found if (_SYS / link.ifname / "device").exists()]
    return Network(
        interfaces=tuple(_interface(link, gateways) for link in cards),
        name_servers=parse_name_servers(_text(RESOLV_CONF)),
        why_not=why_not(),
    )


def why_not() -> str:
    """Why nothing can be changed; empty where it can."""
    if not media.on_live_system():
        return "this is not the recovery system: its own network service sets the addresses"
    return "" if os.geteuid() == 0 else "only root can change the network"


def _interface(link: _Link, gateways: Mapping[str, str]) -> Interface:
    up = "UP" in link.flags
    return Interface(
        name=link.ifname,
        hardware=link.address,
        cable="LOWER_UP" in link.flags if up else None,
        addresses=tuple(f"{a.local}/{a.prefixlen}" for a in link.addr_info if a.local and a.scope == "global"),
        gateway=gateways.get(link.ifname, ""),
        how=_how(link.ifname),
        wireless=(_SYS / link.ifname / "wireless").exists(),
    )


def _how(name: str) -> How:
    if not media.on_live_system():
        return How.SYSTEM
    said = _text(STATE / name).strip()
    return How(said) if said in tuple(How) else How.DHCP


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def parse_links(printed: str) -> tuple[_Link, ...]:
    """The cards in what `ip -json address` prints, without loopback and tunnels; raises IoError."""
    return tuple(link for link in _parsed(printed, _links) if link.link_type == "ether")


def parse_gateways(printed: str) -> dict[str, str]:
    """The default gateway of each interface in what `ip -json route` prints; raises IoError."""
    routes = _parsed(printed or "[]", _routes)
    return {route.dev: route.gateway for route in reversed(routes) if route.dst == "default" and route.gateway}


def _parsed(printed: str, decoder: msgspec.json.Decoder[_T]) -> _T:
    try:
        return decoder.decode(printed.strip() or "[]")
    except msgspec.DecodeError as error:
        raise IoError(f"ip said what cannot be understood: {error}", code="tool-failed") from error


def parse_name_servers(words: str) -> tuple[str, ...]:
    """Those of a resolv.conf."""
    lines = [line.split() for line in words.splitlines()]
    return tuple(line[1] for line in lines if len(line) > 1 and line[0] == "nameserver")


def parse_static(address: str, gateway: str, name_servers: str) -> Static:
    """Understand what was typed; raises UsageError that says what is wrong and how it is written."""
    own = _own(address.strip())
    way = gateway.strip()
    if way:
        other = _address(way, "gateway")
        if other == own.ip:
            raise _wrong(f"the gateway {other} is this computer's own address", "the gateway is the router's address")
        if other.version != own.version or other not in own.network:
            raise _wrong(
                f"the gateway {other} is not in the network {own.network}",
                "check the address, its /length and the gateway",
            )
    servers = tuple(str(_address(word, "name server")) for word in re.split(r"[,\s]+", name_servers) if word)
    return Static(address=str(own), gateway=way, name_servers=servers)


def _own(words: str) -> _Own:
    if not words:
        raise _wrong("no address was typed", "write it as 192.168.1.50/24")
    if "/" not in words:
        _address(words, "address")
        raise _wrong(
            f"{words} does not say how large its network is", f"write it as {words}/24, where the mask is 255.255.255.0"
        )
    try:
        own = ipaddress.ip_interface(words)
    except ValueError as error:
        raise _wrong(f"{words} is not an address", "write it as 192.168.1.50/24") from error
    if own.is_loopback or own.is_multicast or own.is_unspecified:
        raise _wrong(f"{words} cannot be a computer's address", "ask who runs the network for a free address")
    net = own.network
    if net.num_addresses > 2 and own.version == 4 and own.ip in (net.network_address, net.broadcast_address):
        raise _wrong(f"{own.ip} stands for the whole network {net}", "use an address within it")
    return own


def _address(words: str, what: str) -> Address:
    try:
        return ipaddress.ip_address(words)
    except ValueError as error:
        raise _wrong(
            f"{words} is not an address of a {what}" if what != "address" else f"{words} is not an address",
            "an address is written as 192.168.1.1",
        ) from error


def _wrong(message: str, hint: str) -> UsageError:
    return UsageError(message, code="bad-address", hint=hint)


def _refuse_while_used(name: str) -> None:
    """Raise RefusedError while a job works with a share behind the card: without the card the job would fail."""
    for mount in sharemounts.mounted():
        job = access.job_at_work_on(Path(mount.where))
        if job is not None and way_to(options_at(mount.where).get("addr", "")) in ("", name):
            raise RefusedError(
                f"{name} cannot be changed now: over it a job uses {mount.source}: {job.title}",
                code="network-busy",
                hint="wait for its end, or cancel it",
            )


def way_to(address: str) -> str:
    """The card over which an address is reached; empty where that cannot be told."""
    if not address:
        return ""
    try:
        printed = run(["ip", "-json", "route", "get", address.partition("%")[0]], timeout=_TIMEOUT).stdout
    except IoError:
        return ""
    return next((route.dev for route in _parsed(printed, _routes)), "")


def use_dhcp(name: str) -> None:
    """Have the network give the interface its address; it comes some seconds later. Raises RefusedError, IoError."""
    _refuse(name)
    _run(["systemctl", "stop", _unit(name)], ["ip", "address", "flush", "dev", name])
    _note(name, How.DHCP)
    _run(["systemctl", "start", _unit(name)])


def use_static(name: str, static: Static) -> None:
    """Give the interface an address; raises RefusedError, IoError."""
    _refuse(name)
    _run(
        ["systemctl", "stop", _unit(name)],
        ["ip", "address", "flush", "dev", name],
        ["ip", "link", "set", name, "up"],
        ["ip", "address", "add", static.address, "dev", name],
    )
    _note(name, How.STATIC)
    if static.gateway:
        _run(["ip", "route", "replace", "default", "via", static.gateway, "dev", name])
    if static.name_servers:
        write_file(RESOLV_CONF, resolv_conf(static.name_servers).encode())
        with written(RESOLV_CONF):
            RESOLV_CONF.chmod(0o644)


def switch_off(name: str) -> None:
    """Take the interface's addresses away and switch it off; raises RefusedError, IoError."""
    _refuse(name)
    _run(
        ["systemctl", "stop", _unit(name)],
        ["ip", "address", "flush", "dev", name],
        ["ip", "link", "set", name, "down"],
    )
    _note(name, How.OFF)


def resolv_conf(name_servers: Iterable[str]) -> str:
    """The file that says where names are asked for."""
    return "".join(f"nameserver {server}\n" for server in name_servers)


def _refuse(name: str) -> None:
    reason = why_not()
    if reason:
        raise RefusedError(f"the network cannot be changed: {reason}", code="not-live")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a network card", code="usage")
    _refuse_while_used(name)


def _unit(name: str) -> str:
    return f"rescue-dhcp@{name}.service"


def _run(*commands: Sequence[str]) -> None:
    for argv in commands:
        run(argv, timeout=_TIMEOUT)


def _note(name: str, how: How) -> None:
    with written(STATE):
        STATE.mkdir(parents=True, exist_ok=True)
    write_file(STATE / name, how.encode())
