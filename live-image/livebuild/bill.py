"""The bill of materials of a medium, as SPDX 2.3 in JSON, and the licences of all that is on it.

Specification: https://spdx.github.io/spdx-spec/v2.3/. Package URLs: https://github.com/package-url/purl-spec.
Both files depend on what is on the medium alone: the same build writes the same bytes.
"""

import io
import json
import re
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from .application import Application
from .bootparts import ON_MEDIUM, BootParts
from .debian import SUITE
from .debianlicences import read_licences
from .epoch import source_date_text
from .lists import CHECKOUT
from .process import BuildError, run
from .root import Root

BILL_NAME = "sbom.spdx.json"
LICENCES_NAME = "licences.tar.zst"
NAMESPACE = uuid.UUID("0f1d1c1a-90a5-4c36-9d8e-2b2d7a5f3c11")
NOT_SAID = "NOASSERTION"

# What older metadata says instead of an SPDX expression.
CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}
_LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)
EXPRESSION = re.compile(r"\(*[A-Za-z0-9.-]+\+?\)*( (AND|OR|WITH) \(*[A-Za-z0-9.-]+\+?\)*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One thing on the medium."""

    key: str
    name: str
    version: str
    licence: str = NOT_SAID
    source: str = ""
    supplier: str = NOT_SAID
    purl: str = ""
    purpose: str = "LIBRARY"
    papers: Mapping[str, bytes] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def debian_components(packages: str, licences: Path, *, only: frozenset[str] | None = None) -> Iterator[Component]:
    """The Debian packages of a recorded list; `licences` holds doc/<package>/copyright."""
    for line in packages.splitlines():
        name, version, architecture, source, source_version = line.split(" ")
        if only is not None and name not in only:
            continue
        path = licences / "doc" / name / "copyright"
        if not path.is_file():
            raise BuildError(f"the package {name} {version} has no copyright file")
        text = path.read_bytes()
        read = read_licences(text.decode(errors="replace"))
        yield Component(
            key=f"deb-{name}",
            name=name,
            version=version,
            licence=read.expression if read else NOT_SAID,
            source=f"Debian's source package {source} {source_version}",
            supplier="Organization: Debian",
            purl=f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro={SUITE}",
            papers={f"debian/{name}/copyright": text},
            texts=read.texts if read else {},
        )


def wheel_components(site: Path) -> Iterator[Component]:
    """The Python packages unpacked in a folder, by their own metadata; bills of what is compiled in them (PEP 770) are
    among the papers."""
    for folder in sorted(site.glob("*.dist-info")):
        metadata = HeaderParser().parsestr((folder / "METADATA").read_text())
        name, version = metadata["Name"], metadata["Version"]
        said = str(metadata.get("License-Expression") or metadata.get("License") or "")
        if not EXPRESSION.fullmatch(said):
            known = {CLASSIFIERS[line] for line in metadata.get_all("Classifier", []) if line in CLASSIFIERS}
            said = known.pop() if len(known) == 1 else NOT_SAID
        papers = {
            f"python/{name}/{path.name}": path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (_LICENCE_FILE.match(path.name) or path.parent.name == "sboms")
        }
        # Some wheels leave the text out; what they say of themselves is all there is then.
        if not any(path.is_file() and _LICENCE_FILE.match(path.name) for path in folder.rglob("*")):
            papers[f"python/{name}/METADATA"] = (folder / "METADATA").read_bytes()
        yield Component(
            key=f"py-{name}",
            name=name,
            version=version,
            licence=said,
            purl=f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}",
            papers=papers,
        )


def project_component(version: str) -> Component:
    """This project."""
    return Component(
        key="rescue",
        name="rescue",
        version=version,
        licence="GPL-3.0-or-later",
        purpose="APPLICATION",
        papers={"rescue/LICENSE": (CHECKOUT / "LICENSE").read_bytes()},
    )


def medium_components(root: Root, boot: BootParts, application: Application, *, version: str) -> tuple[Component, ...]:
    """All that is on a medium, in the order of the bill."""
    installed = {line.split(" ")[0] for line in root.packages.splitlines()}
    return (
        project_component(version),
        *wheel_components(application.wheels),
        *debian_components(root.packages, root.licences),
        *debian_components(boot.packages, boot.licences, only=ON_MEDIUM - installed),
    )


def render_bill(components: Sequence[Component], *, version: str, build_id: str) -> str:
    """The document: one package for the medium, which contains all others."""
    medium = Component(key="medium", name="rescue-medium", version=version, purpose="OPERATING-SYSTEM")
    texts = {name: text for component in components for name, text in component.texts.items()}
    ids = [_identifier(component.key) for component in components]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"rescue-medium-{version}-{build_id}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(NAMESPACE, build_id)}",
        "creationInfo": {"created": source_date_text(), "creators": [f"Tool: rescue-live-image-{version}"]},
        "packages": [_render_package(component) for component in [medium, *components]],
        "hasExtractedLicensingInfos": [
            {
                "licenseId": name,
                "name": name.removeprefix("LicenseRef-Debian-").rpartition("-")[0],
                # A name alone stands for a licence that every Debian system has.
                "extractedText": text or f"See common-licenses in {LICENCES_NAME}.",
            }
            for name, text in sorted(texts.items())
        ],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _identifier(medium.key)),
            *(_relationship(_identifier(medium.key), "CONTAINS", name) for name in ids),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _render_package(component: Component) -> dict[str, object]:
    package: dict[str, object] = {
        "SPDXID": _identifier(component.key),
        "name": component.name,
        "versionInfo": component.version,
        "primaryPackagePurpose": component.purpose,
        "supplier": component.supplier,
        "downloadLocation": NOT_SAID,
        "filesAnalyzed": False,
        "licenseConcluded": NOT_SAID,
        "licenseDeclared": component.licence,
        "copyrightText": NOT_SAID,
    }
    if component.source:
        package["sourceInfo"] = component.source
    if component.purl:
        package["externalRefs"] = [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": component.purl}
        ]
    return package


def _identifier(key: str) -> str:
    """An SPDX identifier: letters, digits, "." and "-" alone; what else a name has is spelled by its code."""
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", lambda match: f"-x{ord(match[0]):02x}-", key)


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def write_papers(folder: Path, components: Sequence[Component], common: Path, *, version: str, build_id: str) -> None:
    """The bill and the licences, under their names in a folder of the medium; `common` is Debian's common-licenses."""
    (folder / BILL_NAME).write_text(render_bill(components, version=version, build_id=build_id))
    _write_licences(folder / LICENCES_NAME, components, common)


def _write_licences(output: Path, components: Sequence[Component], common: Path) -> None:
    """All components' licence files in one compressed archive, with Debian's folder of common licences."""
    papers = {name: data for component in components for name, data in component.papers.items()}
    papers |= {f"common-licenses/{path.name}": path.read_bytes() for path in sorted(common.iterdir())}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(papers.items()):
            member = tarfile.TarInfo(f"licences/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    output.unlink(missing_ok=True)
    run(["zstd", "-q", "-19", "-T1", "-o", output], stdin=buffer.getvalue())
