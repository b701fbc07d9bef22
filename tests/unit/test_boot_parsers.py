"""What leads a start from one piece to the next is read rightly, and whatever else stands there is no harm."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import efiloaders, grubcore, grubentries, mounttabs
from imaging.bounded import Bounded
from imaging.errors import IoError
from imaging.grubcore import Core, Leads
from imaging.mounttabs import Device, Wanted
from imaging.startable import Answer, Firmware, Starts, Way, warnings

UUID = "98487640-46DF-3B41-82ED-019CA1A7CE1D"


@pytest.mark.parametrize(
    ("config", "prefix", "leads"),
    [
        ("", "(,gpt3)/boot/grub", Leads(folder="/boot/grub", partition=3)),
        ("", "(,msdos5)/grub", Leads(folder="/grub", partition=5)),
        (f"search.fs_uuid {UUID} root hd0,gpt2\n", "($root)/boot/grub", Leads(folder="/boot/grub", uuid=UUID)),
        (
            f"search.fs_uuid {UUID} root \nset prefix=($root)'/@/boot/grub'\nconfigfile $prefix/grub.cfg\n",
            "",
            Leads(folder="/@/boot/grub", uuid=UUID),
        ),
        (
            f"search --no-floppy --root-dev-only --fs-uuid --set=dev {UUID}\nset prefix=($dev)/grub2\n",
            "",
            Leads(folder="/grub2", uuid=UUID),
        ),
        ("search --file --set=root /.disk/info\n", "", Leads(folder="", searches=True)),
        ("", "(lvm/vg-root)/boot/grub", Leads(folder="/boot/grub", searches=True)),
        ("", "/EFI/debian", Leads(folder="/EFI/debian")),
        ("search.fs_uuid ABCD-1234 root\n", "/grub", Leads(folder="/grub", uuid="ABCD-1234")),
    ],
)
def test_where_grub_goes_on(config: str, prefix: str, leads: Leads) -> None:
    assert grubcore.leads(config, prefix) == leads


def test_entries_are_read_with_the_file_system_that_they_name() -> None:
    text = f"""
search --no-floppy --fs-uuid --set=root {UUID}
menuentry "First (on a disk)" {{
    linuxefi /vmlinuz root=/dev/sda1 root=LABEL=top "quiet"
    initrdefi /ucode.img /initrd.img
}}
submenu 'More' {{
  menuentry 'Second' {{
    search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 ABCD-1234
    linux ($root)/vmlinuz
  }}
  menuentry 'Third' {{
    linux $kernel
  }}
}}
"""
    first, second, third = grubentries.parse(text)
    assert (first.title, first.kernel, first.uuid) == ("First (on a disk)", "/vmlinuz", UUID)
    assert first.initrds == ("/ucode.img", "/initrd.img")
    assert first.root == "LABEL=top"
    assert (second.uuid, second.kernel, second.clear) == ("ABCD-1234", "/vmlinuz", True)
    assert (third.uuid, third.clear) == (UUID, False)
    assert grubentries.reads_others("insmod blscfg\nblscfg\n")
    assert not grubentries.reads_others("insmod blscfg\n")


def test_a_loader_entry_is_read() -> None:
    entry = grubentries.parse_loader_entry(
        "title Fedora\nlinux /vmlinuz-6\ninitrd /initramfs-6.img $tuned\noptions root=UUID=1 ro\n"
    )
    assert (entry.title, entry.kernel, entry.root) == ("Fedora", "/vmlinuz-6", "UUID=1")
    assert entry.initrds == ("/initramfs-6.img", "$tuned")


@pytest.mark.parametrize(
    ("words", "device"),
    [
        ("UUID=1-2", Device(tag="UUID", value="1-2")),
        ('UUID="1-2"', Device(tag="UUID", value="1-2")),
        ("PARTLABEL=a", Device(tag="PARTLABEL", value="a")),
        ("/dev/disk/by-label/a\\x20b", Device(tag="LABEL", value="a b")),
        ("/dev/mapper/vg--0-root", Device(tag="MAPPER", value="vg--0-root")),
        ("/dev/vg-0/root", Device(tag="MAPPER", value="vg--0-root")),
        ("/dev/sda1", None),
        ("tmpfs", None),
        ("server:/home", None),
        ("", None),
    ],
)
def test_devices_are_known_by_their_names(words: str, device: Device | None) -> None:
    assert mounttabs.device(words) == device


def test_what_fstab_needs() -> None:
    lines = [
        "# UUID=0 /commented ext4 defaults 0 0",
        "UUID=1 / ext4 defaults 0 1",
        "UUID=2 /my\\040home ext4 nofail,noatime 0 2",
        "UUID=3 none swap sw 0 0",
        "/dev/sdb1 /data ext4 defaults 0 0",
        "UUID=4 /srv",
        "UUID=5 /srv xfs",
        "PARTLABEL=EFI\\040System /efi vfat defaults 0 2",
    ]
    assert list(mounttabs.fstab("\n".join(lines))) == [
        Wanted(device=Device(tag="UUID", value="1"), where="/", needed=True),
        Wanted(device=Device(tag="UUID", value="2"), where="/my home", needed=False),
        Wanted(device=Device(tag="UUID", value="3"), where="swap", needed=False),
        Wanted(device=Device(tag="UUID", value="5"), where="/srv", needed=True),
        Wanted(device=Device(tag="PARTLABEL", value="EFI System"), where="/efi", needed=True),
    ]
    (locked,) = mounttabs.crypttab("vault UUID=1 none luks\n# other UUID=2\n")
    assert (locked.where, locked.needed) == ("vault", True)
    assert mounttabs.resume("# a\nRESUME=UUID=7\n") == Device(tag="UUID", value="7")
    assert mounttabs.resume("RESUME=none\n") is None


def test_the_device_of_an_entry_is_the_last_that_it_sets() -> None:
    text = f"""
