"""The command that starts a machine in QEMU, for people, for the demo and for the tests."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .process import BuildError

# Debian's and Ubuntu's ovmf package; the variables are a template that each run gets a copy of.
OVMF_FOLDER = Path("/usr/share/OVMF")
OVMF_CODE = OVMF_FOLDER / "OVMF_CODE_4M.fd"
OVMF_VARIABLES = OVMF_FOLDER / "OVMF_VARS_4M.fd"


# Most disks behind SATA have large sectors and pretend to have small ones (512e).
_TODAYS_SECTORS = "logical_block_size=512,physical_block_size=4096"


class Firmware(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine to start. The stick, where there is one, is the first to boot and is never written to."""

    firmware: Firmware
    stick: Path | None = None
    disks: tuple[Disk, ...] = ()
    usb_disk: Path | None = None
    memory_mib: int = 1024
    processors: int = 2
    accelerator: Accelerator = Accelerator.TCG
    screen: bool = False
    monitor: Path | None = None


def render_command(machine: Machine, *, variables: str | None) -> list[str]:
    """QEMU's arguments; the serial port is on standard input and output. `variables` is UEFI's, writable."""
    argv = ["qemu-system-x86_64", "-machine", "q35", "-smp", str(machine.processors), "-m", str(machine.memory_mib)]
    match machine.accelerator:
        case Accelerator.TCG:
            argv += ["-accel", "tcg,thread=multi", "-cpu", "max"]
        case Accelerator.KVM:
            argv += ["-accel", "kvm", "-cpu", "host"]
    argv += ["-nodefaults", "-vga", "std", "-boot", "menu=off", "-device", "virtio-rng-pci"]
    if not machine.screen:
        argv += ["-display", "none"]
    if machine.firmware is Firmware.UEFI:
        argv += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}"]
        argv += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    if machine.stick or machine.usb_disk:
        argv += ["-device", "qemu-xhci,id=usb"]
    if machine.stick:
        argv += ["-drive", f"if=none,id=stick,format=raw,snapshot=on,file={_escaped(machine.stick)}"]
        argv += ["-device", "usb-storage,bus=usb.0,drive=stick,removable=on,serial=RESCUE-STICK,bootindex=0"]
    if machine.usb_disk:
        argv += ["-drive", f"if=none,id=usbdisk,format=raw,file={_escaped(machine.usb_disk)}"]
        argv += ["-device", "usb-storage,bus=usb.0,drive=usbdisk,serial=RESCUE-USB"]
    for number, disk in enumerate(machine.disks, start=1):
        argv += ["-drive", f"if=none,id=disk{number},format=raw,file={_escaped(disk.path)}"]
        argv += ["-device", _render_device(disk, number)]
    if machine.monitor:
        argv += ["-chardev", f"socket,id=monitor,path={_escaped(machine.monitor)},server=on,wait=off"]
        argv += ["-mon", "chardev=monitor,mode=control", "-chardev", "stdio,id=serial,signal=off"]
    else:
        # Ctrl+A is QEMU's own key: X ends it, C shows its monitor.
        argv += ["-chardev", "stdio,id=serial,signal=off,mux=on", "-mon", "chardev=serial"]
    return [*argv, "-serial", "chardev:serial"]


def _render_device(disk: Disk, number: int) -> str:
    common = f"drive=disk{number},serial={disk.serial},bootindex={number}"
    match disk.bus:
        case Bus.SATA:
            return f"ide-hd,bus=ide.{number - 1},model={disk.model},{_TODAYS_SECTORS},{common}"
        case Bus.NVME:
            return f"nvme,{common}"
        case Bus.VIRTIO:
            return f"virtio-blk-pci,{common}"


def _escaped(path: Path) -> str:
    """QEMU's options are separated by commas; one inside a value is doubled."""
    return str(path).replace(",", ",,")


def check_host(machine: Machine) -> None:
    """Refuse with a clear word what QEMU would only fail on."""
    if shutil.which("qemu-system-x86_64") is None:
        raise BuildError("qemu-system-x86_64 is not installed", hint="run live-image/setup")
    if machine.firmware is Firmware.UEFI and not OVMF_CODE.exists():
        raise BuildError(f"no UEFI firmware at {OVMF_CODE}", hint="run live-image/setup")
    for path in [machine.stick, machine.usb_disk, *(disk.path for disk in machine.disks)]:
        if path is not None and not path.is_file():
            raise BuildError(f"there is no disk file {path}")
    if machine.accelerator is Accelerator.KVM and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise BuildError("KVM is not usable here", hint="leave --accelerator out: emulation works everywhere")


def command_for(machine: Machine) -> tuple[list[str], tuple[int, ...]]:
    """The command and the descriptors it must inherit: UEFI's variables live in a file without a name,
    which goes away with QEMU however that ends."""
    check_host(machine)
    if machine.firmware is Firmware.BIOS:
        return render_command(machine, variables=None), ()
    descriptor, name = tempfile.mkstemp(prefix="uefi-variables-")
    Path(name).unlink()
    os.write(descriptor, OVMF_VARIABLES.read_bytes())
    return render_command(machine, variables=f"/proc/self/fd/{descriptor}"), (descriptor,)
