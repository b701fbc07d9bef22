"""The command that starts a machine in QEMU, for people, for the demo and for the tests."""

import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .process import BuildError

# Debian's and Ubuntu's packages ovmf and ovmf-ia32.
OVMF_FOLDER = Path("/usr/share/OVMF")

# Most disks behind SATA have large sectors and pretend to have small ones (512e).
_TODAYS_SECTORS = "logical_block_size=512,physical_block_size=4096"
_LARGE_SECTORS = "logical_block_size=4096,physical_block_size=4096"

# After the stick and every disk.
LAST_TO_BOOT = 99


class Firmware(StrEnum):
    """What starts the machine; `uefi-secure` enforces Secure Boot with Microsoft's keys."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_SECURE = "uefi-secure"
    UEFI_32 = "uefi32"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFiles:
    """UEFI firmware: its code, and its variables, a template that each run gets a copy of."""

    code: Path
    variables: Path
    secure: bool = False


UEFI_FILES = {
    Firmware.UEFI: FirmwareFiles(
        code=OVMF_FOLDER / "OVMF_CODE_4M.fd",
        variables=OVMF_FOLDER / "OVMF_VARS_4M.fd",
    ),
    Firmware.UEFI_SECURE: FirmwareFiles(
        code=OVMF_FOLDER / "OVMF_CODE_4M.secboot.fd",
        variables=OVMF_FOLDER / "OVMF_VARS_4M.ms.fd",
        secure=True,
    ),
    Firmware.UEFI_32: FirmwareFiles(
        code=OVMF_FOLDER / "OVMF32_CODE_4M.secboot.fd",
        variables=OVMF_FOLDER / "OVMF32_VARS_4M.fd",
        secure=True,
    ),
}


class Bus(StrEnum):
    """What the disk is attached to."""

    SATA = "sata"
    NVME = "nvme"
    VIRTIO = "virtio"


class Accelerator(StrEnum):
    TCG = "tcg"
    KVM = "kvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A raw disk file as the machine sees it."""

    path: Path
    serial: str
    model: str
    bus: Bus = Bus.SATA
    large_sectors: bool = False
    """Whether it has sectors of 4096 bytes and nothing smaller; QEMU has such disks behind virtio."""
    log: Path | None = None
    """A file, made anew, that takes down each write to the disk and each flush, in the format of dm-log-writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A TCP port of this computer, on 127.0.0.1 alone, that leads to one of the machine's."""

    here: int
    there: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine to start. The stick or the disc, where there is one, is the first to boot and is never written to,
    unless what the machine writes to the stick is kept."""

    firmware: Firmware
    stick: Path | None = None
    stick_kept: bool = False
    disc: Path | None = None
    disks: tuple[Disk, ...] = ()
    usb_disk: Path | None = None
    memory_mib: int = 1024
    processors: int = 2
    accelerator: Accelerator = Accelerator.TCG
    screen: bool = False
    monitor: Path | None = None
    line: Path | None = None
    further_lines: tuple[Path, ...] = ()
    """A second, third and fourth serial port, each on a socket."""
    acpi_table: Path | None = None
    """A whole table, with its header, that the firmware hands on beside its own."""
    network: tuple[Forward, ...] | None = None
    """A network card, with these ways in: QEMU gives it 10.0.2.15, and this computer is 10.0.2.2. None: no card."""
    uefi_variables: Path | None = None
    """A file that keeps UEFI's variables, its boot entries among them, from one run to the next. None: nothing does."""
    state: Path | None = None
    """A file with the state of such a machine, saved by the monitor's `migrate`, to go on from; it stands still then,
    until the monitor's `cont`."""
    tap: str | None = None
    """A network card on this interface of the host, to boot from where nothing else does."""


def render_command(machine: Machine, *, variables: str | None) -> list[str]:
    """QEMU's arguments; without a `line` the serial port is on standard input and output.

    `variables` is UEFI's, writable.
    """
    files = UEFI_FILES.get(machine.firmware)
    # Variables that only the firmware may write need its system management mode.
    kind = "q35,smm=on" if files and files.secure else "q35"
    argv = ["qemu-system-x86_64", "-machine", kind, "-smp", str(machine.processors), "-m", str(machine.memory_mib)]
    match machine.accelerator:
        case Accelerator.TCG:
            argv += ["-accel", "tcg,thread=multi", "-cpu", "max"]
        case Accelerator.KVM:
            argv += ["-accel", "kvm", "-cpu", "host"]
    argv += ["-nodefaults", "-vga", "std", "-boot", "menu=off", "-device", "virtio-rng-pci"]
    if not machine.screen:
        argv += ["-display", "none"]
    if files:
        argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={files.code}"]
        argv += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        if files.secure:
            argv += ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]
    if machine.stick or machine.usb_disk:
        argv += ["-device", "qemu-xhci,id=usb"]
    if machine.stick:
        kept = "snapshot=off" if machine.stick_kept else "snapshot=on"
        argv += ["-drive", f"if=none,id=stick,format=raw,{kept},file={_escaped(machine.stick)}"]
        argv += ["-device", "usb-storage,id=plugged,bus=usb.0,drive=stick,removable=on,serial=RESCUE-STICK,bootindex=0"]
    if machine.disc:
        argv += ["-drive", f"if=none,id=disc,media=cdrom,format=raw,readonly=on,file={_escaped(machine.disc)}"]
        argv += ["-device", "ide-cd,id=cdrom,bus=ide.5,drive=disc,bootindex=0"]
    if machine.usb_disk:
        argv += ["-drive", f"if=none,id=usbdisk,format=raw,file={_escaped(machine.usb_disk)}"]
        argv += ["-device", "usb-storage,bus=usb.0,drive=usbdisk,serial=RESCUE-USB"]
    for number, disk in enumerate(machine.disks, start=1):
        argv += ["-drive", _render_drive(disk, number)]
        argv += ["-device", _render_device(disk, number)]
    if machine.state:
        argv += ["-S", "-incoming", f"exec:cat {shlex.quote(str(machine.state))}"]
    if machine.network is not None:
        ways = "".join(f",hostfwd=tcp:127.0.0.1:{way.here}-:{way.there}" for way in machine.network)
        argv += ["-netdev", f"user,id=net{ways}", "-device", "virtio-net-pci,netdev=net"]
    if machine.tap:
        argv += _render_network_boot(machine.tap, machine.firmware)
    if machine.acpi_table:
        argv += ["-acpitable", f"file={_escaped(machine.acpi_table)}"]
    if machine.monitor:
        argv += ["-chardev", f"socket,id=monitor,path={_escaped(machine.monitor)},server=on,wait=off"]
        argv += ["-mon", "chardev=monitor,mode=control"]
    if machine.line:
        argv += ["-chardev", f"socket,id=serial,path={_escaped(machine.line)},server=on,wait=off"]
    elif machine.monitor:
        argv += ["-chardev", "stdio,id=serial,signal=off"]
    else:
        # Ctrl+A is QEMU's own key: X ends it, C shows its monitor.
        argv += ["-chardev", "stdio,id=serial,signal=off,mux=on", "-mon", "chardev=serial"]
    argv += ["-serial", "chardev:serial"]
    for number, socket in enumerate(machine.further_lines, start=2):
        argv += ["-chardev", f"socket,id=serial{number},path={_escaped(socket)},server=on,wait=off"]
        argv += ["-serial", f"chardev:serial{number}"]
    return argv


