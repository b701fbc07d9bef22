"""The name of an operating system, from whatever stands in its files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.release import linux_name, name_of, printable


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"', "Debian GNU/Linux 13 (trixie)"),
        ("PRETTY_NAME='Arch Linux'", "Arch Linux"),
        ("PRETTY_NAME=NixOS", "NixOS"),
        ('NAME=Fedora\nVERSION="41 (Server)"', "Fedora 41 (Server)"),
        (r'PRETTY_NAME="A \"B\" \$C \n"', r'A "B" $C \n'),
        ('# PRETTY_NAME="no"\n  PRETTY_NAME="yes"  ', "yes"),
        ('PRETTY_NAME=""\nNAME=""', "Linux"),
        ("", "Linux"),
        ('PRETTY_NAME="Half', '"Half'),
        ("PRETTY_NAME=$(reboot)`id`", "$(reboot)`id`"),
        ("PRETTY_NAME=a\x1b[31mb\u202ec\x00d", "a [31mb c d"),
    ],
)
def test_os_release_says_the_name(text: str, name: str) -> None:
    assert linux_name(text) == name


def test_an_installation_medium_says_its_name_in_the_first_line() -> None:
    said = 'Debian GNU/Linux 13.1.0 "Trixie" - Official amd64 NETINST\nmore'
    assert name_of(".disk/info", said) == 'Debian GNU/Linux 13.1.0 "Trixie" - Official amd64 NETINST'
    assert name_of("usr/lib/os-release", "NAME=x") == "x"


@given(st.text(), st.sampled_from(["", "PRETTY_NAME=", "NAME=", 'PRETTY_NAME="']))
def test_any_text_gives_one_short_printable_line(text: str, before: str) -> None:
    name = linux_name(before + text)
    assert name
    assert name.isprintable()
    assert len(name) <= 60
    assert printable(name) == name
