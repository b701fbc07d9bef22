"""Words in the language of the screen: catalogues in step with the code, and messages of the engine."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imaging import planner
from imaging.disk import Content
from imaging.jobs import JobState
from imaging.manifest import InnerVolume
from rescue import language, telling
from rescue.telling import CONTEXT, TEMPLATES, Template, told
from tests.catalogue.__main__ import compiled, missing, read, sources
from tests.catalogue.extract import CHECKOUT, catalogue, engine, templates
from tests.catalogue.unmarked import unmarked
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, a_volume, an_imaged_disk

UPDATE = "run python -m tests.catalogue"


@pytest.fixture
def german(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A catalogue of three messages."""
    known = {
        (CONTEXT, "{path} cannot be read: {strerror}"): "{path} ist nicht lesbar: {strerror}",
        (CONTEXT, "it is read-only"): "er ist schreibgesch\u00fctzt",
        (CONTEXT, "Everything is right."): "Alles stimmt.",
    }
    monkeypatch.setattr(language, "_spoken", "xx")
    monkeypatch.setattr(telling, "templates", lambda: tuple(Template.of(words) for _, words in known if "{" in words))
    monkeypatch.setattr(language, "pgettext", lambda context, words: known.get((context, words), words))
    yield


@pytest.mark.usefixtures("german")
@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("it is read-only", "er ist schreibgesch\u00fctzt"),
        ("/dev/sda cannot be read: Input/output error", "/dev/sda ist nicht lesbar: Input/output error"),
        ("sda cannot be read: it is read-only", "sda ist nicht lesbar: er ist schreibgesch\u00fctzt"),
        ("Everything is right. Everything is right.", "Alles stimmt. Alles stimmt."),
        ("nothing of the kind", "nothing of the kind"),
        ("{0} cannot be read: {x.__class__}", "{0} ist nicht lesbar: {x.__class__}"),
        ("", ""),
    ],
)
def test_a_message_of_the_engine_is_shown_in_the_language_of_the_screen(message: str, shown: str) -> None:
    assert told(message) == shown


def test_in_english_a_message_is_what_it_was() -> None:
    assert language.spoken() == language.ENGLISH
    assert told("/dev/sda cannot be read: Input/output error") == "/dev/sda cannot be read: Input/output error"


@pytest.mark.usefixtures("german")
def test_a_very_long_message_is_not_looked_into() -> None:
    message = "cannot be read: " * 10_000
    assert told(message) == message


def test_a_template_says_each_name_once() -> None:
    with pytest.raises(ValueError, match="bear one name"):
        Template.of("{disk} and {disk}")


def test_the_list_of_templates_is_in_step_with_the_engine() -> None:
    assert TEMPLATES.read_text(encoding="utf-8") == templates(), UPDATE


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.parent.parent.name)
class TestCatalogue:
    """Each language."""

    def test_it_holds_what_the_code_says_and_nothing_else(self, path: Path) -> None:
        here = {(message.context, message.id) for message in read(path)}
        assert here == {(message.context, message.id) for message in catalogue()}, UPDATE

    def test_nothing_is_missing_in_it(self, path: Path) -> None:
        assert missing(read(path)) == [], UPDATE

    def test_it_is_compiled(self, path: Path) -> None:
        assert path.with_suffix(".mo").read_bytes() == compiled(read(path)), UPDATE

    def test_it_is_the_same_whenever_it_is_compiled(self, path: Path) -> None:
        words, later = read(path), read(path)
        later.creation_date = datetime(2030, 1, 1, tzinfo=UTC)
        assert compiled(words) == compiled(later)

    def test_a_translation_has_the_places_of_its_message(self, path: Path) -> None:
        for message in read(path):
            forms = message.string if isinstance(message.string, (tuple, list)) else [message.string]
            ids = message.id if isinstance(message.id, (tuple, list)) else [message.id]
            wanted = set().union(*(re.findall(r"\{\w+\}", words) for words in ids))
            for form in forms:
                if form and message.id:
                    assert set(re.findall(r"\{\w*\}", form)) <= wanted, message.id
                    assert message.pluralizable or set(re.findall(r"\{\w+\}", form)) == wanted, message.id

    def test_a_template_is_told_as_its_own_translation(self, path: Path) -> None:
        language.use(path.parent.parent.name)
        for words in (said.words for said in engine()):
            for value in ("sda", "/a b/c.img", "12"):
                names = re.findall(r"\{(\w+)\}", words)
                places = {name: "3" if name.startswith("number") else value for name in names}
                assert told(words.format_map(places)) == language.pgettext(CONTEXT, words).format_map(places)


@pytest.mark.parametrize(
    "kind", ["ntfs", "exfat", "BitLocker", "crypto_LUKS", "linux_raid_member", "f2fs", "zfs_member"]
)
@pytest.mark.parametrize("lvm", [False, True])
def test_why_a_disk_of_other_sectors_is_refused_is_translated_to_its_end(kind: str, lvm: bool) -> None:
    part = a_partition(2, MIB, GIB)
    inner = (
        (InnerVolume(name="g/root", size=MIB, used=0, map_origin="rescue", content=Content(kind=kind)),) if lvm else ()
    )
    volume = a_volume(part, "LVM2_member" if lvm else kind, inner=inner)
    source = an_imaged_disk(table=a_table(part), volumes=(volume,))
    why = planner.why_not_target(a_disk(logical_sector=4096), source, any_sectors=True)
    language.use("de")
    assert told(why).startswith("die Sektoren haben 4096 Bytes, die des Abbilds 512; Partition 2")
    assert not re.search(r"\b(the|it|is|of|von the|whose|that)\b", told(why))


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de_DE.UTF-8"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en_GB.UTF-8"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "C"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": ""}, "fr_FR.UTF-8"),
        ({}, "en"),
    ],
)
def test_the_command_line_speaks_what_the_environment_asks_for(environ: dict[str, str], asked: str) -> None:
    assert language.of_environment(environ) == asked
    language.use(asked)
    assert language.spoken() in language.languages()


def test_errors_that_rescue_raises_are_translated_as_the_engines_are() -> None:
    said = {said.words for said in engine()}
    assert "give its folder with --library DIR" in said
    assert "disk {name} was given two targets" in said


@pytest.mark.parametrize("state", list(JobState))
def test_each_state_of_a_job_has_a_word_in_german(state: JobState) -> None:
    language.use("de")
    assert language._(state) != state


@pytest.mark.parametrize("path", sorted((CHECKOUT / "rescue").rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_person_reads_is_marked_for_translation(path: Path) -> None:
    assert list(unmarked(path)) == []


def test_words_that_are_not_marked_are_found(tmp_path: Path) -> None:
    source = tmp_path / "screen.py"
    source.write_text(
        '"""A docstring with words."""\n'
        'marked = _("These words are marked")\n'
        'text("These words are not")\n'
        'text(f"{count} chunks here")\n'
        "text(f\"{one}, {_('these are')}\")\n"
        'KEYS = "Enter"\n'
    )
    assert [found.partition(":")[0] for found in unmarked(source)] == ["3", "4", "6"]


def test_a_terminal_that_gets_ascii_alone_has_german_letters_spelt_out() -> None:
    language.use("de")
    assert (language._("Jobs"), told("no medium found")) == ("Auftr\u00e4ge", "no medium found")
    language.spell_out(True)
    assert language._("Jobs") == "Auftraege"
    assert language._("ERASED: {disk}") == "UEBERSCHRIEBEN: {disk}"
    assert language.ngettext("{count} image", "{count} images", 2) == "{count} Abbilder"
    assert told("sda cannot be opened: Device or resource busy").isascii()
