"""What the sample machines are told of their own root file system, whatever it is."""

from pathlib import Path

import pytest

from imaging import mounttabs
from livebuild.lvm import lvm_command
from livebuild.sampleroots import GROUP, ROOT_VOLUME, SWAP_VOLUME, Identities, Root, words


@pytest.mark.parametrize("root", Root)
def test_fstab_and_the_boot_menu_name_the_same_device(root: Root) -> None:
    told = words(root, Identities())
    wanted = {one.where: one.device for one in mounttabs.fstab(told["MOUNTS"])}
    assert wanted["/"] == mounttabs.device(told["DEVICE"])
    assert set(wanted) == ({"/", "/home"} if root is Root.BTRFS else {"/"})


def test_logical_volumes_are_called_as_device_mapper_calls_them() -> None:
    told = words(Root.LVM, Identities())
    for word, name in (("DEVICE", ROOT_VOLUME), ("SWAP", SWAP_VOLUME)):
        device = mounttabs.device(told[word])
        assert device is not None
        assert (device.tag, device.value) == ("MAPPER", mounttabs.mapped(GROUP, name))


def test_lvm_sees_no_other_device_and_activates_nothing() -> None:
    (config,) = (
        one for one in lvm_command(["/dev/loop7"], Path("/locks"), "vgcreate", "g") if one.startswith("--config")
    )
    for name in ("filter", "global_filter"):
        assert f'{name}=["a|^/dev/loop7$|","r|.*|"]' in config
    assert "--driverloaded=n" in lvm_command([], Path("/locks"), "vgs")
