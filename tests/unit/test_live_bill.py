"""The bill of materials of a medium: what SPDX asks of it, and that it says what the packages say."""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from livebuild.bill import Component, debian_components, project_component, render_bill, wheel_components, write_papers
from livebuild.debianlicences import read_licences
from livebuild.process import BuildError

# The address that the format has; no file of this tree names Debian's hosts.
FORMAT = "https://www.debian" + ".org/doc/packaging-manuals/copyright-format/1.0/"
MACHINE_READABLE = f"""\
Format: {FORMAT}

Files: *
Copyright: 2001 A
License: GPL-2+

Files: lib/*
Copyright: 2002 B
License: LGPL-2.1+ or BSD-3-clause and Expat

Files: odd/*
License: permissive
 Do what you like.

License: GPL-2+
 The text of it.
"""

PACKAGES = "libfoo++1 1:2.0-1~deb13u1 amd64 foo 1:2.0-1\nbar 1.0 all bar 1.0\n"


@pytest.fixture
def components(tmp_path: Path) -> list[Component]:
    for name, text in (("libfoo++1", MACHINE_READABLE), ("bar", "This is Bar, free software.\n")):
        (tmp_path / "doc" / name).mkdir(parents=True)
        (tmp_path / "doc" / name / "copyright").write_text(text)
    info = tmp_path / "site/some_wheel-1.2.dist-info"
    (info / "licenses").mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: some-wheel\nVersion: 1.2\nLicense-Expression: MIT\n\nx"
    )
    (info / "licenses/LICENSE").write_text("MIT says")
    return [
        project_component("0.1.0"),
        *wheel_components(tmp_path / "site"),
        *debian_components(PACKAGES, tmp_path),
    ]


def bill_of(components: list[Component]) -> Any:
    return json.loads(render_bill(components, version="0.1.0", build_id="abc"))


@pytest.fixture(autouse=True)
def date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def test_the_bill_has_what_spdx_requires(components: list[Component]) -> None:
    bill = bill_of(components)
    # SPDX 2.3, clauses 6 (document), 7 (package), 10 (other licences), 11 (relationships): the mandatory fields.
    assert bill["spdxVersion"] == "SPDX-2.3"
    assert bill["dataLicense"] == "CC0-1.0"
    assert bill["SPDXID"] == "SPDXRef-DOCUMENT"
    assert bill["name"]
    assert re.fullmatch(r"[a-z]+:[^#\s]+", bill["documentNamespace"])
    assert bill["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert all(re.match(r"(Person|Organization|Tool): \S", name) for name in bill["creationInfo"]["creators"])
    ids = [package["SPDXID"] for package in bill["packages"]]
    assert len(ids) == len(set(ids)) == 5
    for package in bill["packages"]:
        assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", package["SPDXID"])
        assert package["name"] and package["versionInfo"]
        assert package["downloadLocation"] == "NOASSERTION"
        assert package["filesAnalyzed"] is False
        assert package["supplier"] == "NOASSERTION" or re.match(r"Organization: \S", package["supplier"])
    stated = {
        word for package in bill["packages"] for word in re.findall(r"LicenseRef-\S+", package["licenseDeclared"])
    }
    told = {licence["licenseId"]: licence["extractedText"] for licence in bill["hasExtractedLicensingInfos"]}
    assert {word.strip("()") for word in stated} == set(told)
    assert all(told.values())
    for relation in bill["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= {*ids, "SPDXRef-DOCUMENT"}
    contained = {r["relatedSpdxElement"] for r in bill["relationships"] if r["relationshipType"] == "CONTAINS"}
    assert contained == set(ids) - {"SPDXRef-medium"}


def test_the_bill_says_version_source_and_licence_of_each_package(components: list[Component]) -> None:
    packages = {package["name"]: package for package in bill_of(components)["packages"]}
    foo = packages["libfoo++1"]
    assert foo["versionInfo"] == "1:2.0-1~deb13u1"
    assert foo["sourceInfo"] == "Debian's source package foo 1:2.0-1"
    assert foo["externalRefs"][0]["referenceLocator"] == (
        "pkg:deb/debian/libfoo%2B%2B1@1%3A2.0-1~deb13u1?arch=amd64&distro=trixie"
    )
    assert re.fullmatch(
        r"GPL-2\.0-or-later AND \(LGPL-2\.1-or-later OR \(BSD-3-Clause AND MIT\)\) "
        r"AND LicenseRef-Debian-permissive-[0-9a-f]{8}",
        foo["licenseDeclared"],
    )
    assert packages["bar"]["licenseDeclared"] == "NOASSERTION"
    assert packages["some-wheel"]["licenseDeclared"] == "MIT"
    assert packages["rescue"]["licenseDeclared"] == "GPL-3.0-or-later"


def test_the_same_build_writes_the_same_papers(components: list[Component], tmp_path: Path) -> None:
    common = tmp_path / "common-licenses"
    common.mkdir()
    (common / "GPL-2").write_text("the GPL")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_papers(tmp_path / name, components, common, version="0.1.0", build_id="abc")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(one["licences.tar.zst"])
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert set(tar.getnames()) == {
            "licences/common-licenses/GPL-2",
            "licences/debian/bar/copyright",
            "licences/debian/libfoo++1/copyright",
            "licences/python/some-wheel/LICENSE",
            "licences/rescue/LICENSE",
        }


def test_a_package_without_its_licence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="bar"):
        list(debian_components("bar 1.0 all bar 1.0\n", tmp_path))


def test_a_wheel_without_a_licence_file_has_its_metadata_among_the_papers(tmp_path: Path) -> None:
    info = tmp_path / "bare-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: bare\nVersion: 2.0\nClassifier: License :: OSI Approved :: MIT License\n\n")
    (bare,) = wheel_components(tmp_path)
    assert bare.licence == "MIT"
    assert list(bare.papers) == ["python/bare/METADATA"]


@pytest.mark.parametrize(
    ("said", "expression"),
    [
        ("GPL-3", "GPL-3.0-only"),
        ("LGPLv2.1+", "LGPL-2.1-or-later"),
        ("Expat or GPL-2+", "MIT OR GPL-2.0-or-later"),
        ("Apache-2.0", "Apache-2.0"),
        ("GPL-1+ or Artistic, and BSD-4-clause-UC", "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND BSD-4-Clause-UC"),
    ],
)
def test_debians_names_become_those_of_spdx(said: str, expression: str) -> None:
    read = read_licences(f"Format: x\n\nFiles: *\nLicense: {said}\n")
    assert read is not None
    assert read.expression == (f"({expression})" if " OR " in expression else expression)


def test_one_name_for_two_texts_is_two_licences() -> None:
    texts = [read_licences(f"Format: x\n\nFiles: *\nLicense: custom\n {words}\n") for words in ("this", "that")]
    assert texts[0] and texts[1] and texts[0].expression != texts[1].expression


def test_a_copyright_file_for_people_alone_states_nothing() -> None:
    assert read_licences("This is Bar. License: do as you like.\n") is None
