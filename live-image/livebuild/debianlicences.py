"""Reads Debian's copyright files and says their licences in SPDX's words.

Copyright files: Debian's machine-readable copyright format 1.0, in the package debian-policy as well.
SPDX licence expressions: annex D of the SPDX specification 2.3.
"""

import hashlib
import re
from dataclasses import dataclass
from email.parser import HeaderParser

# Debian's short names (lower case) of licences that SPDX's list knows by another name.
SPDX_NAMES = {
    "0bsd": "0BSD",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2.0": "Artistic-2.0",
    "beerware": "Beerware",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsd-4-clause-uc": "BSD-4-Clause-UC",
    "bsl-1.0": "BSL-1.0",
    "bzip2-1.0.6": "bzip2-1.0.6",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "curl": "curl",
    "expat": "MIT",
    "fsfap": "FSFAP",
    "fsful": "FSFUL",
    "fsfullr": "FSFULLR",
    "gfdl-niv-1.3": "GFDL-1.3-no-invariants-only",
    "gfdl-niv-1.3+": "GFDL-1.3-no-invariants-or-later",
    "isc": "ISC",
    "latex2e": "Latex2e",
    "mit": "MIT",
    "mit-cmu": "MIT-CMU",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "openldap-2.8": "OLDAP-2.8",
    "postgresql": "PostgreSQL",
    "psf-2": "PSF-2.0",
    "unicode-dfs-2016": "Unicode-DFS-2016",
    "unlicense": "Unlicense",
    "x11": "X11",
    "zlib": "Zlib",
}
GNU_VERSIONS = {"GPL": {"1.0", "2.0", "3.0"}, "LGPL": {"2.0", "2.1", "3.0"}, "AGPL": {"3.0"}, "GFDL": {"1.2", "1.3"}}
GNU = re.compile(r"(l?gpl|agpl|gfdl)-?v?(\d)(?:\.(\d))?(\+|-or-later|-only)?", re.IGNORECASE)

# A name, perhaps with an exception's; longer ones are a licence's own words, written where its name belongs.
SHORT_NAME = re.compile(r"[\w.+~/-]+( with (the )?[\w.+~-]+( \w+)? exception)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """What a copyright file says: an SPDX expression, and the texts of the licences that SPDX's list lacks."""

    expression: str
    texts: dict[str, str]


def read_licences(copyright_file: str) -> Licences | None:
    """The licences of a package; None where the file is written for people alone."""
    if not re.match(r"\s*Format(-Specification)?:", copyright_file):
        return None
    stated: set[str] = set()
    texts: dict[str, str] = {}
    for paragraph in re.split(r"\n[ \t]*\n", copyright_file.strip()):
        fields = HeaderParser().parsestr(paragraph.lstrip() + "\n\n")
        synopsis, _, text = str(fields.get("License", "")).partition("\n")
        if not (synopsis.strip() or text.strip()):
            continue
        name = synopsis.strip() or text.strip()
        # What only follows the files' paragraphs gives the text of a name; it states nothing of its own.
        if fields.get("Files"):
            stated.add(name)
        atoms = _atoms(name)
        if len(atoms) == 1 and _spdx_name(atoms[0]).startswith("LicenseRef-"):
            texts.setdefault(_spdx_name(atoms[0]), text.strip() or name)
    expressions = sorted({_expression(name) for name in stated})
    if not expressions:
        return None
    expression = " AND ".join(f"({part})" if " OR " in part else part for part in expressions)
    found: dict[str, str] = {}

    def with_its_text(match: re.Match[str]) -> str:
        # Packages call different texts by one name ("permissive"): the text is part of the identifier.
        text = texts.get(match[0], "")
        name = f"{match[0]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        found[name] = text
        return name

    return Licences(expression=re.sub(r"LicenseRef-[A-Za-z0-9.-]+", with_its_text, expression), texts=found)


def _expression(name: str) -> str:
    """A short name or several, joined: a comma binds least, "and" more than "or"."""
    if not _is_name(name):
        return _spdx_name(name)
    for separator, word in ((", and ", " AND "), (", or ", " OR "), (" or ", " OR "), (" and ", " AND ")):
        parts = re.split(re.escape(separator), name, flags=re.IGNORECASE)
        if len(parts) > 1:
            inner = [_expression(part.strip()) for part in parts]
            return word.join(f"({part})" if " " in part and word not in part else part for part in inner)
    return _spdx_name(name)


def _is_name(name: str) -> bool:
    return all(SHORT_NAME.fullmatch(atom) for atom in re.split(r",? (?:and|or) ", name, flags=re.IGNORECASE))


def _atoms(name: str) -> list[str]:
    if not _is_name(name):
        return [name]
    return [atom.strip() for atom in re.split(r",? (?:and|or) ", name, flags=re.IGNORECASE)]


def _spdx_name(atom: str) -> str:
    """SPDX's identifier for one of Debian's short names, else a LicenseRef made from it."""
    if known := SPDX_NAMES.get(atom.lower()):
        return known
    if gnu := GNU.fullmatch(atom):
        family, version = gnu[1].upper(), f"{gnu[2]}.{gnu[3] or '0'}"
        if version in GNU_VERSIONS[family]:
            return f"{family}-{version}-{'or-later' if gnu[4] in ('+', '-or-later') else 'only'}"
    if not SHORT_NAME.fullmatch(atom):
        return f"LicenseRef-Debian-{hashlib.sha256(atom.encode()).hexdigest()[:12]}"
    return "LicenseRef-Debian-" + re.sub(r"[^A-Za-z0-9.-]+", "-", atom.replace("+", "-or-later")).strip("-")
