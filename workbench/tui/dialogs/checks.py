"""The panel of the checks: what they found, what to do about it, and how far they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.pairs.checks.catalog import CHECKS, NEEDS_MODEL
from workbench.pairs.checks.findings import Finding
from workbench.pairs.checks.repairs import REPAIRS, Repair, repair_for
from workbench.pairs.checks.running import PairChecks
from workbench.text import one_line
from workbench.tui import figures
from workbench.tui.background import background
from workbench.tui.dialogs.base import Dialog
from workbench.tui.dialogs.checks_model import ChecksModelDialog
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.widgets.finding_list import FindingList, details
from workbench.tui.widgets.length_bars import LengthBars

_BEAT = 0.2
_ROOMY = 34
_BAR = 24


@dataclass(frozen=True, slots=True)
class ShowFinding:
    """Show the pairs that a check named: by this query."""

    query: str
    check: str


@dataclass(frozen=True, slots=True)
class DoRepair:
    """Do this repair: it was confirmed."""

    repair: Repair


class ChecksDialog(Dialog[ShowFinding | DoRepair | None]):
    """Starts the checks where they never ran; they go on when it is closed. `name` is the data set's.

    `peek` gives the first words of the pair with an id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "dismiss(None)", "Close"),
        Binding("enter", "show", "Show the pairs"),
        Binding("f,r", "repair", "Mend"),
        Binding("R", "again", "Check again"),
        Binding("M", "model", "With a model's tokens"),
        Binding("X", "cancel", "Stop the checks"),
        Binding("J,shift+down", "scroll(3)", "Scroll the details down", show=False),
        Binding("K,shift+up", "scroll(-3)", "Scroll the details up", show=False),
    ]
    DEFAULT_CSS = """
    ChecksDialog {
        #panel {
            width: 124; max-width: 94%; height: 94%; padding: 1 2; background: $surface; border: round $accent;
        }
        #title { text-style: bold; }
        #state { height: auto; margin-bottom: 1; }
        FindingList { height: auto; max-height: 14; margin-bottom: 1; }
        #details { height: 1fr; min-height: 2; scrollbar-size-vertical: 1; }
        #details Static { height: auto; }
        LengthBars { margin: 1 0; }
        #keys { height: 1; text-wrap: nowrap; text-overflow: ellipsis; color: $secondary; }
        &.-small #panel { padding: 0 2; }
        &.-small FindingList { max-height: 6; }
        &.-small LengthBars { margin: 1 0 0 0; }
    }
    """

    def __init__(self, checks: PairChecks, name: str, *, peek: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._checks, self._data_set, self._peek = checks, name, peek
        self._version = -1
        self._detailed = ""

    def compose(self) -> ComposeResult:
        """State, findings, the one under the cursor, lengths."""
        with Vertical(id="panel"):
            yield Static(f"Checks of {one_line(self._data_set, 40)}", markup=False, id="title")
            yield Static(id="state", markup=False)
            yield FindingList()
            with VerticalScroll(id="details", can_focus=False):
                yield Static(markup=False)
            yield LengthBars()
            yield Static(markup=False, id="keys")

    def on_mount(self) -> None:
        """Begins where nothing ran, and follows."""
        self.query_one(FindingList).focus()
        if self._checks.state == "none":
            self._checks.start()
        self._follow()
        self.set_interval(_BEAT, self._follow)

    def on_resize(self) -> None:
        """What there is room for."""
        self.set_class(self.size.height < _ROOMY, "-small")
        self._show_lengths()

    # Showing

    def _follow(self) -> None:
        if self._version == self._checks.version:
            return
        self._version = self._checks.version
        found = self.query_one(FindingList)
        found.display = bool(self._checks.findings)
        found.show(self._checks.findings)
        self.query_one("#state", Static).update(state_line(self._checks))
        self._show_details()

    @on(OptionList.OptionHighlighted)
    def _show_details(self) -> None:
        finding = self.query_one(FindingList).finding
        box = self.query_one("#details Static", Static)
        if finding is not None:
            bars = self.has_class("-small")
            box.update(details(finding, repair_for(finding), self._peek, bars_in=box.size.width if bars else 0))
        elif self._checks.state == "done":
            box.update(_looked_for(self._checks))
        else:
            box.update("")
        check = finding.check if finding is not None else ""
        if check != self._detailed:
            self._detailed = check
            self.query_one("#details").scroll_home(animate=False)
        self._show_lengths()
        self.query_one("#keys", Static).update(self._keys())

    def _show_lengths(self) -> None:
        report = self._checks.report
        # Before the report is there the finding has the same figures, if there is one.
        known = (each.figures for each in self._checks.findings if each.check == "length-bias")
        lengths = report.lengths if report is not None else next(known, {})
        bars = self.query_one(LengthBars)
        bars.display = bool(lengths.get("pairs"))
        bars.show(lengths, full=not self.has_class("-small"))

    def _keys(self) -> Content:
        checks, finding = self._checks, self.query_one(FindingList).finding
        keys = []
        if finding is not None:
            keys.append(("enter", "shows the pairs"))
            if finding.check in REPAIRS and _repair(finding) is not None:
                keys.append(("f", "mends"))
        keys.append(("X", "stops") if checks.running else ("R", "again"))
        keys += [("M", "model"), ("esc", "hides" if checks.running else "closes")]
        parts: list[str | tuple[str, str]] = []
        for key, does in keys:
            parts += [" · " if parts else "", (key, "$accent"), f" {does}"]
        return Content.assemble(*parts)

    # Keys

    @on(OptionList.OptionSelected)
    def action_show(self) -> None:
        """Shows the pairs that the finding under the cursor names."""
        finding = self.query_one(FindingList).finding
        if finding is not None:
            self.dismiss(ShowFinding(f"finding:{finding.check}", finding.check))

    @background("dialog", doing="mending a finding", exclusive=True, opens=True)
    async def action_repair(self) -> None:
        """Mends the finding under the cursor, after asking."""
        finding = self.query_one(FindingList).finding
        repair = _repair(finding) if finding is not None else None
        if finding is None or repair is None:
            if finding is not None:
                self.notify("No safe repair for this one: enter shows the pairs, to decide on each.", markup=False)
            return
        detail = f"{REPAIRS[finding.check][0].upper()}{REPAIRS[finding.check][1:]}. One step: u takes all of it back."
        if self._checks.stale:
            detail += " The data set was changed since it was checked."
        if await self.app.push_screen_wait(ConfirmDialog(repair.question, detail, yes="Mend", no="Leave")):
            self.dismiss(DoRepair(repair))

    def action_again(self) -> None:
        """Checks again, in the same way."""
        self._checks.start(self._checks.model, self._checks.max_length)
        self._follow()

    @background("dialog", doing="choosing the tokens of the checks", exclusive=True, opens=True)
    async def action_model(self) -> None:
        """Checks again with the tokens of a model."""
        answer = await self.app.push_screen_wait(ChecksModelDialog(self._checks.model, self._checks.max_length))
        if answer is not None:
            self._checks.start(answer.model, answer.max_length)
            self._follow()

    def action_scroll(self, lines: int) -> None:
        """Scrolls what is said of the finding."""
        self.query_one("#details").scroll_relative(y=lines, animate=False)

    def action_cancel(self) -> None:
        """Stops the checks; what was found stays."""
        self._checks.cancel()
        self._follow()


def state_line(checks: PairChecks) -> Content:
    """How far the checks are, or what came of them."""
    model = (
        f" with the tokens of {one_line(checks.model, 30)}, max_length {checks.max_length:,}" if checks.model else ""
    )
    if checks.running:
        progress = checks.progress
        filled, rest = figures.bar(progress.overall, _BAR)
        doing = f"  {progress.overall:4.0%}  {progress.check or 'reading'}"
        so_far = f" · {_plural(len(checks.findings), 'finding')} so far" if checks.findings else ""
        return Content.assemble((filled, "$accent"), (rest, "$border"), doing, (so_far, "$secondary"))
    if checks.state == "failed" and checks.error is not None:
        error = checks.error
        return Content.assemble(
            (f"✘ {one_line(error.title)}", "$error"),
            f"\n{one_line(error.message)}\n",
            (one_line(error.hint), "$secondary"),
        )
    parts: list[str | tuple[str, str]] = []
    if checks.report is not None:
        checked, left_out = checks.report.checked, checks.report.rows - checks.report.checked
        found = len(checks.findings)
        said = f"{_plural(found, 'finding')} in " if found else "Nothing found in "
        parts += [] if found else [("✔ ", "$success")]
        parts += [(said, "bold"), (_plural(checked, "pair"), "bold"), model]
        if left_out:
            parts.append((f" ({left_out:,} dropped left out)", "$secondary"))
    else:
        parts += [("▲ stopped", "$warning"), ": what was found until then is shown; R checks again"]
    if checks.stale:
        parts.append((f"\n{_plural(checks.edits, 'edit')} since; R checks again", "$warning"))
    return Content.assemble(*parts)


def _looked_for(checks: PairChecks) -> Content:
    names = [name for name in CHECKS if checks.model is not None or name not in NEEDS_MODEL]
    more: tuple[str | tuple[str, str], ...] = (
        ("\n\nM", "bold $accent"),
        " looks at tokens too: what max_length cuts off, and whether responses end.",
    )
    return Content.assemble(
        f"Every pair passed all {len(names)} checks:\n",
        ("; ".join(CHECKS[name] for name in names) + ".", "$secondary"),
        *(() if checks.model else more),
    )


def _repair(finding: Finding) -> Repair | None:
    repair = repair_for(finding)
    return repair if repair is not None and repair.ids else None


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
