"""Boot entries of the recovery partition: what GRUB and the firmware are told, and that all else is left alone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import efientries, grubmenu, ownfiles
from imaging.errors import IoError, RefusedError

GUID = "11111111-2222-3333-4444-555555555555"
DEBIANS = """\
### BEGIN /etc/grub.d/41_custom ###
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
### END /etc/grub.d/41_custom ###
"""
# What efibootmgr 17 and 18 print: the latter has a slash before the file.
VERBOSE = (
    "BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: 0001,0000\n"
    "Boot0000* Windows Boot Manager\tHD(1,GPT,99999999-2222-3333-4444-555555555555,0x800,0x32000)"
    "/File(\\EFI\\Microsoft\\Boot\\bootmgfw.efi)57494e444f5753\n"
    f"Boot0001* debian\tHD(2,GPT,{GUID},0x1000,0x20000)/File(\\EFI\\debian\\shimx64.efi)\n"
    "Boot0002  EFI Network\tPciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)\n"
)
OURS = f"Boot0003* Rescue recovery\tHD(2,GPT,{GUID.upper()},0x1000,0x20000)/\\EFI\\rescue\\shimx64.efi\n"


def test_an_installed_grub_that_reads_custom_cfg_is_known() -> None:
    assert grubmenu.reads_custom(DEBIANS)
    assert not grubmenu.reads_custom('menuentry "custom.cfg" {\n  linux /vmlinuz\n}\n# source custom.cfg\n')


def test_a_menu_of_a_megabyte_of_empty_lines_is_read_in_time() -> None:
    """The pattern tried all lines anew from each: minutes, in processor time."""
    began = time.process_time()
    assert not grubmenu.reads_custom("\n" * (1 << 20))
    assert grubmenu.reads_custom("\n" * (1 << 20) + "\tsource ${config_directory}/custom.cfg\n")
    assert time.process_time() - began < 5


def test_the_entry_finds_the_partition_and_goes_on_to_its_menu() -> None:
    entry = grubmenu.render_entry(uuid=GUID, table="dos")
    assert 'menuentry "Rescue recovery"' in entry
    assert f"search --no-floppy --set=root --fs-uuid {GUID}\n    configfile /boot/grub/grub.cfg\n" in entry
    assert "part_msdos" in entry
    assert "chainloader" not in entry


def test_under_uefi_the_entry_starts_the_signed_loader() -> None:
    entry = grubmenu.render_entry(uuid=GUID, table="gpt", efi_uuid="AAAA-BBBB")
    assert "search --no-floppy --set=root --fs-uuid AAAA-BBBB\n        chainloader /EFI/rescue/shimx64.efi\n" in entry
    assert entry.count("{") == entry.count("}")
    assert entry.index("chainloader") < entry.index("else") < entry.index(f"--fs-uuid {GUID}")


@pytest.mark.parametrize("mine", ["", "set a=1\n", "menuentry 'x' {\n}", "### BEGIN other ###\nx\n### END other ###\n"])
def test_what_else_stands_in_custom_cfg_stays(mine: str) -> None:
    first, second = (grubmenu.render_entry(uuid=word, table="gpt") for word in ("one", "two"))
    once = grubmenu.with_entry(mine, first)
    assert once.startswith(mine)
    again = grubmenu.with_entry(once, second)
    assert (again.count("Rescue recovery"), "one" in again, "two" in again) == (1, False, True)
    assert grubmenu.without_entry(again).rstrip("\n") == mine.rstrip("\n")
    assert grubmenu.without_entry(grubmenu.with_entry("", first)) == ""


def test_a_block_without_an_end_is_left_alone() -> None:
    torn = "### BEGIN rescue: torn ###\nmenuentry {\n### BEGIN other ###\n### END rescue ###\n"
    assert grubmenu.without_entry(torn) == torn


def test_grub_on_the_efi_partition_goes_to_the_partition_or_to_the_build() -> None:
    config = grubmenu.render_efi_config(uuid=GUID, build="0123abcd")
    assert f"--fs-uuid {GUID}" in config
    assert "--file /rescue/0123abcd" in config
    assert config.rstrip().endswith("configfile $prefix/grub.cfg")


def test_entries_of_both_versions_of_efibootmgr_are_understood() -> None:
    found = efientries.parse(VERBOSE + OURS)
    assert found.order == ("0001", "0000")
    assert [entry.label for entry in found.entries] == [
        "Windows Boot Manager",
        "debian",
        "EFI Network",
        "Rescue recovery",
    ]
    assert [entry.number for entry in found.entries if entry.starts(grubmenu.LOADER, GUID)] == ["0003"]


class Firmware:
    """A fake efibootmgr on PATH, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.entries, self.asked, self.kept = folder / "entries", folder / "asked", folder / "kept"
        self.entries.write_text(VERBOSE)
        self.kept.write_text(OURS)
        self.asked.write_text("")
        tool = folder / "efibootmgr"
        tool.write_text(
            f'#!/bin/sh\ncase "$1" in\n--verbose) cat {self.entries} ;;\n'
            f'--create-only) cat {self.kept} >> {self.entries}; printf "%s\\n" "$*" >> {self.asked} ;;\n'
            f'*) printf "%s\\n" "$*" >> {self.asked} ;;\nesac\n'
        )
        tool.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.asked.read_text().splitlines()


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Firmware]:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    yield Firmware(tmp_path)


