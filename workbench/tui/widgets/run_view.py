"""One run, live: where it is, what is wrong, its curves or its log or its answers, what to know about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.runs.catalog import Run
from workbench.runs.events import Sample
from workbench.runs.watching import Snapshot
from workbench.text import cut, one_line, safe
from workbench.tui.widgets import run_words
from workbench.tui.widgets.line_chart import Chart
from workbench.tui.widgets.quiet_lines import QuietLines
from workbench.tui.widgets.run_charts import OVERLAYS, OWN, Look, RunCharts, charts_of

Part = Literal["charts", "log", "samples"]
"""What is in the middle."""

_ROOMY = 18
"""Lines from which on more than the essentials are told in words."""
_TALL = 26
"""Lines from which on there is room for the newest answers below the charts."""
_SIDE_BY_SIDE = 84
"""Cells from which on the two answers stand beside each other."""
_RULE = " │ "


def latest(samples: Sequence[Sample], width: int) -> Content:
    """The newest pair of answers on a line; empty where there is none."""
    if not samples or width < 60:
        return Content("")
    newest = samples[-1]
    prompt = one_line(newest.prompt, width // 4)
    head = f"step {newest.step:,}  "
    room = (width - len(head) - len(prompt) - 26) // 2
    return Content.assemble(
        (head, "$secondary"),
        (f"“{prompt}”", "$secondary"),
        ("  base ", "$secondary"),
        (cut(one_line(newest.base) or "(nothing)", room), "$foreground"),
        ("  aligned ", "$accent"),
        (cut(one_line(newest.aligned) or "(nothing)", room), "$foreground"),
    )


def page(samples: Sequence[Sample], back: int, width: int) -> list[Content]:
    """The answers of one step, `back` steps before the newest one, in lines of `width` cells."""
    steps = sorted({sample.step for sample in samples})
    if not steps:
        return [Content.styled("No answers yet: they come with the evaluations of held-out pairs.", "$secondary")]
    index = max(len(steps) - 1 - back, 0)
    head = Content.assemble(
        ("answers to held-out prompts", "bold $foreground"),
        (f"   step {steps[index]:,}", "$foreground"),
        (f"   {index + 1} of {len(steps)}", "$secondary"),
        ("   [ ", "bold $accent"),
        ("earlier  ", "$secondary"),
        ("] ", "bold $accent"),
        ("later", "$secondary"),
    )
    lines = [head]
    for sample in samples:
        if sample.step == steps[index]:
            lines += [Content(""), *_prompt(sample, width), *_answers(sample, width)]
    return lines


def _prompt(sample: Sample, width: int) -> list[Content]:
    return _wrapped(sample.prompt, width - 2, "$secondary", first="› ")


def _answers(sample: Sample, width: int) -> list[Content]:
    base = _titled("base", sample.base_tokens, "bold $secondary")
    aligned = _titled("aligned", sample.aligned_tokens, "bold $accent")
    if width < _SIDE_BY_SIDE:
        return [
            base,
            *_wrapped(sample.base, width, "$foreground"),
            aligned,
            *_wrapped(sample.aligned, width, "$foreground"),
        ]
    half = (width - len(_RULE)) // 2
    left = [base, *_wrapped(sample.base, half, "$foreground")]
    right = [aligned, *_wrapped(sample.aligned, half, "$foreground")]
    height = max(len(left), len(right))
    left += [Content("")] * (height - len(left))
    right += [Content("")] * (height - len(right))
    return [
        Content.assemble(one, " " * (half - one.cell_length), (_RULE, "$border"), other)
        for one, other in zip(left, right, strict=True)
    ]


def _titled(name: str, tokens: int, style: str) -> Content:
    return Content.assemble((name, style), (f"  {tokens} tokens", "$secondary"))


def _wrapped(text: str, width: int, style: str, first: str = "") -> list[Content]:
    shown = safe(text).strip() or "(nothing)"
    lines = Content.styled(shown, style).wrap(max(width, 8), overflow="fold")
    indent = " " * len(first)
    return [Content.assemble((indent if number else first, style), line) for number, line in enumerate(lines)]


class SamplesView(VerticalScroll):
    """Shows the answers of one step at a time."""

    DEFAULT_CSS = """
    SamplesView { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="samples")
        self._samples: tuple[Sample, ...] = ()
        self._back = 0

    def compose(self) -> ComposeResult:
        """The answers."""
        yield QuietLines()

    def show(self, samples: tuple[Sample, ...]) -> None:
        """Shows the newest of these, or those that were chosen."""
        if self._back and len(samples) > len(self._samples):
            # What is being read stays in sight when newer answers come.
            self._back += len({sample.step for sample in samples}) - len({sample.step for sample in self._samples})
        self._samples = samples
        self._redraw()

    def go(self, steps: int) -> None:
        """To later answers, or to earlier ones where negative."""
        most = max(len({sample.step for sample in self._samples}) - 1, 0)
        self._back = min(max(self._back - steps, 0), most)
        self._redraw()
        self.scroll_home(animate=False)

    def restart(self) -> None:
        """Back to the newest answers."""
        self._back = 0

    @on(events.Resize)
    def _redraw(self) -> None:
        width = self.scrollable_content_region.width
        if width > 8:
            self.query_one(QuietLines).show(page(self._samples, self._back, width))


