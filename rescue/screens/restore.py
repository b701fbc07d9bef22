"""Restore, third step: what will be erased and written, and the disk's name typed to confirm it."""

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from imaging.plan import RestorePlan
from rescue.chosen import doomed
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.widgets.act import Act, Acts
from rescue.widgets.confirm import Confirm

LOUD = frozenset({"ERASED", "CREATED"})


def emphasised(line: str) -> Content:
    """A line of the plan; the word that says what is lost stands out without colour."""
    word, colon, rest = line.partition(":")
    loud = bool(colon) and word in LOUD
    return Content.assemble((f" {word} ", "bold reverse"), f"{colon}{rest}") if loud else Content(line)


class RestorePlanScreen(RescueScreen):
    """The last screen before anything is erased. An empty field is harmless, so the focus may start there."""

    HEADING = "Restore - read this before you go on"
    KEYS = "Type the name, then Enter   PgUp/PgDn scroll   Esc back   F1 help"
    ABOUT = """
This is what will be done. Everything under ERASED is lost.

Compare the model, the serial number and the size with the disk that you
mean. To go on, type the disk's name or its serial number and press Enter
(for one partition its own name, such as sda2, or the serial number and :2);
then the Restore button can be pressed with Enter once more.

Nothing is written until then. Esc goes back."""

    def __init__(self, plan: RestorePlan) -> None:
        super().__init__()
        self.plan = plan

    def body(self) -> ComposeResult:
        """The plan, one field for each target, the buttons."""
        lines = plan_lines(self.plan, self.backend.seconds_expected(self.plan))
        with VerticalScroll(id="plan", can_focus=False):
            yield Static(Content("\n").join(emphasised(line) for line in lines), markup=False)
        with Vertical(id="confirmations"):
            for one in doomed(self.plan, new_ones=True):
                yield Confirm(one)
            yield text("", id="hint")
        yield Acts(Act("Back", id="back"), Act("Restore", id="restore", disabled=True))

    def on_mount(self) -> None:
        """The first field."""
        self.query(Input).first().focus()

    @property
    def confirmed(self) -> bool:
        """Whether every target was named."""
        return all(self.right(field) for field in self.query(Confirm))

    def right(self, field: Confirm) -> bool:
        """Whether what was typed into a field names what it asks for."""
        return self.backend.confirms(field.answer, field.doomed.disk, field.doomed.partition)

    def on_input_changed(self) -> None:
        """The button follows what is typed."""
        self.query_one("#restore", Act).disabled = not self.confirmed
        self.say("hint", "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: to the next field that is not right yet, or to the button."""
        here = next(field for field in self.query(Confirm) if field.query_one(Input) is event.input)
        if not self.right(here):
            what = "disk" if here.doomed.partition is None else "partition"
            self.say("hint", f"That is not the name of this {what}. Nothing was written." if here.answer else "")
            return
        wrong = [field for field in self.query(Confirm) if not self.right(field)]
        if wrong:
            wrong[0].query_one(Input).focus()
        else:
            self.query_one("#restore", Act).focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.dismiss()
        elif self.confirmed:
            self.submit(self.plan)
