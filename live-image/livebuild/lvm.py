"""LVM's own tools on the devices that they are told of, and on no others: without device-mapper they write metadata."""

from collections.abc import Sequence
from pathlib import Path

from .process import BuildError, run

_PLAIN = ("--noheadings", "--units=b", "--nosuffix")


def lvm_command(devices: Sequence[str], folder: Path, *words: object) -> list[str]:
    """The argv of one of LVM's commands, which sees these devices alone; `folder` is for its locks."""
    seen = ",".join([*(f'"a|^{device}$|"' for device in devices), '"r|.*|"'])
    config = (
        f'devices {{ filter=[{seen}] global_filter=[{seen}] use_devicesfile=0 hints="none" '
        "obtain_device_list_from_udev=0 } "
        f'global {{ locking_dir="{folder}" event_activation=0 use_lvmpolld=0 use_lvmlockd=0 }} '
        "activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }"
    )
    command, *rest = map(str, words)
    return ["env", "LVM_SUPPRESS_FD_WARNINGS=1", command, "--driverloaded=n", f"--config={config}", *rest]


def make_group(device: str, folder: Path, group: str, sizes: dict[str, int]) -> dict[str, tuple[str, int]]:
    """A volume group on a device, with logical volumes of so many bytes; nothing is written to these.

    Of each: its id as GRUB takes it ("group's id/volume's id"), and where it begins on the device, in bytes.
    """

    def lvm(*words: object) -> str:
        return run(lvm_command([device], folder, *words))

    lvm("pvcreate", device)
    lvm("vgcreate", group, device)
    for name, size in sizes.items():
        unwritten = ("--activate=n", "--zero=n", "--wipesignatures=n")
        lvm("lvcreate", *unwritten, f"--size={size}b", f"--name={name}", group)
    first, extent = (int(word) for word in lvm("pvs", *_PLAIN, "--options=pe_start,vg_extent_size", device).split())
    asked = "--options=lv_name,vg_uuid,lv_uuid,seg_pe_ranges"
    found: dict[str, tuple[str, int]] = {}
    for line in lvm("lvs", *_PLAIN, "--segments", asked, group).splitlines():
        name, group_id, volume_id, ranges = line.split()
        if name in found:
            raise BuildError(f"LVM has put {group}/{name} in several pieces")
        start = int(ranges.rsplit(":", 1)[1].split("-")[0])
        found[name] = f"{group_id}/{volume_id}", first + start * extent
    return found
