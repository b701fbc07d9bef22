"""Copy files out of an image: what is in the folders of a volume."""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer
from textual.widgets import OptionList

from imaging.errors import CancelledError, RescueError
from imaging.fileview import Order, Page, Tally, Where
from imaging.imageplans import FilesPlan
from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image
from imaging.tree import Entry, EntryKind
from rescue.aside import aside
from rescue.backend import Files
from rescue.files import DATE, SIZE, Marks, detail_lines, ending, entry_row, marked_words, path_words, row
from rescue.formats import cells, clean, format_count
from rescue.language import N_, _
from rescue.screens.base import Notice, Question, RescueScreen, text
from rescue.screens.filecopy import FileTargetScreen
from rescue.screens.filesearch import FileSearchScreen
from rescue.shelf import Item
from rescue.telling import told
from rescue.widgets.pages import Pages

PATIENCE = 0.7
"""Seconds after which it is said that a folder is being read."""
ORDERS = {Order.NAME: N_("by name"), Order.SIZE: N_("by size"), Order.DATE: N_("by date")}


class FilesScreen(RescueScreen):
    """The folders of a volume, a page at a time."""

    HEADING = N_("Copy files out of an image")
    KEYS = N_("Enter open  Space mark  c copy  / search  o order  Esc up  F1 help")
    ABOUT = N_("""
Mark the files and folders that you want with the space bar; a folder is
copied with all that is in it. Then press c: you choose where to, and see
what will be copied before anything is written.

  Enter      open the folder; of a file, all that is known of it
  Space      mark it, or take the mark away
  c          copy what is marked
  /          search the whole volume for a name
  o          order by name, by size, by date
  u          take all marks away
  Backspace  the folder above this one; Esc does so, too
  PgUp, PgDn a page; Home, End to the beginning, to the end""")
    BINDINGS: ClassVar[list[BindingType]] = [
        ("c", "copy"),
        ("slash", "search"),
        ("o", "order"),
        ("u", "unmark"),
        ("backspace,left", "up"),
    ]
    DEFAULT_CSS = """
    FilesScreen #where, FilesScreen #marked { height: 1; padding: 0 1; }
    FilesScreen #marked { text-style: bold; }
    """

    def __init__(self, item: Item, image: Image, volume: OpenVolume, unlocked: Sequence[str]) -> None:
        super().__init__()
        self.source = item
        self.image = image
        self.volume = volume
        self.unlocked = tuple(unlocked)
        """The encrypted volumes that have to be opened for it, in that order."""
        self.marks = Marks()
        self.path: Where = ()
        self.order = Order.NAME
        self.page: Page | None = None
        self.files: Files | None = None
        self.leaving = threading.Event()
        self.patience: Timer | None = None
        """Says that a folder takes long."""
        self.stops: dict[Where, threading.Event] = {}
        """What stops the counting of a folder."""

    def body(self) -> ComposeResult:
        """Where this is, the page, what is marked."""
        yield text(_("Opening the image .."), id="where")
        yield text("", id="columns")
        yield Pages(id="files")
        yield text("", id="marked")

    def on_mount(self) -> None:
        """Open it."""
        self.query_one(Pages).focus()
        self.marks.watchers.append(self.show_marks)
        self.look(self.open_files, lambda _files: self.opened())

    def open_files(self) -> Files:
        """Mount the volume; what nobody waits for any more is let go of."""
        files = self.backend.open_files(self.source.library, self.image.id, self.volume.name, self.unlocked)
        self.files = files
        if self.leaving.is_set():
            files.close()
        return files

    def opened(self) -> None:
        """Show its root."""
        self.show_marks()
        self.ask(())

    def on_unmount(self) -> None:
        """Let go of the volume."""
        self.leaving.set()
        self.stop_counting()
        if self.files is not None:
            self.files.close()

    def stop_counting(self) -> None:
        """Nothing is counted any more."""
        for stop in self.stops.values():
            stop.set()

    def unanswered(self, error: RescueError) -> None:
        """A page did not come: the one that is there stays."""
        self.query_one(Pages).stay()
        if self.patience is not None:
            self.patience.stop()
        if self.page is None:
            self.say("where", clean(told(error.message)))
        else:
            self.show_where()

    def ask(self, path: Where, start: int = 0, cursor: int = 0, at: bytes = b"") -> None:
        """Read a page of a folder, and show it; with `at`, the one on which that name stands, and the cursor on it."""
        files, pages = self.files, self.query_one(Pages)
        if files is None:
            return
        order = self.order
        if self.patience is not None:
            self.patience.stop()
        patience = self.patience = self.set_timer(PATIENCE, lambda: self.say("where", _("Reading the folder ..")))

        def then(page: Page) -> None:
            patience.stop()
            self.path, self.page = path, page
            names = [entry.name for entry in page.entries]
            self.show_page(names.index(at) if at in names else cursor)

        self.look(partial(files.page, path, order, start, pages.rows, at), then)

    def show_page(self, cursor: int) -> None:
        """The page as it is now."""
        page, pages = self.page, self.query_one(Pages)
        if page is None:
            return
        width = self.size.width - 3
        heads = (_("Name"), _("Size"), _("Date (UTC)"))
        self.say("columns", row("", heads[0], heads[1].rjust(SIZE), heads[2].ljust(DATE), width))
        pages.show_page(self.rows(page), page.start, page.total, cursor)
        self.show_where()

    def rows(self, page: Page) -> list[str]:
        """Its lines."""
        width = self.size.width - 3
        return [entry_row(one, marked=(*self.path, one.name) in self.marks, width=width) for one in page.entries]

    def show_where(self) -> None:
        """The folder, and which part of it."""
        page = self.page
        if page is None:
            return
        first, last, total = page.start + 1, page.start + len(page.entries), page.total
        part = _("{first}-{last} of {total}, {order}").format(
            first=format_count(first), last=format_count(last), total=format_count(total), order=_(ORDERS[self.order])
        )
        part = part if total else _("This folder is empty.")
        name = f"{clean(self.volume.name)}: {path_words(self.path)}"
        self.say("where", f"{ending(name, self.size.width - cells(part) - 5)}   {part}")

    def show_marks(self) -> None:
        """Boxes and figures follow the marks."""
        if self.page is not None:
            self.query_one(Pages).redraw(self.rows(self.page))
        self.say("marked", marked_words(self.marks))

    def on_resize(self) -> None:
        """A page is as long as there is room for."""
        self.call_after_refresh(self.fit)

    def fit(self) -> None:
        """The same entry, on a page of another length."""
        pages, page = self.query_one(Pages), self.page
        if page is None:
            return
        place = page.start + pages.line
        start = place // pages.rows * pages.rows
        if start != page.start or len(page.entries) != min(pages.rows, page.total - start):
            self.ask(self.path, start, place - start)
        else:
            self.show_page(pages.line)

    def on_pages_turned(self, event: Pages.Turned) -> None:
        """Another page."""
        self.ask(self.path, event.start, event.cursor)

    def on_pages_marked(self, event: Pages.Marked) -> None:
        """Space."""
        if self.page is not None and event.line < len(self.page.entries):
            entry = self.page.entries[event.line]
            self.mark((*self.path, entry.name), entry)

    def mark(self, path: Where, entry: Entry) -> None:
        """Mark it or take its mark away; a folder is counted."""
        if not self.marks.toggle(path, entry):
            self.app.push_screen(Notice(_("A folder that this is in is marked: it is copied with that.")))
            return
        for there in [there for there in self.stops if there not in self.marks.tallies]:
            self.stops.pop(there).set()
        if path in self.marks.tallies and entry.kind is EntryKind.FOLDER:
            stop = self.stops[path] = threading.Event()
            self.run_worker(self.count(path, stop), group="count")

    async def count(self, path: Where, stop: threading.Event) -> None:
        """Find out how much a folder is."""
        files = self.files
        if files is None:
            return
        try:
            tally = await aside(partial(files.tally, path, stop))
        except CancelledError:
            return
        except RescueError:
            tally = Tally(folders=1, lost=1)
        if self.is_attached and not stop.is_set():
            self.marks.count(path, tally)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: into a folder, or what there is to know of anything else."""
        event.stop()
        page = self.page
        if page is None or event.option_index >= len(page.entries):
            return
        entry = page.entries[event.option_index]
        path = (*self.path, entry.name)
        if entry.kind is EntryKind.FOLDER and not entry.problem:
            self.ask(path)
        else:
            self.app.push_screen(Notice("\n".join(detail_lines(path, entry))))

    def action_up(self) -> None:
        """The folder above, with the cursor on this one."""
        if self.path:
            self.ask(self.path[:-1], at=self.path[-1])

    def action_back(self) -> None:
        """Esc: up, and from the root back; marks are not lost without a question."""
        if self.path and self.page is not None:
            self.action_up()
        elif self.marks.tallies:
            words = _("Leave these files? What is marked will be forgotten; nothing was copied.")
            self.open(Question(words, yes=_("leave"), no=_("stay")), self.left)
        else:
            super().action_back()

    def left(self, agreed: bool | None) -> None:
        """Leave, where that was the answer."""
        if agreed:
            self.dismiss()

    def action_order(self) -> None:
        """o: the next order, from its beginning."""
        orders = list(Order)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.ask(self.path)

    def action_unmark(self) -> None:
        """u: nothing is marked."""
        self.stop_counting()
        self.marks.tallies.clear()
        self.marks.tell()

    def action_search(self) -> None:
        """/: by name."""
        if self.files is not None:
            self.open(FileSearchScreen(self.files, self.marks, mark=self.mark, go=self.go))

    def go(self, path: Where) -> None:
        """To something that was found: its folder, with the cursor on it."""
        self.ask(path[:-1], at=path[-1])

    def action_copy(self) -> None:
        """c: where to?"""
        if self.marks.tallies:
            self.open(FileTargetScreen(self.plan_for, self.marks))
        else:
            self.app.push_screen(Notice(_("Nothing is marked. Mark files and folders with the space bar first.")))

    def plan_for(self, target: Path) -> FilesPlan:
        """What is marked, into a folder; raises BadImageError, RefusedError."""
        return self.backend.plan_files(
            self.source.library, self.image, self.volume, self.marks.paths, target, self.unlocked
        )