set root=(hd0,1)
menuentry 'One' {{
    linux /vmlinuz
}}
menuentry 'Two' {{
    set root='hd0,gpt2'
    search --no-floppy --fs-uuid --set=root {UUID}
    linux /vmlinuz
}}
menuentry 'Three' {{
    set root='lvmid/abc/def'
    linux /vmlinuz
}}
menuentry 'Four' {{
    if [ -e /new ]; then
        linux /new
    else
        linux /old
    fi
}}
"""
    one, two, three, four = grubentries.parse(text)
    assert (one.partition, one.uuid, one.clear) == (1, "", True)
    assert (two.partition, two.uuid, two.clear) == (0, UUID, True)
    assert not three.clear
    assert not four.clear


@pytest.mark.parametrize("piece", ["\n", " ", "set prefix=(", "search ", "menuentry '", "\t\n", "blscfg", "'\""])
def test_a_long_text_takes_no_longer_than_it_has_lines(piece: str) -> None:
    """A megabyte of what a pattern might try anew at each place; measured in processor time, it has plenty."""
    text = piece * ((1 << 20) // len(piece))
    began = time.process_time()
    grubcore.leads(text, "")
    grubentries.parse(text)
    grubentries.reads_others(text)
    assert time.process_time() - began < 5


def test_a_long_image_takes_no_longer_than_it_has_bytes() -> None:
    began = time.process_time()
    assert grubcore.told(b"mimg" * (2 << 20)) == Core()
    assert time.process_time() - began < 5


@given(st.text(max_size=300), st.text(max_size=80))
def test_any_text_can_be_read(text: str, prefix: str) -> None:
    grubcore.leads(text, prefix)
    grubentries.parse(text)
    grubentries.parse_loader_entry(text)
    list(mounttabs.fstab(text))
    list(mounttabs.crypttab(text))
    mounttabs.resume(f"RESUME={text}")


@given(st.binary(max_size=600))
def test_any_bytes_are_no_loader(data: bytes) -> None:
    assert efiloaders.fault_of(data, len(data))
    assert efiloaders.fault_of(b"MZ" + data, len(data) + 2)
    assert grubcore.told(b"mimg" + data).config == ""


@given(st.binary(min_size=600, max_size=3000))
def test_any_bytes_are_no_core(data: bytes) -> None:
    loading = b"loading\0.\0\r\n\0Geom\0Read\0 Error"
    for disk in (data, data[:512] + loading + data[512:]):

        def read(at: int, size: int, disk: bytes = disk) -> bytes:
            return disk[at : at + size]

        with pytest.raises(IoError):
            grubcore.read_core(Bounded(read=read, size=len(disk)), 1)


def test_what_modules_say_is_read_up_to_its_end() -> None:
    def module(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, 8 + len(body)) + body

    inside = module(2, b"search x\0") + module(3, b"/EFI/a\0") + module(0, b"ELF..\0normal\0")
    image = b"..mimg.." + struct.pack("<4sII", b"mimg", 12, 12 + len(inside)) + inside
    assert grubcore.told(image) == Core(config="search x", prefix="/EFI/a", has_menu=True)
    assert grubcore.told(image[:-1]) == Core()


def test_a_person_hears_of_the_firmware_in_use_and_of_a_disk_that_starts_nowhere() -> None:
    good = Way(firmware=Firmware.BIOS, answer=Answer.STARTS)
    bad = Way(firmware=Firmware.UEFI, answer=Answer.FAILS, reasons=("it has no EFI system partition",))
    assert warnings([Starts(disk="sda", ways=(good, bad), firmware="bios")]) == []
    assert warnings([Starts(disk="sda", ways=(good, bad))]) == []
    assert warnings([Starts(disk="sda", ways=(good, bad), firmware="uefi")]) == [
        "sda will not start on UEFI: it has no EFI system partition."
    ]
    assert len(warnings([Starts(disk="sda", ways=(bad, bad))])) == 2
    unsure = Way(firmware=Firmware.UEFI, answer=Answer.UNKNOWN, reasons=("it is encrypted (LUKS)",))
    no_code = Way(firmware=Firmware.BIOS, answer=Answer.FAILS, reasons=("its boot sector holds no boot code",))
    told = ["Whether sda starts on UEFI is not known: it is encrypted (LUKS)."]
    for firmware in ("uefi", ""):
        assert warnings([Starts(disk="sda", ways=(no_code, unsure), firmware=firmware)]) == told
    assert warnings([Starts(disk="sda", ways=(bad, bad), system=False)]) == []
