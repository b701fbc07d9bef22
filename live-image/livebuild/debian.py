"""Makes Debian trees with mmdebstrap, as tar files, without needing root.

Files go in and results come out through mmdebstrap's own hooks and the tar: in its
unprivileged mode nothing inside can read the user's folders. The mirror is mmdebstrap's
default or what the host's apt says.
"""

import io
import tarfile
from pathlib import Path

from .process import run

SUITE = "trixie"
ARCHITECTURE = "amd64"

# Where the build's own files stand inside a tree while it is made.
BUILD_FOLDER = "rescue-build"


def files_tar(files: dict[str, Path]) -> bytes:
    """A tar of files and folders owned by root: name in the tree -> path here."""
    buffer = io.BytesIO()

    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        # A checkout's modes depend on the umask of whoever made it.
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in sorted(files.items()):
            tar.add(path, arcname=name, filter=owned_by_root)
    return buffer.getvalue()


def make_tree(output: Path, packages: list[str], *, files: dict[str, Path], customize: str | None) -> None:
    """Install packages into a minimal tree, unpack `files` over it, run `customize` (a path inside) there."""
    overlay = output.with_name("overlay.tar")
    overlay.write_bytes(files_tar(files))
    hooks = [f"--customize-hook=tar-in {overlay} /"]
    if customize:
        hooks.append(f'--customize-hook=chroot "$1" /bin/bash {customize}')
    run(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--architectures={ARCHITECTURE}",
            f"--include={','.join(packages)}",
            '--aptopt=Apt::Install-Recommends "false"',
            '--aptopt=Acquire::Retries "3"',
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/info/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *hooks,
            SUITE,
            output,
        ],
        # Neither tree wants the initramfs made on installation: the live system has its own,
        # the sample machine makes one when its settings are in place.
        env={"INITRD": "No", "SYSTEMD_OFFLINE": "1"},
    )
    overlay.unlink()


def extract_packages(output: Path, packages: list[str]) -> None:
    """Unpack packages and what they depend on, without installing them; /packages lists their versions."""
    run(
        [
            "mmdebstrap",
            "--variant=extract",
            f"--architectures={ARCHITECTURE}",
            f"--include={','.join(packages)}",
            '--aptopt=Apt::Install-Recommends "false"',
            '--aptopt=Acquire::Retries "3"',
            '--extract-hook=for deb in "$1"/var/cache/apt/archives/*.deb; do '
            "dpkg-deb -W --showformat='${Package} ${Version} ${Architecture} "
            '${source:Package} ${source:Version}\\n\' "$deb"; done | LC_ALL=C sort > "$1/packages"',
            SUITE,
            output,
        ]
    )