def _add() -> str:
    return efientries.add(disk="/dev/sda", number=2, partition=GUID, label=grubmenu.LABEL, loader=grubmenu.LOADER)


def test_the_entry_of_the_firmware_comes_behind_all_others(firmware: Firmware) -> None:
    assert _add() == "0003"
    assert firmware.calls == [
        r"--create-only --disk /dev/sda --part 2 --label Rescue recovery --loader \EFI\rescue\shimx64.efi",
        "--bootorder 0001,0000,0003",
    ]


def test_an_entry_that_is_there_is_not_made_twice_and_keeps_its_place(firmware: Firmware) -> None:
    firmware.entries.write_text((VERBOSE + OURS).replace("0001,0000", "0003,0001,0000"))
    assert _add() == "0003"
    assert firmware.calls == []


def test_a_firmware_without_an_order_gets_all_of_its_entries(firmware: Firmware) -> None:
    firmware.entries.write_text(VERBOSE.replace("BootOrder: 0001,0000\n", ""))
    _add()
    assert firmware.calls[-1] == "--bootorder 0000,0001,0002,0003"


def test_a_firmware_that_forgets_the_entry_is_told_of(firmware: Firmware) -> None:
    firmware.kept.write_text("")
    with pytest.raises(IoError) as caught:
        _add()
    assert caught.value.code == "no-boot-entry"


NEW = "Boot000A* debian\tHD(2,GPT,99999999-9999-2222-3333-444444444444,0x1000,0x20000)/\\EFI\\debian\\shimx64.efi\n"


def _add_first() -> str:
    guid = "99999999-9999-2222-3333-444444444444"
    loader = r"\EFI\debian\shimx64.efi"
    return efientries.add(disk="/dev/sdb", number=2, partition=guid, label="debian", loader=loader, first=True)


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        # Started by the first entry, as from the network or a stick that is always tried: that stays the first.
        (VERBOSE, "0001,000A,0000"),
        (VERBOSE.replace("BootCurrent: 0001", "BootCurrent: 0000"), "000A,0001,0000"),
        # Some firmware leaves numbers in the order that no entry has; efibootmgr takes none of them.
        (VERBOSE.replace("0001,0000", "0007,0001,0000"), "0001,000A,0000"),
        (VERBOSE.replace("BootOrder: 0001,0000\n", ""), "000A,0000,0001,0002"),
    ],
)
def test_an_entry_comes_first_but_for_what_this_computer_was_started_by(
    firmware: Firmware, entries: str, order: str
) -> None:
    firmware.entries.write_text(entries)
    firmware.kept.write_text(NEW)
    assert _add_first() == "000A"
    assert firmware.calls[-1] == f"--bootorder {order}"


def test_an_entry_that_is_not_tried_is_made_active(firmware: Firmware) -> None:
    firmware.entries.write_text(VERBOSE + NEW.replace("000A*", "000A "))
    assert _add_first() == "000A"
    assert firmware.calls == ["--bootnum 000A --active", "--bootorder 0001,000A,0000"]


def test_an_order_that_is_refused_leaves_no_entry_behind(firmware: Firmware, tmp_path: Path) -> None:
    firmware.kept.write_text(NEW)
    tool = tmp_path / "efibootmgr"
    tool.write_text(tool.read_text().replace("*) printf", "--bootorder) exit 8 ;;\n*) printf"))
    with pytest.raises(IoError):
        _add_first()
    assert firmware.calls[-1] == "--bootnum 000A --delete-bootnum"


def test_only_what_the_firmware_tries_counts() -> None:
    found = efientries.parse(VERBOSE.replace("BootOrder: 0001,0000", "BootOrder: 0000,0002"))
    assert [entry.number for entry in found.tried] == ["0000"]
    assert [entry.number for entry in efientries.parse(VERBOSE.replace("BootOrder: 0001,0000\n", "")).tried] == [
        "0000",
        "0001",
    ]


def test_removing_deletes_our_entry_alone(firmware: Firmware) -> None:
    firmware.entries.write_text(VERBOSE + OURS)
    assert efientries.remove(partition=GUID, loader=grubmenu.LOADER) == ["0003"]
    assert firmware.calls == ["--bootnum 0003 --delete-bootnum"]
    firmware.entries.write_text(VERBOSE)
    assert efientries.remove(partition=GUID, loader=grubmenu.LOADER) == []


def test_a_menu_behind_a_link_that_leads_off_its_file_system_is_not_changed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "boot/grub2").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "boot/grub").symlink_to("grub2")
    custom = ownfiles.refuse_unless_menu_takes(root, "boot/grub", "sda2")
    ownfiles.change_menu(custom, grubmenu.render_entry(uuid="1", table="gpt"))
    assert (root / "boot/grub2/custom.cfg").exists()
    for target in (elsewhere, Path("../../elsewhere"), Path("grub")):
        (root / "boot/grub").unlink()
        (root / "boot/grub").symlink_to(target)
        with pytest.raises(RefusedError, match="is a link elsewhere"):
            ownfiles.refuse_unless_menu_takes(root, "boot/grub", "sda2")
