"""The dialogs that bring pairs in from a file, shown before anything is written, and that write them to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Select, Static

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.exporters import Format, check_place
from workbench.pairs.outward import READERS, format_for
from workbench.pairs.pair import Pair
from workbench.pairs.readable import readable
from workbench.pairs.session import Which
from workbench.pairs.shape_readers import PAIRINGS, Pairing
from workbench.text import cut, one_line
from workbench.tui.background import background
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField, PathField
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.pairs.importers import Beginning, Imported

_FIELDS = ("prompt", "chosen", "rejected", "label")
_NO_LABEL = ("no column says which answer is better", "")
_KINDS = (
    ("conversations: a user turn, answered by the assistant", True),
    ("plain text, without a chat template", False),
)
_SHOWN_PROBLEMS = 2


@dataclass(frozen=True, slots=True)
class ToImport:
    """What was read from a file, and the data set that it goes into."""

    path: Path
    name: str
    imported: Imported


class _CancelledError(Exception):
    """Raised in the thread that reads, to end it."""


class ImportDialog(Dialog[ToImport | None]):
    """A file, its columns, a name, and five pairs as they will be; which pairs are made of rows that rank several
    answers. None where it is given up.

    `existing(name)`: the pairs of a data set, none where there is none of that name; called in a thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "apply", "Import"),
        Binding("pagedown", "page(1)", "More of what is said"),
        Binding("pageup", "page(-1)", "What is said above", show=False),
        Binding("escape", "back", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    ImportDialog {
        #fields { grid-size: 2; grid-columns: 12 1fr; grid-rows: 1; height: auto; margin-bottom: 1; }
        Select { height: 1; padding-left: 1; }
        #told { height: auto; margin-bottom: 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #words, #said, #preview { height: auto; }
        .rankings { display: none; }
        &.-ranked .rankings { display: block; }
    }
    """

    def __init__(self, existing: Callable[[str], Sequence[Pair]], names: Sequence[str], path: str = "") -> None:
        super().__init__()
        self._existing, self._names, self._path = existing, names, path
        self._begun: Beginning | None = None
        self._guessed: dict[str, str] = {}
        self._looked_at = ""
        self._reading = self._cancelled = False

    def compose(self) -> ComposeResult:
        """File, columns, name; then the pairs."""
        with Vertical(classes="dialog -wide -high"):
            yield Static("Import pairs", classes="dialog-title")
            with Grid(id="fields"):
                yield Static("file", classes="label")
                yield PathField(
                    self._path,
                    placeholder="JSONL, JSON, CSV, Parquet, Arrow, or a folder",
                    id="path",
                )
                for field in _FIELDS:
                    yield Static(field, classes="label")
                    yield Select[str]([], prompt=_nothing(field, by_shape=False), compact=True, id=field)
                yield Static("plain text", classes="label")
                yield Select[bool](_KINDS, prompt="none in this file", compact=True, id="kind", disabled=True)
                yield Static("rankings", classes="label rankings")
                yield Select[Pairing](
                    _paired({}, 0, whole=False),
                    value="best-worst",
                    allow_blank=False,
                    compact=True,
                    id="pairing",
                    classes="rankings",
                )
                yield Static("data set", classes="label")
                yield LineField(placeholder="the new data set's name", id="name")
            # The pairs come last, for they may be cut where the screen is low: what is wrong with them is not.
            with VerticalScroll(id="told", can_focus=False):
                yield Static(id="words", markup=False)
                yield Static(id="said", markup=False)
                yield Static(id="preview", markup=False)
            yield Static(
                "enter reads · tab next · pgdn more · ctrl+s imports · esc cancels",
                markup=False,
                classes="dialog-hint",
            )

    def on_mount(self) -> None:
        """Begins at the file's name."""
        self.query_one("#path", PathField).focus()
        self._show("#words", Content())
        self._show("#preview", Content())
        self._say("A Hugging Face data set comes in by: workbench import ORG/NAME", "$secondary")
        if self._path:
            self.look()

    def on_resize(self) -> None:
        """Leaves what is said of the file what lines there are, so that the keys below it stay in view."""
        self.query_one("#told").styles.max_height = max(1, self.size.height - _ROWS - self.has_class("-ranked"))

    def action_page(self, pages: int) -> None:
        """Scrolls what is said of the file, and the pairs below it."""
        told = self.query_one("#told")
        told.scroll_relative(y=pages * max(1, told.size.height - 1), animate=False)

    def on_input_submitted(self, event: LineField.Submitted) -> None:
        """Looks into the file; from the name, imports."""
        event.stop()
        if event.input.id == "path":
            self.look()
        else:
            self.action_apply()

    def on_input_blurred(self, event: LineField.Blurred) -> None:
        """Looks into a file whose name was typed."""
        if event.input.id == "path":
            self.look()

    def on_input_changed(self, event: LineField.Changed) -> None:
        """Says into what the pairs go."""
        if event.input.id == "name":
            self._preview()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Shows the pairs as they are with other columns."""
        event.stop()
        if event.select.id not in ("kind", "pairing"):
            self._follow_kind()
        self._preview()

    def look(self) -> None:
        """Reads the first rows, once a name."""
        path = self.query_one("#path", PathField).path
        if path is not None and str(path) != self._looked_at and not self._reading:
            self._looked_at = str(path)
            self._look(path)

    @background("look", doing="looking into the file", exclusive=True)
    async def _look(self, path: Path) -> None:
        from workbench.pairs.importers import beginning, name_from
        from workbench.pairs.sources import open_source

        self._begun = None
        self._follow_kind()
        self._say("Reading …", "$secondary")
        try:
            begun = await asyncio.to_thread(lambda: beginning(open_source(path)))
        except WorkbenchError as error:
            self._refuse(error)
            return
        self._begun = begun
        guessed = self._guessed = begun.guess()
        for field in _FIELDS:
            select = self.query_one(f"#{field}", Select)
            with self.prevent(Select.Changed):
                columns = [(one_line(column, 40), column) for column in begun.columns]
                select.set_options([*columns, _NO_LABEL] if field == "label" else columns)
                select.prompt = _nothing(field, by_shape=not guessed)
                if field in guessed:
                    select.value = guessed[field]
        name = self.query_one("#name", LineField)
        if not name.content:
            name.value = name_from(path.name)
        self._follow_kind()
        self._preview()

    def _follow_kind(self) -> None:
        """Offers what becomes of plain text, where there is some, and begins with what it becomes unasked."""
        kind = self.query_one("#kind", Select)
        sample = self._begun.sample(self._mapping) if self._begun else None
        if sample is not None and not sample.pairs:
            return  # With these columns there is nothing to tell it by.
        there_is_some = sample is not None and (sample.converted > 0 or sample.conversational is False)
        with self.prevent(Select.Changed):
            if sample is None or not there_is_some:
                kind.clear()
            elif kind.disabled:
                kind.value = bool(sample.conversational)
        kind.disabled = not there_is_some

    def _conversational(self, name: str) -> bool | None:
        """What plain text is to become; None where there is none, or a data set that exists decides."""
        kind = self.query_one("#kind", Select).selection
        return kind if isinstance(kind, bool) and name not in self._names else None

    def _follow_rankings(self, sample: Imported) -> None:
        """Offers which pairs are made of rankings, with how many each way makes of the rows that were looked at; only
        where that is not all one."""
        from workbench.pairs.importers import LOOKED_AT

        counts, select = sample.of_rankings, self.query_one("#pairing", Select)
        self.set_class(len(set(counts.values())) > 1, "-ranked")
        self.on_resize()
        with self.prevent(Select.Changed):
            before = select.selection
            whole = self._begun is not None and len(self._begun.rows) < LOOKED_AT
            select.set_options(_paired(counts, sample.rankings, whole=whole))
            # Another first: a value that stays is shown in the words of before.
            select.value, select.value = next(name for name in PAIRINGS if name != before), before

    @property
    def _pairing(self) -> Pairing:
        """Which pairs are made of rankings."""
        value = self.query_one("#pairing", Select).selection
        return cast("Pairing", value)

    @property
    def _mapping(self) -> dict[str, str]:
        """The columns that were chosen, where they are not those of the field's own name."""
        values = {field: self.query_one(f"#{field}", Select).selection for field in _FIELDS}
        own = self._begun.columns if self._begun else ()
        mapping = {
            field: column
            for field, column in values.items()
            if column is not None and (column != field or field == "label")
        }
        if values["prompt"] is None and "prompt" in own and self._guessed:
            mapping["prompt"] = ""
        return mapping

    def _preview(self) -> None:
        if self._begun is None or self._reading:
            return
        from workbench.pairs.importers import in_words

        try:
            sample = self._begun.sample(self._mapping, self._conversational(""), self._pairing)
        except WorkbenchError as error:
            self._refuse(error)
            return
        self._follow_rankings(sample)
        words = "\n".join(one_line(line, 400) for line in in_words(sample))
        self._show("#words", Content.styled(words, "$secondary"))
        width = max(30, self.query_one("#fields").size.width - 1)  # one for the scroll bar
        self._show("#preview", Content("\n").join(_lines(sample.pairs, width, judged=sample.judged > 0)))
        problems = list(map(str, sample.problems[:_SHOWN_PROBLEMS]))
        if problems:
            self._say("▲ " + "\n▲ ".join(problems), "$warning")
        elif not sample.pairs:
            self._say("▲ The file has no rows.", "$warning")
        elif self.query_one("#name", LineField).content in self._names:
            self._say("That data set exists: pairs that it does not have yet are added to it.", "$secondary")
        else:
            self._say("\n".join((*self._begun.remarks, "Nothing is written before ctrl+s.")), "$secondary")

    def action_apply(self) -> None:
        """Reads the whole file."""
        path = self.query_one("#path", PathField).path
        if self._reading:
            return
        if path is None or self._begun is None or str(path) != self._looked_at:
            self.look()
            return
        self._reading, self._cancelled = True, False
        name = self.query_one("#name", LineField).content.strip()
        self._read(path, name, self._mapping, self._conversational(name), self._pairing)

    @background("read", doing="reading the file", exclusive=True)
    async def _read(
        self, path: Path, name: str, mapping: dict[str, str], conversational: bool | None, pairing: Pairing
    ) -> None:
        from workbench.pairs.importers import import_rows, nothing_usable
        from workbench.pairs.sources import open_source

        def read() -> Imported:
            source, existing = open_source(path, progress=self._progress), self._existing(name)
            return import_rows(
                source.rows, mapping=mapping, existing=existing, conversational=conversational, pairing=pairing
            )

        try:
            imported = await asyncio.to_thread(read)
            if not imported.pairs and not imported.duplicates:
                raise nothing_usable(path.name, imported)
            self.dismiss(ToImport(path, name, imported))
        except _CancelledError:
            self._say("Cancelled; nothing was imported.", "$secondary")
        except WorkbenchError as error:
            self._refuse(error)
        finally:
            self._reading = False

    def _progress(self, done: int, total: int) -> None:
        """Called in the thread that reads."""
        if self._cancelled:
            raise _CancelledError
        share = f"{done / total:.0%}" if total else f"{done:,}"
        self.app.call_from_thread(self._say, f"Reading … {share} · esc cancels", "$foreground")

    def action_back(self) -> None:
        """Ends the reading; else gives up."""
        if self._reading:
            self._cancelled = True
        else:
            self.dismiss(None)

    def _refuse(self, error: WorkbenchError) -> None:
        self._show("#words", Content())
        self._show("#preview", Content())
        message, hint = str(error.message), str(error.hint)
        self._say(" ".join(filter(None, (f"▲ {error.title}.", message, hint))), "$error")

    def _say(self, text: str, style: str) -> None:
        lines = (one_line(line, 400) for line in text.split("\n"))
        self._show("#said", Content.styled("\n".join(lines), style))

    def _show(self, selector: str, told: Content) -> None:
        """Shows what is told in its place, which takes no line where there is nothing."""
        place = self.query_one(selector, Static)
        place.update(told)
        place.display = bool(told.plain)


def _paired(counts: Mapping[Pairing, int], rankings: int, *, whole: bool) -> list[tuple[str, Pairing]]:
    """Which pairs can be made of rankings, and how many: of the `whole` file, else of a row."""

    def many(name: Pairing) -> str:
        if whole:
            return f"{plural(counts[name], 'pair')} of {plural(rankings, 'row')}"
        return f"{counts[name] / rankings:.3g} a row"

    return [(f"{words}: {many(name)}" if rankings else words, name) for name, words in PAIRINGS.items()]


def _nothing(field: str, *, by_shape: bool) -> str:
    if by_shape and field != "label":
        return "as the shape of the rows says"
    if field == "label":
        return "as far as it is known"
    return "in chosen and rejected, which are whole conversations" if field == "prompt" else "which column?"


_PREFERRED = ("  ✔ the model will prefer: ", "$secondary")
_OVER = ("  ✘                  over: ", "$secondary")
_GOOD = ("  ✔        judged good: ", "$secondary")
_BAD = ("  ✘         judged bad: ", "$secondary")
_LACKING = ("an answer that is to be drafted", "$warning")
_ROWS = 15
"""Lines of the dialog besides what is said of the file and its pairs."""


def _lines(pairs: Sequence[Pair], width: int, *, judged: bool) -> list[Content]:
    lines = []
    for pair in pairs:
        prompt, chosen, rejected = (
            cut(one_line(" ".join(readable(text, folded=True).split()), 400), width - 29)
            for text in (pair.last_user_turn, pair.chosen, pair.rejected)
        )
        lines.append(Content.styled(f"asked {prompt}", "$secondary"))
        if judged and pair.alone is not None:
            told_so, answer = (_GOOD, (chosen, "$success")) if pair.alone else (_BAD, (rejected, "$error"))
            lines.append(Content.assemble(told_so, answer))
            continue
        lines += [
            Content.assemble(_PREFERRED, (chosen, "$success") if chosen else _LACKING),
            Content.assemble(_OVER, (rejected, "$error") if rejected else _LACKING),
        ]
    return lines


_GUARDS = Content.styled("What spreadsheets take for formulas gets an ' before it · ctrl+r leaves it", "$secondary")
_RAW = Content.styled("▲ Spreadsheets may run what looks like a formula · ctrl+r puts an ' before it", "$warning")


@dataclass(frozen=True, slots=True)
class ExportTo:
    """Where to, as what, which pairs, and in the rows of which reader."""

    path: Path
    form: Format
    which: Which
    shape: str
    raw: bool = False
    """Whether what a spreadsheet would take for formulas gets no guard in CSV."""


class ExportDialog(Dialog[ExportTo | None]):
    """Which pairs of a data set, for whom, and a file for them; `counts` has, for each shape of rows, how many pairs
    each choice comes to.

    None where it is given up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "apply", "Export"),
        Binding("down", "move('down')", "Next", priority=True, show=False),
        Binding("up", "move('up')", "Previous", priority=True, show=False),
        Binding("tab", "shape(1)", "For another reader", priority=True),
        Binding("shift+tab", "shape(-1)", "For the reader before", priority=True, show=False),
        Binding("ctrl+r", "raw", "CSV with or without a guard before formulas", priority=True, show=False),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    ExportDialog #shape { height: auto; margin-bottom: 1; }
    ExportDialog #said { height: auto; margin-bottom: 1; }
    """

    def __init__(self, workspace: Workspace, name: str, counts: dict[str, dict[Which, int]], query: str) -> None:
        super().__init__()
        self._workspace, self._data_set = workspace, name
        shown = f"what the filter shows ({one_line(query, 24)})" if query.strip() else "all that is shown"
        words: dict[Which, str] = {
            "shown": shown,
            "undropped": "all but what was dropped",
            "accepted": "only what was accepted",
            "all": "all, dropped ones too",
        }
        self._counts, self._shape = counts, next(iter(READERS))
        self._raw = False
        order: list[Which] = ["shown", "undropped", "accepted", "all"]
        self._choices = [(each, words[each]) for each in (order if query.strip() else order[1:])]

    def compose(self) -> ComposeResult:
        """Which, where to, what that means."""
        with Vertical(classes="dialog"):
            yield Static(f"Export {one_line(self._data_set, 40)}", markup=False, classes="dialog-title")
            options = OptionList(*self._lines(), compact=True, markup=False)
            options.can_focus = False
            yield options
            yield Static(id="shape", markup=False)
            yield PathField(f"{self._data_set}.jsonl", placeholder="a file ending in .jsonl, .parquet or .csv")
            yield Static(id="said", markup=False)
            yield Static("↑↓ choose · tab for whom · → completes · enter exports · esc cancels", classes="dialog-hint")

    def _lines(self) -> list[Content]:
        width = max(len(words) for _, words in self._choices)
        counts = self._counts[self._shape]
        return [
            Content.assemble(f"{words:<{width}}", (f"{counts[which]:>11,} pairs", "$secondary"))
            for which, words in self._choices
        ]

    def action_shape(self, step: int) -> None:
        """For the next reader, or the one before."""
        shapes = list(READERS)
        self._shape = shapes[(shapes.index(self._shape) + step) % len(shapes)]
        options = self.query_one(OptionList)
        for index, line in enumerate(self._lines()):
            options.replace_option_prompt_at_index(index, line)
        self._check()

    def action_raw(self) -> None:
        """Leaves formulas in CSV as they are, or guards them again."""
        self._raw = not self._raw
        self._check()

    def on_mount(self) -> None:
        """Begins with the file's name."""
        self.query_one(OptionList).highlighted = 0
        self.query_one(PathField).focus()
        self._check()

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Answers, where that can be done."""
        answer = self._check()
        if answer is not None:
            self.dismiss(answer)

    @on(OptionList.OptionHighlighted)
    @on(Input.Changed)
    def _check(self) -> ExportTo | None:
        """The answer as it stands; None, and why, where it is none."""
        said = self.query_one("#said", Static)
        names = " ".join(f"[{shape}]" if shape == self._shape else f" {shape} " for shape in READERS)
        about = (f"\nfor {READERS[self._shape]}", "$secondary")
        self.query_one("#shape", Static).update(Content.assemble(names, about))
        path = self.query_one(PathField).path
        which = self._choices[self.query_one(OptionList).highlighted or 0][0]
        try:
            if path is None:
                raise WorkbenchError("No file is named", "")
            form = format_for(path, self._shape)
            check_place(path, self._workspace.pairs)
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise WorkbenchError("That is no file in a folder that exists", "")
            if not self._counts[self._shape][which]:
                raise WorkbenchError("There is no such pair", "")
        except WorkbenchError as error:
            text = " ".join(filter(None, (f"▲ {error.title}.", str(error.message))))
            said.update(Content.styled(one_line(text, 200), "$error"))
            return None
        columns = "stay" if self._shape == "trl" else "are left out"
        lines = [Content.styled(f"As {form}; turns stay turns, unknown columns {columns}.", "$secondary")]
        if path.exists():
            lines = [Content.styled("▲ That file exists and will be replaced.", "$warning")]
        if form == "csv":
            lines.append(_RAW if self._raw else _GUARDS)
        said.update(Content("\n").join(lines))
        return ExportTo(path, form, which, self._shape, self._raw)
