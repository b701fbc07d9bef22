"""The upper layer of the live system: this project's packages, the wheels they need, and how systemd runs
them. Rebuilt in seconds."""

import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .cache import Cache, digest_of
from .debian import TREE_DATE
from .lists import CHECKOUT, LIVE_IMAGE, read_list
from .process import BuildError, run
from .root import Root

LOCK = LIVE_IMAGE / "requirements.lock"
SYSTEM = LIVE_IMAGE / "system"
PACKAGES = ("imaging", "rescue")
COMPRESSION = ["-comp", "zstd", "-Xcompression-level", "9", "-b", "128K"]

LAUNCHER = """\
#!/usr/bin/python3
import sys

from rescue.cli import main

sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Application:
    """A folder that holds the finished layer, and one with the unpacked wheels that went into it."""

    folder: Path
    wheels: Path

    @property
    def layer(self) -> Path:
        return self.folder / "app.squashfs"


def application_layer(cache: Cache, root: Root) -> Application:
    """The application layer from the cache, built when sources, wheels or the live Python changed."""
    for package in PACKAGES:
        if not (CHECKOUT / package).is_dir():
            raise BuildError(f"the checkout has no folder {package}/")
    wheels = _wheels(cache, root)
    key = digest_of(
        wheels.name,
        root.folder.name,
        (CHECKOUT / "pyproject.toml"),
        *(CHECKOUT / package for package in PACKAGES),
        SYSTEM,
        LIVE_IMAGE / "livebuild/application.py",
    )

    def make(folder: Path) -> None:
        tree = folder / "tree"
        # Debian's Python looks here without being told, also when started as `python3 -m`.
        target = _site(root)
        site = tree / target.removeprefix("/")
        site.parent.mkdir(parents=True)
        shutil.copytree(wheels / "site", site)
        for package in PACKAGES:
            shutil.copytree(CHECKOUT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
        _write_metadata(site)
        launcher = tree / "usr/bin/rescue"
        launcher.parent.mkdir(parents=True)
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        shutil.copytree(SYSTEM / "overlay", tree, dirs_exist_ok=True)
        for link, points_to in system_links().items():
            path = tree / link
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(points_to)
        for package in PACKAGES:
            _compile(root, site / package, f"{target}/{package}")
        for path in [tree, *tree.rglob("*")]:
            # A checkout's modes depend on the umask of whoever made it.
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        order = folder / "order"
        order.write_text(_render_order(root, tree, target))
        run(
            [
                "mksquashfs",
                tree,
                folder / "app.squashfs",
                *("-quiet", "-no-progress", "-all-root"),
                *("-all-time", str(TREE_DATE), "-mkfs-time", str(TREE_DATE)),
                *("-sort", order),
                *COMPRESSION,
            ]
        )
        order.unlink()
        shutil.rmtree(tree)

    return Application(cache.entry("app", key, make), wheels / "site")


# Units started at boot, beside the menus that rescue-console-generator starts: target -> units.
STARTED = {
    "sysinit.target": ("rescue-images.service",),
    "multi-user.target": (
        "rescue-check-medium.service",
        "rescue-order.service",
        "rescue-shell@tty2.service",
        "rescue-ssh.service",
    ),
}


def system_links() -> dict[str, str]:
    """The symbolic links that say what systemd and udev do and leave: path in the tree -> where it points."""
    links = {"etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target"}
    for name, folder in (
        ("masked-units.txt", "etc/systemd/system"),
        ("masked-generators.txt", "etc/systemd/system-generators"),
        ("masked-udev-rules.txt", "etc/udev/rules.d"),
    ):
        links |= {f"{folder}/{masked}": "/dev/null" for masked in read_list(SYSTEM / name)}
    for target, units in STARTED.items():
        for unit in units:
            template = f"{unit.partition('@')[0]}@.service" if "@" in unit else unit
            links[f"etc/systemd/system/{target}.wants/{unit}"] = f"/etc/systemd/system/{template}"
    return links


def _wheels(cache: Cache, root: Root) -> Path:
    """The locked wheels, unpacked for the live system's Python."""
    tag = root.python_version.replace(".", "")

    def make(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
        platforms = ["manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        run(
            [
                *pip,
                "--require-hashes",
                "--no-deps",
                "--no-compile",
                "--only-binary=:all:",
                "--implementation=cp",
                f"--python-version={tag}",
                f"--abi=cp{tag}",
                "--abi=abi3",
                "--abi=none",
                *(f"--platform={platform}" for platform in platforms),
                f"--target={folder / 'site'}",
                f"--requirement={LOCK}",
            ]
        )
        # Scripts of the libraries start a Python of this machine; the live system has the one launcher.
        shutil.rmtree(folder / "site/bin", ignore_errors=True)
        # The lists of files hold digests of those scripts, which differ from machine to machine.
        for record in (folder / "site").glob("*.dist-info/RECORD"):
            record.unlink()
        _compile(root, folder / "site", _site(root))

    return cache.entry("wheels", digest_of(LOCK, tag, LIVE_IMAGE / "livebuild/application.py"), make)


# What `rescue` without arguments loads until its menu is painted; prints the files in that order.
LOADED = """\
import sys
sys.path.insert(0, sys.argv[1])
import rescue.cli, rescue.app, rescue.application, rescue.engine
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    for name in (getattr(spec, "cached", None), getattr(spec, "origin", None)):
        if name and name.startswith(sys.argv[1]):
            print(name)
            break
"""


def _render_order(root: Root, tree: Path, site: str) -> str:
    """mksquashfs's sort file: what the menu loads, in the order in which it does.

    The kernel unpacks whole blocks and keeps but three of those that small files share: read in another order, the
    same block would be unpacked again and again.
    """
    folder = tree / site.removeprefix("/")
    names = root.python("-c", LOADED, folder).splitlines()
    # -32768 to 32767, the highest first; 0 is what is not named here.
    return "".join(f"{name} {32767 - number}\n" for number, name in enumerate(names))


def _site(root: Root) -> str:
    """Where Debian's Python looks for local packages."""
    return f"/usr/local/lib/python{root.python_version}/dist-packages"


def _compile(root: Root, folder: Path, target: str) -> None:
    """Byte-compile a folder that will stand at `target`; a stick's files never change, so no import compares times."""
    root.python("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", folder, "-p", target, folder)


def _write_metadata(site: Path) -> None:
    """What importlib.metadata reads of the project, without running its build for each change."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "INSTALLER").write_text("live-image\n")
