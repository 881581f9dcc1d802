"""The panel of the checks: what they found, what to do about it, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench import figures
from workbench.chat_templates import Rendering
from workbench.config import as_typed, rendering
from workbench.errors import WorkbenchError
from workbench.pairs.checks.background import SIGNS, PairChecks
from workbench.pairs.checks.findings import CHECKS, NEEDS_MODEL, CheckFinding, Severity
from workbench.pairs.checks.repairs import REPAIRS, Repair, repair_for
from workbench.text import one_line
from workbench.tui.background import background
from workbench.tui.dialogs.ask import AskDialog, ConfirmDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import Options
from workbench.tui.widgets.lines import MadeLines

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
        #panel { width: 124; max-width: 94%; height: 94%; padding: 1 2; }
        #title { text-style: bold; }
        #state { height: auto; margin-bottom: 1; }
        FindingList { height: auto; max-height: 14; margin-bottom: 1; }
        #details { height: 1fr; min-height: 2; scrollbar-size-vertical: 1; }
        #details Static { height: auto; }
        #lengths { margin: 1 0; color: $foreground; }
        #keys { height: 1; text-wrap: nowrap; text-overflow: ellipsis; color: $secondary; }
        &.-small #panel { padding: 0 2; }
        &.-small FindingList { max-height: 6; }
        &.-small #lengths { margin: 1 0 0 0; }
    }
    """

    def __init__(self, checks: PairChecks, name: str, *, peek: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._checks, self._data_set, self._peek = checks, name, peek
        self._version = -1
        self._detailed = ""

    def compose(self) -> ComposeResult:
        """State, findings, the one under the cursor, lengths."""
        with Vertical(id="panel", classes="frame"):
            yield Static(f"Checks of {one_line(self._data_set, 40)}", markup=False, id="title")
            yield Static(id="state", markup=False)
            yield FindingList()
            with VerticalScroll(id="details", can_focus=False):
                yield Static(markup=False)
            yield MadeLines(id="lengths")
            yield Static(markup=False, id="keys")

    def on_mount(self) -> None:
        """Begins where nothing ran, and follows."""
        self.query_one(FindingList).focus()
        if not self._checks.begun:
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
        listed = self.query_one(FindingList)
        listed.display = bool(self._checks.findings)
        listed.show(self._checks.findings)
        self.query_one("#state", Static).update(state_line(self._checks))
        self._show_details()

    @on(OptionList.OptionHighlighted)
    def _show_details(self) -> None:
        finding = self.query_one(FindingList).finding
        box = self.query_one("#details Static", Static)
        if finding is not None:
            bars = self.has_class("-small")
            box.update(details(finding, repair_for(finding), self._peek, bars_in=box.size.width if bars else 0))
        elif self._checks.report is not None:
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
        bars = self.query_one("#lengths", MadeLines)
        bars.display = bool(lengths.get("pairs"))
        bars.show(partial(length_lines, lengths, not self.has_class("-small")))

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
        self._checks.start(self._checks.model, self._checks.max_length, self._checks.rendering)
        self._follow()

    @background("dialog", doing="choosing the tokens of the checks", exclusive=True, opens=True)
    async def action_model(self) -> None:
        """Checks again with the tokens of a model."""
        model = "tiny" if self._checks.model is None else self._checks.model
        fields = (
            ("model: a folder, a hub id, or tiny; empty for words alone", model, ""),
            ("max_length: tokens that a pair may have in training", str(self._checks.max_length), ""),
            (
                "chat template",
                self._checks.rendering.chat_template,
                "the model's own; a file, or one of TRL's: qwen3 …",
            ),
            ("what it is given", as_typed(self._checks.rendering.template), "enable_thinking=false"),
        )
        dialog = AskDialog("Check with a model's tokens", fields, does="checks again", check=_wrong_tokens)
        answers = await self.app.push_screen_wait(dialog)
        if answers is not None:
            length = int(answers[1].strip().replace(",", ""))
            self._checks.start(answers[0].strip() or None, length, _rendering(answers))
            self._follow()

    def action_cancel(self) -> None:
        """Stops the checks; what was found stays."""
        self._checks.cancel()
        self._follow()


def state_line(checks: PairChecks) -> Content:
    """How far the checks are, or what came of them."""
    model = (
        f" with the tokens of {one_line(checks.model, 30)}, max_length {checks.max_length:,}" if checks.model else ""
    )
    if checks.model and (rendered := str(checks.rendering)):
        model += f", {one_line(rendered, 60)}"
    if checks.running:
        progress = checks.progress
        filled, rest = figures.progress_bar(progress.overall, _BAR)
        doing = f"  {progress.overall:4.0%}  {progress.check or 'reading'}"
        so_far = f" · {figures.plural(len(checks.findings), 'finding')} so far" if checks.findings else ""
        return Content.assemble((filled, "$accent"), (rest, "$border"), doing, (so_far, "$secondary"))
    if checks.error is not None:
        error = checks.error
        return Content.assemble(
            (f"✘ {one_line(error.title)}", "$error"),
            f"\n{one_line(error.message)}\n",
            (one_line(error.hint), "$secondary"),
        )
    parts: list[str | tuple[str, str]] = []
    if checks.report is not None:
        checked, left_out = checks.report.checked, checks.report.rows - checks.report.checked
        count = len(checks.findings)
        said = f"{figures.plural(count, 'finding')} in " if count else "Nothing found in "
        parts += [] if count else [("✔ ", "$success")]
        parts += [(said, "bold"), (figures.plural(checked, "pair"), "bold"), model]
        if left_out:
            parts.append((f" ({left_out:,} dropped or undrafted left out)", "$secondary"))
    else:
        parts += [("▲ stopped", "$warning"), ": what was found until then is shown; R checks again"]
    if checks.stale:
        parts.append((f"\n{figures.plural(checks.edits, 'edit')} since; R checks again", "$warning"))
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


def _repair(finding: CheckFinding) -> Repair | None:
    repair = repair_for(finding)
    return repair if repair is not None and repair.ids else None


STYLES: dict[Severity, str] = {"error": "$error", "warning": "$warning", "note": "$secondary"}
_NAME, _COUNT = 17, 8
_SHOWN, _ID = 5, 24
_PEEKED, _NAMED = 60, 400


class FindingList(Options):
    """Findings by gravity; the cursor stays on its finding while others come."""

    DEFAULT_CSS = """
    FindingList { scrollbar-size-vertical: 1; }
    FindingList:focus { background-tint: $foreground 0%; }
    FindingList > .option-list--option { padding: 0; }
    """

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._findings: Sequence[CheckFinding] = ()

    @property
    def finding(self) -> CheckFinding | None:
        """The finding under the cursor."""
        at = self.highlighted
        return self._findings[at] if at is not None and at < len(self._findings) else None

    def show(self, findings: Sequence[CheckFinding]) -> None:
        """Shows these findings."""
        if findings == self._findings:
            return
        before = self.finding if self._findings and self.highlighted else None
        self._findings = findings
        self._fill()
        checks = [finding.check for finding in findings]
        if findings:
            self.highlighted = checks.index(before.check) if before and before.check in checks else 0

    def on_resize(self, event: events.Resize) -> None:
        """Lines are made for the width."""
        del event
        at = self.highlighted
        self._fill()
        self.highlighted = at

    def _fill(self) -> None:
        width = self.scrollable_content_region.width
        self.clear_options()
        self.add_options([Option(_line(finding, width), id=finding.check) for finding in self._findings])


def _line(finding: CheckFinding, width: int) -> Content:
    head = Content.assemble(
        (f"{SIGNS[finding.severity]} {finding.severity:<9}", STYLES[finding.severity]),
        (f"{finding.check:<{_NAME}}", "bold"),
        f"{finding.count:>{_COUNT},}",
    )
    said = CHECKS.get(finding.check, "")
    room = width - head.cell_length - 2
    return Content.assemble(head, "  ", (one_line(said, max(room, 1)), "$secondary"))


def details(
    finding: CheckFinding, repair: Repair | None, peek: Callable[[str], str] | None = None, *, bars_in: int = 0
) -> Content:
    """The whole message, what to do, what one key would mend, the numbers, and the first few pairs.

    `peek` gives the first words of the pair with an id; `bars_in`: draw the lengths in so many cells.
    """
    lines: list[Any] = [one_line(finding.message), ("\n→ ", "$accent"), one_line(finding.hint)]
    if repair is not None and repair.ids:
        many = figures.plural(len(repair.ids), "pair")
        lines += [("\nf ", "bold $accent"), f"{REPAIRS[finding.check]}: {many} ", ("(u undoes it)", "$secondary")]
    for name, values in finding.figures.items():
        if name in ("reasons", "characters") and values:
            told = " · ".join(f"{one_line(str(reason))} {count:,}" for reason, count in values.items())
            lines += [(f"\n{name}  ", "$secondary"), one_line(told, _NAMED)]
    if bars_in and "histogram" in finding.figures:
        lines += ["\n", *(each for bar in full_bars(finding.figures, bars_in) for each in ("\n", bar))]
    if finding.groups:
        lines += _groups(finding.groups)
    else:
        lines += _pairs(finding.ids, peek)
    return Content.assemble(*lines)


def _pairs(ids: Sequence[str], peek: Callable[[str], str] | None) -> Iterable[Any]:
    for place, identity in enumerate(ids[:_SHOWN]):
        yield ("\n" if place else "\n\n") + one_line(identity, _ID)
        if peek is not None and (words := one_line(peek(identity), _PEEKED)):
            yield (f"  {words}", "$secondary")
    if len(ids) > _SHOWN:
        yield (f"\nand {len(ids) - _SHOWN:,} more", "$secondary")


def _groups(groups: Sequence[Sequence[str]]) -> Iterable[Any]:
    for place, group in enumerate(groups[:_SHOWN]):
        yield ("\n" if place else "\n\n") + one_line(group[0], _ID)
        yield ("  with  ", "$secondary")
        yield ", ".join(one_line(identity, _ID) for identity in group[1:_SHOWN])
        if len(group) > _SHOWN:
            yield (f" and {len(group) - _SHOWN:,} more", "$secondary")
    if len(groups) > _SHOWN:
        yield (f"\nand {len(groups) - _SHOWN:,} more groups", "$secondary")


_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"
_BAR_NAME, _BAR_COUNT, _SHARE, _LONGEST = 22, 9, 7, 48


def length_lines(lengths: Mapping[str, Any], full: bool, width: int) -> list[Content]:
    """The rule's score, and the bars as one small row; where `full`, a line a bar. Nothing where none was measured."""
    if not lengths.get("pairs"):
        return []
    bars = full_bars(lengths, width) if full else [small_bars(lengths)]
    return [line.truncate(width) for line in (score(lengths, width), *bars)]


def score(lengths: Mapping[str, Any], width: int) -> Content:
    """What "the longer wins" would score, and the size of the effect, each with its 95% interval."""
    low, high = lengths["longer_wins_interval"]
    small, large = lengths["effect_interval"]
    said = Content.assemble(
        ('"longer wins" ', "$secondary"),
        (f"{lengths['longer_wins']:.1%}", "bold"),
        (f" ({low:.1%} to {high:.1%})", "$secondary"),
        (" · effect ", "$secondary"),
        (_signed(lengths["effect"]), "bold"),
        (f" ({_signed(small)} to {_signed(large)})", "$secondary"),
    )
    chosen, rejected = figures.value(lengths["mean_chosen"]), figures.value(lengths["mean_rejected"])
    whole = Content.assemble(
        said, (f" · chosen {chosen}, rejected {rejected} {lengths['unit']} on average", "$secondary")
    )
    return whole if whole.cell_length <= width else said


def small_bars(lengths: Mapping[str, Any]) -> Content:
    """The whole histogram in one line, a bar of up to eight eighths for each bin."""
    counts = [bar["pairs"] for bar in lengths["histogram"]]
    most = max(counts)
    bars = [_EIGHTHS[-(-8 * count // most)] * 2 for count in counts]
    middle = len(bars) // 2
    return Content.assemble(
        ("rejected longer ", "$secondary"),
        ("".join(bars[:middle]), "$warning"),
        (bars[middle], "$secondary"),
        ("".join(bars[middle + 1 :]), "$accent"),
        (" chosen longer", "$secondary"),
    )


def full_bars(lengths: Mapping[str, Any], width: int) -> Sequence[Content]:
    """A line for each bin: its name, its bar, its pairs, and its share of all."""
    bins, total = lengths["histogram"], lengths["pairs"]
    most, middle = max(bar["pairs"] for bar in bins), len(bins) // 2
    longest = max(4, min(_LONGEST, width - _BAR_NAME - _BAR_COUNT - _SHARE - 2))
    made = []
    for place, each in enumerate(bins):
        count = each["pairs"]
        drawn = _bar(count / most, longest)
        color = "$warning" if place < middle else "$accent" if place > middle else "$secondary"
        made.append(
            Content.assemble(
                (f"  {each['bar']:<{_BAR_NAME}}"[: _BAR_NAME + 2], "$secondary"),
                (drawn.ljust(longest), color),
                f"{count:>{_BAR_COUNT},}",
                (f"{count / total:>{_SHARE}.1%}", "$secondary"),
            )
        )
    return made


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    if share and not eighths:
        eighths = 1
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_PARTS[rest] if rest else "")


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")


def _wrong_tokens(answers: tuple[str, ...]) -> str:
    """What is wrong with a model, max_length and chat template as they were typed."""
    digits = answers[1].strip().replace(",", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) > 0):
        return "max_length is a whole number above 0"
    try:
        _rendering(answers)
    except WorkbenchError as error:
        return one_line(f"{error.title}. {error.message}", 200)
    return ""


def _rendering(answers: tuple[str, ...]) -> Rendering:
    """How turns are to be rendered, as it was typed. Raises `WorkbenchError`."""
    return rendering({"chat_template": answers[2].strip(), "template": answers[3]})
