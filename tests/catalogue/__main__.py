"""Bring the catalogues up to date with the code.

    .venv/bin/python -m tests.catalogue

What is new comes in without a translation, what is gone goes, and what is translated is compiled. Then translate what
`msgstr ""` is left in rescue/locale/<language>/LC_MESSAGES/rescue.po, and run it once more.
"""

import io
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from rescue.language import CATALOGUES, DOMAIN
from rescue.telling import TEMPLATES
from tests.catalogue.extract import catalogue, templates

WIDTH = 118
DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""Of all compiled catalogues."""


def sources() -> list[Path]:
    """The catalogues that there are."""
    return sorted(CATALOGUES.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


def read(path: Path) -> Catalog:
    """One catalogue."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def compiled(words: Catalog) -> bytes:
    """What gettext reads; the same for the same words, whenever it is made."""
    # What has no date gets that of now from Babel, and would be another file each minute.
    words.creation_date = DATE
    out = io.BytesIO()
    write_mo(out, words)
    return out.getvalue()


def rendered(words: Catalog) -> bytes:
    """A catalogue as it is kept: sorted by file, without dates, so that only what changes differs."""
    out = io.BytesIO()
    write_po(out, words, width=WIDTH, omit_header=True, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    header = b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    plural = f'"Plural-Forms: {words.plural_forms}\\n"\n\n'.encode()
    return header + plural + out.getvalue()


def missing(words: Catalog) -> list[str]:
    """What has no translation yet, or an unsure one."""

    def whole(translation: object) -> bool:
        return all(translation) if isinstance(translation, (tuple, list)) else bool(translation)

    return [str(message.id) for message in words if message.id and (message.fuzzy or not whole(message.string))]


def main() -> int:
    """Update all."""
    TEMPLATES.parent.mkdir(exist_ok=True)
    TEMPLATES.write_text(templates(), encoding="utf-8")
    for path in sources():
        words = read(path)
        words.update(catalogue(), no_fuzzy_matching=True)
        path.write_bytes(rendered(words))
        path.with_suffix(".mo").write_bytes(compiled(read(path)))
        print(f"{path.parent.parent.name}: {len(missing(words))} of {len(words)} messages have no translation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
