"""Search the files of an image by name: what is found comes while the search goes on."""

import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from imaging.errors import CancelledError, RescueError
from imaging.fileview import MOST_HITS, Hit, Hits, Where
from imaging.tree import Entry, EntryKind
from rescue.aside import aside
from rescue.backend import Files
from rescue.files import Marks, ending, entry_row, marked_words, path_words
from rescue.formats import clean, format_count
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, text
from rescue.telling import told
from rescue.widgets.line import Line
from rescue.widgets.pages import Pages


class FileSearchScreen(RescueScreen):
    """A field, and below it what has those words in its name."""

    HEADING = N_("Copy files out of an image - search by name")
    KEYS = N_("Enter search, go there  Space mark  Tab other words  Esc back  F1 help")
    ABOUT = N_("""
Type a part of a name and press Enter: the whole volume is searched, and
what is found is listed meanwhile. Large and small letters are the same.

  Enter   in the list: to the folder that it is in
  Space   mark it, to be copied
  Tab     back to the field
  Esc     stop the search; then back to the folders""")
    BINDINGS: ClassVar[list[BindingType]] = [("down", "list")]
    DEFAULT_CSS = """
    FileSearchScreen #marked, FileSearchScreen #found { height: 1; padding: 0 1; }
    FileSearchScreen #marked { text-style: bold; }
    FileSearchScreen .confirm { margin: 1 1 0 1; }
    """

    def __init__(
        self,
        files: Files,
        marks: Marks,
        *,
        mark: Callable[[Where, Entry], None],
        go: Callable[[Where], None],
    ) -> None:
        super().__init__()
        self.files = files
        self.marks = marks
        self.mark = mark
        self.go = go
        self.hits: list[Hit] = []
        self.stop = threading.Event()
        self.searching = False
        self.told = ""

    def body(self) -> ComposeResult:
        """The field, how far it is, what was found, what is marked."""
        with Horizontal(classes="confirm"):
            yield Static(Content(_("Its name holds: [")), classes="ask", markup=False)
            yield Line(compact=True, id="words")
            yield Static(Content("]"), classes="end", markup=False)
        yield text("", id="found")
        yield Pages(id="files")
        yield text("", id="marked")

    def on_mount(self) -> None:
        """The field has the focus."""
        self.query_one(Input).focus()
        self.marks.watchers.append(self.show_marks)
        self.show_marks()

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self.stop.set()
        self.marks.watchers.remove(self.show_marks)

    def on_input_submitted(self) -> None:
        """Enter: search."""
        words = self.query_one(Input).value
        if not words:
            return
        self.stop.set()
        self.stop = threading.Event()
        self.hits, self.searching = [], True
        self.query_one(Pages).show_page([], 0, 0, 0)
        self.say("found", _("Searching .."))
        self.query_one(Pages).focus()
        self.run_worker(self.search(words, self.stop), group="search")

    async def search(self, words: str, stop: threading.Event) -> None:
        """Search, and show what is found as it comes."""

        def found(hits: Hits) -> None:
            self.app.call_from_thread(self.take, hits, stop)

        try:
            await aside(partial(self.files.search, words, found, stop))
        except CancelledError:
            pass
        except RescueError as error:
            if self.is_attached and stop is self.stop:
                self.searching = False
                self.say("found", clean(told(error.message)))
            return

    def take(self, hits: Hits, stop: threading.Event) -> None:
        """More was found, or more was looked at."""
        if stop is not self.stop or stop.is_set() or not self.is_attached:
            return
        pages = self.query_one(Pages)
        self.hits += hits.hits
        self.searching = not hits.ended
        if hits.hits and (pages.option_count < pages.rows or not pages.total):
            self.show(pages.start, pages.line)
        else:
            pages.total = len(self.hits)
        self.say_found(hits.seen)

    def say_found(self, seen: int) -> None:
        """How far it is."""
        count = len(self.hits)
        found = _("{count} found").format(count=format_count(count))
        if self.searching:
            words = _("{found}, searching: {seen} looked at .. Esc stops it")
        elif count >= MOST_HITS:
            words = _("{found}; there may be more: use a longer word")
        else:
            words = _("{found}, {seen} looked at")
        self.say("found", words.format(found=found, seen=format_count(seen)))

    def show(self, start: int, cursor: int) -> None:
        """A page of what was found."""
        pages = self.query_one(Pages)
        start = min(start, max(0, len(self.hits) - 1))
        pages.show_page(self.rows(start), start, len(self.hits), cursor)

    def rows(self, start: int) -> list[str]:
        """Its lines: paths, of which the end tells most."""
        width = self.size.width - 3
        return [
            entry_row(
                hit.entry, marked=(*hit.where, hit.entry.name) in self.marks, width=width, name=hit_name(hit, width)
            )
            for hit in self.hits[start : start + self.query_one(Pages).rows]
        ]

    def show_marks(self) -> None:
        """Boxes and figures follow the marks."""
        pages = self.query_one(Pages)
        pages.redraw(self.rows(pages.start)[: pages.option_count])
        self.say("marked", marked_words(self.marks))

    def on_resize(self) -> None:
        """A page is as long as there is room for."""
        self.call_after_refresh(self.fit)

    def fit(self) -> None:
        """The same entry, on a page of another length."""
        pages = self.query_one(Pages)
        place = pages.start + pages.line
        start = place // pages.rows * pages.rows
        self.show(start, place - start)

    def on_pages_turned(self, event: Pages.Turned) -> None:
        """Another page."""
        self.show(event.start, event.cursor)

    def on_pages_marked(self, event: Pages.Marked) -> None:
        """Space."""
        place = self.query_one(Pages).start + event.line
        if place < len(self.hits):
            hit = self.hits[place]
            self.mark((*hit.where, hit.entry.name), hit.entry)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: to its folder."""
        event.stop()
        place = self.query_one(Pages).start + event.option_index
        if place < len(self.hits):
            hit = self.hits[place]
            self.stop.set()
            self.dismiss()
            self.go((*hit.where, hit.entry.name))

    def action_list(self) -> None:
        """From the field to the list."""
        self.query_one(Pages).focus()

    def action_back(self) -> None:
        """Esc: stop the search; once more, back."""
        if self.searching:
            self.stop.set()
            self.searching = False
            count = format_count(len(self.hits))
            self.say("found", _("{count} found; the search was stopped.").format(count=count))
        else:
            self.dismiss()


def hit_name(hit: Hit, width: int) -> str:
    """The path of what was found, its beginning cut off where it is too long."""
    room = max(10, width - 35)
    path = path_words((*hit.where, hit.entry.name))
    return ending(path + ("/" if hit.entry.kind is EntryKind.FOLDER else ""), room)
