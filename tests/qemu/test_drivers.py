"""The kernel modules on the medium: each kind of hardware that a rescue may meet has its drivers, in the live system
and, where the medium itself may hang on it, in the initramfs."""

import fnmatch
from pathlib import Path

import pytest
import zstandard

from livebuild.bootparts import boot_parts
from livebuild.cache import open_cache
from livebuild.initramfs import live_initramfs
from livebuild.root import Choice, Root, live_root

pytestmark = pytest.mark.qemu

# What the live system must drive; names that the kernel has built in count.
LIVE = {
    "SATA and IDE": "ahci acard_ahci ata_generic ata_piix pata_amd pata_jmicron pata_marvell pata_via sata_mv sata_nv "
    "sata_promise sata_sil sata_sil24 sata_sis sata_svw sata_via isci",
    "NVMe": "nvme vmd nvme_tcp",
    "USB disks": "xhci_pci xhci_pci_renesas ehci_pci ohci_pci uhci_hcd usb_storage uas",
    "SCSI": "sd_mod sr_mod st sg aic7xxx aic79xx sym53c8xx mptspi BusLogic am53c974 advansys ips qla1280",
    "SAS and RAID adapters": "megaraid_sas megaraid_mbox mpt3sas mptsas mpi3mr aacraid hpsa smartpqi arcmsr 3w_9xxx "
    "3w_sas 3w_xxxx pm80xx mvsas mvumi hptiop stex aic94xx esas2r pmcraid ipr myrb myrs",
    "Fibre Channel and iSCSI": "qla2xxx lpfc bfa mptfc fnic qedf bnx2fc csiostor iscsi_tcp be2iscsi qla4xxx bnx2i qedi",
    "virtio": "virtio_pci virtio_blk virtio_scsi virtio_net virtio_console",
    "Hyper-V": "hv_vmbus hv_storvsc hv_netvsc hyperv_keyboard pci_hyperv",
    "VMware": "vmw_pvscsi vmxnet3 mptspi mptsas e1000 e1000e",
    "Xen": "xen_blkfront xen_netfront xen_scsifront",
    "eMMC, SD and UFS": "mmc_block sdhci_pci sdhci_acpi rtsx_pci_sdmmc rtsx_usb_sdmmc via_sdmmc jmb38x_ms alcor "
    "toshsd ufshcd_pci",
    "FireWire and Thunderbolt": "firewire_ohci firewire_sbp2 thunderbolt",
    "arrays and volumes": "raid0 raid1 raid10 raid456 dm_mod dm_crypt dm_mirror dm_snapshot dm_thin_pool bcache loop",
    "file systems": "ext4 xfs btrfs vfat exfat ntfs3 isofs udf f2fs squashfs overlay nfsv3 nfsv4 cifs fuse hfsplus jfs "
    "nilfs2 reiserfs minix erofs",
    "network cards": "e100 e1000 e1000e igb igbvf igc ixgbe ixgbevf i40e iavf ice r8169 8139too 8139cp tg3 b44 bnx2 "
    "bnx2x bnxt_en atlantic alx atl1 atl1c atl1e atl2 sky2 skge forcedeth via_rhine via_velocity sis190 sis900 3c59x "
    "tulip pcnet32 ne2k_pci be2net cxgb3 cxgb4 mlx4_en mlx5_core qede qlcnic netxen_nic myri10ge sfc enic liquidio "
    "ena gve mana jme amd_xgbe ionic nfp",
    "network cards behind USB": "asix ax88179_178a aqc111 r8152 cdc_ether cdc_ncm rndis_host smsc75xx smsc95xx lan78xx "
    "dm9601 mcs7830 pegasus rtl8150",
    "serial lines": "8250 8250_pci 8250_exar 8250_lpss 8250_dw jsm",
    "serial lines behind USB": "cdc_acm pl2303 ftdi_sio cp210x ch341 keyspan mct_u232 ti_usb_3410_5052 mos7720 mos7840 "
    "io_edgeport belkin_sa f81232",
    "keyboards": "atkbd i8042 usbhid hid_generic hid_apple hid_logitech_dj hid_microsoft i2c_hid_acpi",
    "servers' management": "ipmi_si ipmi_devintf",
}

# Where a medium, or a recovery partition of the computer's own, may be.
EARLY = {
    "the medium's file systems": "loop squashfs overlay isofs vfat nls_cp437 nls_ascii nls_utf8 sd_mod sr_mod",
    "USB": "xhci_pci xhci_pci_renesas ehci_pci ohci_pci uhci_hcd usb_storage uas",
    "SATA, IDE and NVMe": "ahci ata_piix ata_generic nvme vmd",
    "SAS and RAID adapters": "megaraid_sas megaraid_mbox mpt3sas mptsas mptspi mpi3mr aacraid hpsa smartpqi arcmsr "
    "3w_9xxx 3w_sas 3w_xxxx pm80xx mvsas hptiop isci",
    "virtual machines": "virtio_blk virtio_scsi virtio_pci hv_storvsc hv_vmbus vmw_pvscsi BusLogic xen_blkfront",
    "eMMC, SD and UFS": "mmc_block sdhci_pci sdhci_acpi rtsx_pci_sdmmc rtsx_usb_sdmmc ufshcd_pci",
}


@pytest.fixture(scope="module")
def root(live_image: Path) -> Root:
    """The root layer, as the build makes it."""
    assert live_image.is_dir()
    with open_cache() as cache:
        return live_root(cache, Choice())


def names_in(text: str) -> set[str]:
    """The modules whose paths stand in a text, one a line; the kernel takes - and _ for the same."""
    paths = (line.split(":")[0].rsplit("/", 1)[-1] for line in text.splitlines() if ".ko" in line)
    return {path.split(".ko")[0].replace("-", "_") for path in paths}


def built_in(root: Root) -> set[str]:
    (kernel,) = (root.folder / "modules").iterdir()
    return names_in((kernel / "modules.builtin").read_text())


def missing(wanted: str, there: set[str]) -> list[str]:
    return [name for name in wanted.split() if not fnmatch.filter(there, name)]


@pytest.mark.parametrize("kind", LIVE)
def test_the_live_system_has_drivers_for(root: Root, kind: str) -> None:
    (kernel,) = (root.folder / "modules").iterdir()
    there = names_in((kernel / "modules.dep").read_text()) | built_in(root)
    assert missing(LIVE[kind], there) == []


def test_the_initramfs_has_drivers_for_what_a_medium_may_hang_on(root: Root) -> None:
    with open_cache() as cache:
        archive = live_initramfs(cache, root, boot_parts(cache), Choice())
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(archive.read_bytes())
    there = names_in("\n".join(members(plain))) | built_in(root)
    assert {kind: gone for kind, wanted in EARLY.items() if (gone := missing(wanted, there))} == {}


def members(archive: bytes) -> list[str]:
    """The names in a newc archive."""
    names: list[str] = []
    position = 0
    while True:
        header = archive[position : position + 110]
        assert header.startswith(b"070701"), f"no archive member at byte {position}"
        size, length = (int(header[start : start + 8], 16) for start in (54, 94))
        name = archive[position + 110 : position + 110 + length - 1].decode()
        if name == "TRAILER!!!":
            return names
        names.append(name)
        position += -(-(110 + length) // 4) * 4
        position += -(-size // 4) * 4
