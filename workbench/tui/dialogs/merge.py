"""The dialog that merges a run: where to and how wide, how far it is, what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from workbench import figures
from workbench.errors import WorkbenchError
from workbench.runs.merge_bounds import read_bounds
from workbench.runs.merging import Cancelled, Done, Dtype, Merged, MergeFailed, Merging, Running, State
from workbench.text import one_line, safe
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import PathField
from workbench.workspace import Workspace

_BEAT = 0.2
_BAR = 24
_ANSWER = 60
_DTYPES: tuple[tuple[Dtype, str], ...] = (
    ("bf16", "16 bits, as most models are published"),
    ("fp16", "16 bits, for old GPUs; finer, but large weights do not fit"),
    ("fp32", "32 bits, twice the size"),
)


class MergeDialog(Dialog[None]):
    """Asks where to, starts `merging`, follows it. It goes on when the dialog is closed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "apply", "Merge"),
        Binding("down", "move('down')", "Next", priority=True, show=False),
        Binding("up", "move('up')", "Previous", priority=True, show=False),
        Binding("ctrl+x", "cancel", "Stop", priority=True),
        Binding("escape", "dismiss(None)", "Close", priority=True),
    ]
    DEFAULT_CSS = """
    MergeDialog #said { height: auto; }
    """

    def __init__(self, merging: Merging, workspace: Workspace) -> None:
        super().__init__()
        self._merging, self._workspace = merging, workspace
        self._shown: State | None = None

    def compose(self) -> ComposeResult:
        """Where to, how wide; then how far it is."""
        with Vertical(classes="dialog -wide -high"):
            yield Static(f"Merge {one_line(self._merging.folder.id, 60)}", markup=False, classes="dialog-title")
            yield Static("into a new folder, or a file ending in .gguf", markup=False, classes="label form")
            yield PathField(str(self._workspace.merged / self._merging.folder.id))
            options = OptionList(
                *(Content.assemble((f"{name}  ", "bold"), (about, "$secondary")) for name, about in _DTYPES),
                compact=True,
                markup=False,
            )
            options.can_focus = False
            yield options
            with VerticalScroll(classes="dialog-scroll", can_focus=False):
                yield Static(id="said", markup=False)
            yield Static(markup=False, id="hint", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the field, or with how far it is."""
        self.query_one(OptionList).highlighted = 0
        self.query_one(PathField).focus()
        self._follow()
        self.set_interval(_BEAT, self._follow)

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Starts it; once it is done, closes."""
        if isinstance(self._merging.state, Done):
            self.dismiss(None)
            return
        path = self.query_one(PathField).path
        if self._merging.running or path is None:
            return
        dtype = _DTYPES[self.query_one(OptionList).highlighted or 0][0]
        to = path if path.is_absolute() else self._workspace.root / path
        try:
            bounds = read_bounds(self._workspace.settings)
        except WorkbenchError as error:
            self.query_one("#said", Static).update(_failed(error))
            return
        self._merging.start(Path(to), dtype, "gguf" if path.suffix == ".gguf" else "safetensors", bounds)
        self._follow()

    def action_move(self, way: Literal["down", "up"]) -> None:
        """Another width, or what came of it scrolled."""
        if self.query_one(OptionList).display:
            super().action_move(way)
        else:
            self.action_scroll(1 if way == "down" else -1)

    def action_cancel(self) -> None:
        """Stops it; nothing is left behind."""
        self._merging.cancel()
        self._follow()

    def _follow(self) -> None:
        state = self._merging.state
        if state is self._shown:
            return
        self._shown = state
        asking = not isinstance(state, Running | Done)
        for widget in (*self.query(".form"), self.query_one(PathField), self.query_one(OptionList)):
            widget.display = asking
        self.query_one("#said", Static).update(_said(state))
        if isinstance(state, Running):
            hint = "ctrl+x stops · esc hides: it goes on, m shows it again"
        elif asking:
            hint = "↑↓ width · → completes a path · enter merges · esc closes"
        else:
            hint = "↑↓ scrolls · enter closes"
        self.query_one("#hint", Static).update(hint)


def _said(state: State) -> Content:
    match state:
        case Running():
            filled, rest = figures.progress_bar(state.share or 0.0, _BAR)
            bar = ((filled, "$accent"), (rest, "$border"), "  ") if state.share else ()
            stage = "stopping" if state.stopping else one_line(state.stage)
            return Content.assemble(one_line(str(state.to)), "\n", *bar, f"{stage} …")
        case Done(merged):
            return _done(merged)
        case MergeFailed(error):
            return _failed(error)
        case Cancelled():
            return Content.styled("▲ Stopped; nothing was left behind.", "$warning")
        case _:
            text = "The base is loaded anew for it, beside nothing else: it needs the merged model's size in memory."
            return Content.styled(text, "$secondary")


def _failed(error: WorkbenchError) -> Content:
    lines = [f"\n{safe(part)}" for part in (error.message, error.hint) if part]
    return Content.assemble((f"▲ {one_line(error.title)}", "$error"), *lines)


def _done(merged: Merged) -> Content:
    size = f"{figures.count(merged.parameters)} parameters in {merged.dtype}, {figures.size(merged.bytes)}"
    parts: list[str | tuple[str, str]] = [("✔ ", "$success"), one_line(merged.path), f"\n{size}\n"]
    parts.append(("\nHeld-out answers, merged minus the adapter as it was trained\n", "$secondary"))
    drift = merged.drift
    told = [*drift.table(), drift.line()] if drift else ["not measured: the run held no pairs out"]
    parts += [f"{line}\n" for line in told]
    if merged.answers:
        parts.append(f"{merged.answers.line()}\n")
        for answer in merged.answers.other[:1]:
            parts += [("  run     ", "$secondary"), f"{one_line(answer.run, _ANSWER)}\n"]
            parts += [("  merged  ", "$secondary"), f"{one_line(answer.merged, _ANSWER)}\n"]
    parts += [(f"▲ {difference}\n", "$warning") for difference in merged.differences]
    if merged.serve:
        parts += [("\nTo serve it\n", "$secondary"), safe(merged.serve)]
    return Content.assemble(*parts)