class LogView(VerticalScroll):
    """Shows lines and stays at the end of them, unless the user scrolled up."""

    DEFAULT_CSS = """
    LogView { height: 1fr; padding: 0 1; background: $surface; scrollbar-size-vertical: 1; }
    LogView Static { width: 100%; }
    """

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: Sequence[str] = ()

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", markup=False)

    def show(self, lines: Sequence[str]) -> None:
        """Shows these lines, which must be safe already."""
        if lines == self._lines and lines:
            return
        self._lines = lines
        at_end = self.scroll_offset.y >= self.max_scroll_y
        text = Content("\n".join(lines)) if lines else Content.styled("Nothing in worker.log yet.", "$secondary")
        self.query_one(Static).update(text)
        if at_end:
            self.call_after_refresh(self.scroll_end, animate=False)


class RunView(Vertical):
    """Shows the run of a snapshot."""

    DEFAULT_CSS = """
    RunView { height: 1fr; }
    RunView > QuietLines { padding: 0 1; }
    RunView > .-gone { display: none; }
    RunView #no-charts { height: 1fr; content-align: center middle; color: $secondary; }
    RunView #ending { height: auto; max-height: 60%; padding: 0 1; scrollbar-size-vertical: 1; }
    RunView #ending Static { height: auto; }
    """

    def __init__(self, chart_pace: float) -> None:
        """`chart_pace`: seconds between two drawings of the curves of a run that goes on."""
        super().__init__()
        self._chart_pace = chart_pace
        self._snapshot, self._look = Snapshot(), Look()
        self.part: Part = "charts"

    @property
    def run_shown(self) -> Run | None:
        """The run, as the latest snapshot that has one tells it."""
        return self._snapshot.run

    def compose(self) -> ComposeResult:
        """Heading, progress, numbers and alerts; charts, log or answers; the end; what else there is to know."""
        for name in ("heading", "progress", "alerts", "numbers"):
            yield QuietLines(id=name)
        yield RunCharts(self._chart_pace)
        yield Static("", markup=False, id="no-charts")
        yield LogView()
        yield SamplesView()
        yield QuietLines(id="caption")
        with VerticalScroll(id="ending", can_focus=False):
            yield Static("", markup=False)
        for name in ("answers", "facts"):
            yield QuietLines(id=name)

    def on_mount(self) -> None:
        """Shows nothing before there is a run."""
        self.query_one("#ending").display = False
        self._texts()

    async def show(self, snapshot: Snapshot, look: Look) -> None:
        """Shows the run of the snapshot, which has one; its curves as `look` says, once they are drawn."""
        run = snapshot.run
        assert run is not None
        other = self.run_shown is None or self.run_shown.id != run.id
        self._snapshot, self._look = snapshot, look
        if other:
            self.query_one(SamplesView).restart()
        self.charts.offer(charts_of(run.state))
        self._texts()
        await self.charts.draw(run, snapshot.overlays, look)

    @on(events.Resize)
    def _texts(self) -> None:
        run, width = self.run_shown, self.size.width - 2
        middle = self.part
        drawn = run is not None and bool(charts_of(run.state))
        self.charts.display = drawn and middle == "charts"
        self.query_one(LogView).display = middle == "log"
        self.query_one(SamplesView).display = middle == "samples"
        empty = self.query_one("#no-charts", Static)
        if run is None:
            empty.display = False
            return
        roomy = self.size.height >= _ROOMY
        self._lines("heading", [run_words.heading(run, width)])
        self._lines("progress", [run_words.progress(run, width, time.time())])
        self._lines("alerts", run_words.alerts(run, width, 3 if roomy else 1))
        most = 4 if self.size.height >= _TALL else 1 if roomy and middle == "charts" else 0
        self._lines("facts", run_words.facts(run, width, most) if most else [])
        fits = self.size.height >= _TALL and middle != "samples"
        self._lines("answers", [latest(run.state.samples, width)] if fits else [])
        ending = run_words.ending(run, self._snapshot.log[-(4 if drawn else 16) :])
        box = self.query_one("#ending")
        box.display = ending is not None and middle == "charts"
        if ending is not None:
            box.query_one(Static).update(ending)
        empty.display = not drawn and ending is None and middle == "charts"
        empty.update("Curves come with the first step." if run.going else "There are no curves: no step was made.")
        if middle == "log":
            self.query_one(LogView).show(self._snapshot.log)
        elif middle == "samples":
            self.query_one(SamplesView).show(run.state.samples)
        self.caption()

    def caption(self) -> None:
        """Says which charts are in sight, how they are drawn, and which runs are laid over this one."""
        run, width = self.run_shown, max(self.size.width - 2, 0)
        if run is None:
            return
        drawn = self.charts.display
        parts = []
        if drawn and self._look.smoothing:
            parts.append(Content.styled(f"smoothed {self._look.smoothing:g}", "$secondary"))
        if drawn and self.charts.page:
            page = Content.assemble(("[ ]", "bold $accent"), (f" chart {self.charts.page}", "$secondary"))
            parts.append(page)
        right = Content("   ").join(parts)
        left = run_words.numbers(run.state, width - right.cell_length - 3, self._snapshot.gpu)
        gap = " " * max(width - left.cell_length - right.cell_length, 0)
        self._lines("numbers", [left + gap + right if right.plain else left])
        overlays = self._snapshot.overlays
        known = {other.id: other.name for other in self._snapshot.runs}
        names = [run.name, *(known.get(other, other) for other in overlays)] if drawn and overlays else []
        laid = [
            Content.assemble((f"{sign} ", f"${color}"), (name, f"${color}"))
            for (sign, color), name in zip((OWN, *OVERLAYS), names, strict=False)
        ]
        self._lines("caption", [Content("   ").join(laid).truncate(width, ellipsis=True)])

    def _lines(self, name: str, lines: list[Content]) -> None:
        widget = self.query_one(f"#{name}", QuietLines)
        lines = [line for line in lines if line.plain]
        widget.set_class(not lines, "-gone")
        widget.show(lines)

    @property
    def charts(self) -> RunCharts:
        """The charts."""
        return self.query_one(RunCharts)

    def turn_to(self, part: Part) -> None:
        """Shows this in the middle; the charts where it is there already."""
        self.part = "charts" if self.part == part else part
        if self.part == "samples":
            self.query_one(SamplesView).restart()
        self._texts()

    def step(self, steps: int) -> None:
        """Marks another chart, or shows later or earlier answers."""
        if self.part == "samples":
            self.query_one(SamplesView).go(steps)
        elif self.part == "charts":
            self.charts.pick(steps)
            self.caption()

    def zoom(self) -> None:
        """Shows the marked chart alone, or all again."""
        if self.part != "charts":
            self.turn_to("charts")
        self.charts.zoom(zoomed=not self.charts.zoomed)
        self.caption()

    def restore(self) -> bool:
        """Back to all charts. Whether anything else was shown."""
        changed = self.part != "charts" or self.charts.zoomed
        self.part = "charts"
        self.charts.zoom(zoomed=False)
        self._texts()
        return changed

    def on_chart_picked(self, event: Chart.Picked) -> None:
        """Says which charts are in sight now."""
        del event
        self.caption()
