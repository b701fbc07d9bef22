"""The recorded list of a build's packages, and the budget of what comes out."""

from pathlib import Path

import pytest

from livebuild.budget import budget_for, check_budget
from livebuild.process import BuildError
from livebuild.recorded import Recorded, check_same, read_recorded, render_preferences, render_recorded
from livebuild.root import Flavour

BASH = "bash 5.2.37-2+b10 amd64 bash 5.2.37-2"
SHIM = "shim-signed 1.51~1+deb13u1+16.1-2~deb13u1 amd64 shim-signed 1.51~1+deb13u1"
MIB = 1 << 20


def test_a_list_that_a_build_wrote_is_read_back(tmp_path: Path) -> None:
    written = tmp_path / "stick.img.packages"
    written.write_text(render_recorded(live=f"{BASH}\n", boot=f"{SHIM}\n"))
    assert read_recorded(written) == Recorded(live=(BASH,), boot=(SHIM,))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names none"),
        (f"{BASH}\n", "line 1"),
        (render_recorded(live=f"{BASH}\n", boot=""), "names none of the Debian packages that the boot"),
        (render_recorded(live="bash 5.2\n", boot=f"{SHIM}\n"), "line 2"),
    ],
)
def test_what_is_no_list_of_packages_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    with pytest.raises(BuildError, match=word):
        read_recorded(path)


def test_a_missing_list_says_which_file_a_build_writes(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        read_recorded(tmp_path / "none")
    assert caught.value.hint and ".packages" in caught.value.hint


def test_each_package_is_pinned_to_its_version_even_below_what_is_there() -> None:
    assert render_preferences([BASH]) == "Package: bash\nPin: version 5.2.37-2+b10\nPin-Priority: 1001\n"


def test_another_version_is_an_error_that_names_both() -> None:
    check_same([BASH, SHIM], [SHIM, BASH])
    with pytest.raises(BuildError) as caught:
        check_same([BASH], [BASH.replace("+b10", "+b11")])
    assert "5.2.37-2+b10" in str(caught.value) and "5.2.37-2+b11" in str(caught.value)


def test_a_system_within_its_budget_is_reported() -> None:
    assert check_budget(120 * MIB, budget_for(Flavour.GENERIC, firmware=False), files={}, packages=[]) == (
        "system 120.0 of 200.0 MiB"
    )


def test_a_system_over_its_budget_names_its_biggest_parts() -> None:
    with pytest.raises(BuildError) as caught:
        check_budget(
            201 * MIB,
            200 * MIB,
            files={"id": 20, "root.squashfs": 180 * MIB, "vmlinuz": 12 * MIB},
            packages=[(108 * MIB, "linux-image"), (37 * MIB, "libicu76")],
        )
    said = str(caught.value)
    assert "1.0 more" in said
    assert said.index("root.squashfs 180.0") < said.index("vmlinuz 12.0") < said.index("linux-image 108.0")


def test_firmware_has_room_of_its_own_and_the_vm_flavour_less() -> None:
    assert budget_for(Flavour.VM, firmware=False) < budget_for(Flavour.GENERIC, firmware=False)
    assert budget_for(Flavour.GENERIC, firmware=True) > budget_for(Flavour.GENERIC, firmware=False)
