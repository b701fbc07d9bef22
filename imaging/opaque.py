"""Why a volume is stored whole, in plain words, by what blkid calls that which stands on it."""

_ENCRYPTED = "and what is encrypted compresses poorly"
_MEMBER = "whose members have to be captured together in one image"
_FIRMWARE_RAID = f"it is a member of a RAID array that firmware makes, {_MEMBER}"
_READ_ONLY = "it is written once, and has no free space"
_CLUSTER = "it is made for several computers at once, and its map is not read by this program"
_UNREAD = "its map of free space is not read by this program"

_WHY = {
    "crypto_LUKS": f"it is encrypted with LUKS, {_ENCRYPTED}",
    "BitLocker": f"it is encrypted with BitLocker, {_ENCRYPTED}",
    "cs_fvault2": f"it is encrypted with FileVault, {_ENCRYPTED}",
    "linux_raid_member": f"it is a member of a Linux software RAID, {_MEMBER}",
    "isw_raid_member": f"it is a member of an Intel RAID array, {_MEMBER}",
    "ddf_raid_member": _FIRMWARE_RAID,
    "adaptec_raid_member": _FIRMWARE_RAID,
    "hpt37x_raid_member": _FIRMWARE_RAID,
    "hpt45x_raid_member": _FIRMWARE_RAID,
    "jmicron_raid_member": _FIRMWARE_RAID,
    "lsi_mega_raid_member": _FIRMWARE_RAID,
    "nvidia_raid_member": _FIRMWARE_RAID,
    "promise_fasttrack_raid_member": _FIRMWARE_RAID,
    "silicon_medley_raid_member": _FIRMWARE_RAID,
    "via_raid_member": _FIRMWARE_RAID,
    "zfs_member": "it belongs to a ZFS pool, whose devices have to be captured together in one image",
    "bcache": "it belongs to bcache, whose cache and backing device have to be captured together in one image",
    "drbd": "it is replicated by DRBD",
    "drbdmanage_control_volume": "it belongs to DRBD",
    "drbdproxy_datalog": "it belongs to DRBD",
    "jbd": "it is the journal of a file system on another volume",
    "xfs_external_log": "it is the log of a file system on another volume",
    "oracleasm": "it belongs to an Oracle ASM disk group",
    "LVM1_member": "it is a physical volume of LVM's first format",
    "DM_snapshot_cow": "it holds the changes of an LVM snapshot",
    "DM_integrity": "checksums of dm-integrity lie between its data",
    "DM_verity_hash": "it holds the hashes of dm-verity",
    "stratis": "it belongs to a Stratis pool, whose devices have to be captured together in one image",
    "vdo": "it is compressed by VDO already",
    "ceph_bluestore": "it belongs to a Ceph cluster",
    "VMFS": _CLUSTER,
    "VMFS_volume_member": _CLUSTER,
    "ocfs": _CLUSTER,
    "ocfs2": _CLUSTER,
    "gfs": _CLUSTER,
    "gfs2": _CLUSTER,
    "swsuspend": "the system on this disk is hibernated, and its memory lies here",
    "squashfs": _READ_ONLY,
    "squashfs3": _READ_ONLY,
    "erofs": _READ_ONLY,
    "cramfs": _READ_ONLY,
    "romfs": _READ_ONLY,
    "iso9660": _READ_ONLY,
    "apfs": _UNREAD,
    "bcachefs": _UNREAD,
    "befs": _UNREAD,
    "bfs": _UNREAD,
    "exfs": _UNREAD,
    "ext4dev": _UNREAD,
    "hfs": _UNREAD,
    "hpfs": _UNREAD,
    "jfs": _UNREAD,
    "minix": _UNREAD,
    "nilfs2": _UNREAD,
    "nss": _UNREAD,
    "ReFS": _UNREAD,
    "reiser4": _UNREAD,
    "reiserfs": _UNREAD,
    "sysv": _UNREAD,
    "ubi": _UNREAD,
    "ubifs": _UNREAD,
    "udf": _UNREAD,
    "ufs": _UNREAD,
    "vxfs": _UNREAD,
    "xenix": _UNREAD,
    "zonefs": _UNREAD,
}


def why_whole(kind: str) -> str:
    """Why a volume that blkid calls `kind` (its TYPE, empty where it knows none) is stored whole."""
    if not kind:
        return "nothing known stands on it"
    return _WHY.get(kind, f"{kind} is not known to this program")
