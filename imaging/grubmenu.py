"""The entry "Rescue recovery" in boot menus: texts for GRUB, rendered and recognised. Pure.

An installed GRUB reads `custom.cfg` beside its grub.cfg each time it starts (/etc/grub.d/41_custom): an entry there
needs no tool to be made, and update-grub leaves it alone. It goes on to the menu of the recovery partition, so that it
stays right when the system there is replaced. What else stands in custom.cfg is kept.
"""

import re

LABEL = "Rescue recovery"
"""What the entry is called, in GRUB's menu and in the firmware's."""
CUSTOM = "custom.cfg"
LOADER = r"\EFI\rescue\shimx64.efi"
"""The path of the boot loader on the EFI system partition, as UEFI writes it."""
MENU = "/boot/grub/grub.cfg"
"""The recovery system's own boot menu, on its partition."""
_BEGIN = "### BEGIN rescue: `rescue media remove-partition` takes this away again ###"
_END = "### END rescue ###"
_BLOCK = re.compile(r"(?m)^### BEGIN rescue\b[^\n]*\n(?:(?!^### (?:BEGIN|END) )[^\n]*\n)*?^### END rescue ###(?:\n|\Z)")
_READS_CUSTOM = re.compile(r"(?m)^[\x20\t]*(?:source|\.|configfile)[\x20\t]+\S*/custom\.cfg")


def reads_custom(text: str) -> bool:
    """Whether a grub.cfg reads custom.cfg."""
    return bool(_READS_CUSTOM.search(text))


def render_entry(*, uuid: str, table: str, efi_uuid: str = "") -> str:
    """The block for custom.cfg: `uuid` is that of the recovery file system, `table` its disk's ("gpt" or "dos").

    Under UEFI the entry starts the boot loader on the EFI system partition with `efi_uuid`, where there is one: it is
    signed by whom every firmware trusts, while the installed GRUB may trust no kernel but its own distribution's.
    """
    modules = ["part_gpt" if table == "gpt" else "part_msdos", "ext2", "search_fs_uuid"]
    lines = [_BEGIN, f'menuentry "{LABEL}" --class recovery --id rescue-recovery {{']
    lines += [f"    insmod {module}" for module in modules]
    own = [f"search --no-floppy --set=root --fs-uuid {uuid}", f"configfile {MENU}"]
    if efi_uuid:
        chain = f"chainloader {LOADER.replace(chr(92), '/')}"
        lines += ['    if [ "${grub_platform}" = efi ]; then', "        insmod fat", "        insmod chain"]
        lines += [f"        search --no-floppy --set=root --fs-uuid {efi_uuid}", f"        {chain}", "    else"]
        lines += [*(f"        {line}" for line in own), "    fi"]
    else:
        lines += [f"    {line}" for line in own]
    return "\n".join([*lines, "}", _END, ""])


def with_entry(custom: str, entry: str) -> str:
    """A custom.cfg with our block, in place of an earlier one or at its end; all else as it was."""
    rest = without_entry(custom)
    return rest + ("" if not rest or rest.endswith("\n") else "\n") + entry


def without_entry(custom: str) -> str:
    """A custom.cfg without our block."""
    return _BLOCK.sub("", custom)


def render_options(*, uuid: str) -> str:
    """The options of the recovery system's own menu: a stick of the same build may be plugged in, and is not meant."""
    return f'# Words for the kernel: this very partition is started from.\nset extra="rescue.part={uuid}"\n'


def render_efi_config(*, uuid: str, build: str) -> str:
    """grub.cfg for GRUB on the EFI system partition, which reads it beside itself.

    The partition is found by its file system, else (a copy of it may have another) by the build.
    """
    return (
        "# GRUB of the recovery partition reads this file beside itself.\n"
        f"if ! search --no-floppy --set=root --fs-uuid {uuid}; then\n"
        f"    search --no-floppy --set=root --file /rescue/{build}\n"
        "fi\n"
        "set prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    )