def _render_network_boot(tap: str, firmware: Firmware) -> list[str]:
    card = f"virtio-net-pci,netdev=tap,bootindex={LAST_TO_BOOT}"
    argv = ["-netdev", f"tap,id=tap,ifname={tap},script=no,downscript=no", "-device", card]
    if firmware is not Firmware.BIOS:
        # UEFI has a driver and an HTTP client of its own, which Secure Boot trusts; the card's ROM is iPXE. And it
        # boots by HTTP at once, not after a minute of PXE: PlatformBootManagerLib of edk2's OvmfPkg.
        argv[-1] += ",romfile="
        for version in ("IPv4", "IPv6"):
            argv += ["-fw_cfg", f"name=opt/org.tianocore/{version}PXESupport,string=n"]
    return argv


def _render_drive(disk: Disk, number: int) -> str:
    if disk.log is None:
        return f"if=none,id=disk{number},format=raw,file={_escaped(disk.path)}"
    # Source: qemu/qapi/block-core.json, BlockdevOptionsBlklogwrites.
    files = f"file.driver=raw,file.file.driver=file,file.file.filename={_escaped(disk.path)}"
    log = f"log.driver=raw,log.file.driver=file,log.file.filename={_escaped(disk.log)}"
    return f"if=none,id=disk{number},driver=blklogwrites,{files},{log}"


def _render_device(disk: Disk, number: int) -> str:
    common = f"drive=disk{number},serial={disk.serial},bootindex={number}"
    match disk.bus:
        case Bus.SATA:
            return f"ide-hd,bus=ide.{number - 1},model={disk.model},{_TODAYS_SECTORS},{common}"
        case Bus.NVME:
            return f"nvme,{common}"
        case Bus.VIRTIO if disk.large_sectors:
            return f"virtio-blk-pci,{_LARGE_SECTORS},{common}"
        case Bus.VIRTIO:
            return f"virtio-blk-pci,{common}"


def _escaped(path: Path) -> str:
    """QEMU's options are separated by commas; one inside a value is doubled."""
    return str(path).replace(",", ",,")


def check_host(machine: Machine) -> None:
    """Refuse with a clear word what QEMU would only fail on."""
    if shutil.which("qemu-system-x86_64") is None:
        raise BuildError("qemu-system-x86_64 is not installed", hint="run live-image/setup")
    files = UEFI_FILES.get(machine.firmware)
    if files and not files.code.exists():
        raise BuildError(f"no UEFI firmware at {files.code}", hint="run live-image/setup")
    for path in [machine.stick, machine.disc, machine.usb_disk, *(disk.path for disk in machine.disks)]:
        if path is not None and not path.is_file():
            raise BuildError(f"there is no disk file {path}")
    if any(disk.large_sectors and disk.bus is not Bus.VIRTIO for disk in machine.disks):
        raise BuildError("only disks behind virtio have large sectors", hint="add --bus virtio")
    if machine.acpi_table is not None and not machine.acpi_table.is_file():
        raise BuildError(f"there is no ACPI table {machine.acpi_table}")
    if machine.accelerator is Accelerator.KVM and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise BuildError("KVM is not usable here", hint="leave --accelerator out: emulation works everywhere")


def command_for(machine: Machine) -> tuple[list[str], tuple[int, ...]]:
    """The command and the descriptors it must inherit: UEFI's variables live in a file without a name,
    which goes away with QEMU however that ends."""
    check_host(machine)
    files = UEFI_FILES.get(machine.firmware)
    if files is None:
        return render_command(machine, variables=None), ()
    if machine.uefi_variables:
        if not machine.uefi_variables.exists():
            machine.uefi_variables.write_bytes(files.variables.read_bytes())
        return render_command(machine, variables=_escaped(machine.uefi_variables)), ()
    descriptor, name = tempfile.mkstemp(prefix="uefi-variables-")
    Path(name).unlink()
    os.write(descriptor, files.variables.read_bytes())
    return render_command(machine, variables=f"/proc/self/fd/{descriptor}"), (descriptor,)
