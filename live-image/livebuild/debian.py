"""Makes Debian trees with mmdebstrap, as tar files, without needing root.

Files go in and results come out through mmdebstrap's own hooks and the tar: in its
unprivileged mode nothing inside can read the user's folders. The mirror is mmdebstrap's
default or what the host's apt says.
"""

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .epoch import dated
from .process import BuildError, ToolError, run
from .recorded import render_preferences, versions

SUITE = "trixie"
ARCHITECTURE = "amd64"

# Where the build's own files stand inside a tree while it is made.
BUILD_FOLDER = "rescue-build"

# The date of what a build adds to Debian's packages, and of packages newer than that: the day Debian 13 came out.
# A tree outlives commits in the cache, so the checkout's date cannot stand in it.
TREE_DATE = 1754697600

# Ends the making of a tree where a mirror no longer has what a recorded list asks for; each line names one.
MISSING = "cannot be had: "
CHECK_AVAILABLE = (
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" LC_ALL=C; cd "$1/rescue-recorded"; '
    "cut -d' ' -f1 versions | xargs apt-cache madison | tr -d ' ' | "
    "awk -F'|' '{ print $1 \" \" $2 }' | sort -u > available; sort -u versions | comm -23 - available > missing; "
    f'sed "s/^/{MISSING}/" missing >&2; test ! -s missing && rm -r "$1/rescue-recorded"'
)

# mmdebstrap brings the builder's own name and name servers in; no tree needs either once its packages are in.
FORGET_HOST = '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"'


def files_tar(files: dict[str, Path | bytes]) -> bytes:
    """A tar of files and folders owned by root: name in the tree -> path here, or a file's contents."""
    buffer = io.BytesIO()

    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        # A checkout's modes depend on the umask of whoever made it.
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        member.mtime = TREE_DATE
        return member

    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in sorted(files.items()):
            if isinstance(source, bytes):
                member = tarfile.TarInfo(name)
                member.size = len(source)
                tar.addfile(owned_by_root(member), io.BytesIO(source))
            else:
                tar.add(source, arcname=name, filter=owned_by_root)
    return buffer.getvalue()


def make_tree(
    output: Path,
    packages: Sequence[str],
    *,
    files: dict[str, Path | bytes],
    customize: str | None,
    components: Sequence[str] = ("main",),
    recorded: Sequence[str] = (),
) -> None:
    """Install packages into a minimal tree, unpack `files` over it, run `customize` (a path inside) there.

    Where packages are `recorded`, exactly their versions are taken; BuildError says which cannot be had.
    """
    overlay = output.with_name("overlay.tar")
    overlay.write_bytes(files_tar(files))
    hooks = [FORGET_HOST, f"--customize-hook=tar-in {overlay} /"]
    if customize:
        hooks.append(f'--customize-hook=chroot "$1" /bin/bash {customize}')
    _mmdebstrap(
        output,
        packages,
        [
            "--variant=minbase",
            f"--components={','.join(components)}",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/info/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *hooks,
        ],
        recorded=recorded,
    )
    overlay.unlink()


def extract_packages(output: Path, packages: Sequence[str], *, recorded: Sequence[str] = ()) -> None:
    """Unpack packages and what they depend on, without installing them; /packages lists their versions."""
    listed = (
        '--extract-hook=for deb in "$1"/var/cache/apt/archives/*.deb; do '
        "dpkg-deb -W --showformat='${Package} ${Version} ${Architecture} "
        '${source:Package} ${source:Version}\\n\' "$deb"; done | LC_ALL=C sort > "$1/packages"'
    )
    _mmdebstrap(output, packages, ["--variant=extract", listed], recorded=recorded)


def _mmdebstrap(output: Path, packages: Sequence[str], options: list[str], *, recorded: Sequence[str]) -> None:
    pins = output.with_name("recorded.tar")
    if recorded:
        names = "".join(f"{name} {version}\n" for name, version in versions(recorded))
        pins.write_bytes(
            files_tar(
                {
                    "etc/apt/preferences.d/recorded": render_preferences(recorded).encode(),
                    "rescue-recorded/versions": names.encode(),
                }
            )
        )
        options = [f"--setup-hook=tar-in {pins} /", f"--extract-hook={CHECK_AVAILABLE}", *options]
    try:
        run(
            [
                "mmdebstrap",
                f"--architectures={ARCHITECTURE}",
                f"--include={','.join(packages)}",
                '--aptopt=Apt::Install-Recommends "false"',
                '--aptopt=Acquire::Retries "3"',
                *options,
                SUITE,
                output,
            ],
            # Neither tree wants the initramfs made on installation: the live system has its own,
            # the sample machine makes one when its settings are in place.
            env={"INITRD": "No", "SYSTEMD_OFFLINE": "1"} | dated(TREE_DATE),
        )
    except ToolError as error:
        if gone := re.findall(rf"^{MISSING}(.+)$", error.said, re.MULTILINE):
            raise BuildError(
                f"{len(gone)} of the packages of the list cannot be had any more:\n  " + "\n  ".join(gone),
                hint="let the host's apt use a mirror that keeps old versions, or build without the list",
            ) from error
        raise
    finally:
        pins.unlink(missing_ok=True)
