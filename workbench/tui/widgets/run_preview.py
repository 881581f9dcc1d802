"""What a run would use, need and take, filled in as it becomes known."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content
from textual.widgets import Static

from workbench import figures
from workbench.runs.preview import Preview, busy_words, disk_line, fallback_line, holders, memory_parts
from workbench.text import cut, one_line, safe

_LINES = ("length", "limit", "time", "memory", "disk")
_NARROW = 58
"""Cells of a value where the screen is small."""


class RunPreview(Grid):
    """One line a topic, a label before each; `show` takes what is known so far."""

    DEFAULT_CSS = """
    RunPreview { grid-size: 2; grid-columns: 15 1fr; grid-rows: auto; height: auto; }
    RunPreview .label { width: 15; }
    RunPreview .value { width: 1fr; height: auto; }
    """

    def compose(self) -> ComposeResult:
        """A label and a place for text a topic."""
        for name in _LINES:
            yield Static(name, markup=False, classes="label")
            yield Static("", markup=False, id=f"preview-{name}", classes="value")

    def clear(self) -> None:
        """Nothing is known: the settings are not right."""
        for name in _LINES:
            self._put(name, Content(""))

    def show(self, preview: Preview) -> None:
        """Fills in what is known."""
        waits = "" if preview.trouble else f"{preview.doing} …" if preview.doing else "…"
        self._put("length", _length(preview, waits))
        self._put("limit", _limit(preview, waits))
        self._put("time", _time(preview, waits))
        width = self.query_one("#preview-memory").content_size.width or _NARROW
        self._put("memory", _memory(preview, width, short=self.screen.has_class("-short")))
        self._put("disk", _disk(preview))

    def _put(self, name: str, text: Content) -> None:
        self.query_one(f"#preview-{name}", Static).update(text)


def _length(preview: Preview, waits: str) -> Content:
    counts = preview.counts
    if counts is None:
        return Content.styled("known once the model is here" if preview.unknown else waits, "$secondary")
    return Content.assemble(
        (f"{counts.mean:,.0f}", "bold"),
        (" tokens on average · 95% up to ", "$secondary"),
        (f"{counts.p95:,}", "bold"),
        (" · longest ", "$secondary"),
        (f"{counts.longest:,}", "bold"),
    )


def _limit(preview: Preview, waits: str) -> Content:
    """What max_length does to the pairs."""
    counts = preview.counts
    if counts is None:
        return Content.styled("" if preview.unknown or not waits else "…", "$secondary")
    parts: list[tuple[str, str]] = []
    for number, what in (
        (counts.dropped, "dropped"), (counts.truncated, "truncated"), (counts.identical, "identical")
    ):  # fmt: skip
        sign, style = ("▲ ", "$warning") if number else ("", "$secondary")
        parts.append((f"{' · ' if parts else ''}{sign}{number:,} {what}", style))
    if counts.raw:
        many = figures.plural(counts.raw, "pair is", "pairs are")
        parts.append((f"\n▲ {many} plain text, no chat template: c M converts", "$warning"))
    if counts.losing:
        part = f"{counts.losing:,} of {counts.looked_at:,}"
        parts.append((f"\n▲ template leaves out, in {part}: {one_line(counts.left_out, 60)}", "$warning"))
    if counts.fallback:
        parts.append(("\n▲ no chat template: “User: …”, “Assistant: …”; ctrl+o has a field for one", "$warning"))
    return Content.assemble(*parts)


def _time(preview: Preview, waits: str) -> Content:
    if preview.trouble is not None:
        return Content.assemble(("✘ ", "$error"), safe(f"{preview.trouble.title}: {preview.trouble.message}"))
    seconds, step = preview.seconds, preview.step_seconds
    if seconds is not None and step is not None:
        measured = preview.measured
        from_where = f"as in {preview.unmeasured.run}" if preview.unmeasured is not None else "measured"
        busy = f"\n▲ {busy_words(measured)}" if measured is not None and measured.busy else ""
        return Content.assemble(
            ("about ", "$secondary"),
            (figures.rough(seconds), "bold"),
            (f" · {step:.2g} s a step, {one_line(from_where)}", "$secondary"),
            (busy, "$warning"),
        )
    if preview.unmeasured is not None:
        reason = "known once the model is here" if preview.unknown else preview.unmeasured.reason
        return Content.styled(one_line(reason), "$secondary")
    return Content.styled(waits, "$secondary")


def _memory(preview: Preview, width: int, *, short: bool) -> Content:
    """What is needed of what is free, its parts, and who holds the GPU. `short`: a line each, the largest of them."""
    needed = preview.needed
    if needed is None:
        return Content.assemble(("▲ ", "$warning"), (safe(preview.unknown), "$secondary"))
    fits = needed <= preview.machine.free
    so_far = "" if preview.counts else "at most "
    device = one_line(preview.machine.device).removeprefix("NVIDIA ")
    parts: list[tuple[str, str]] = [
        ("✔ " if fits else "▲ " if so_far else "✘ ", "$success" if fits else "$warning" if so_far else "$error"),
        (so_far, "$secondary"),
        (figures.size(needed), "bold"),
        (" measured" if preview.measured else "", "$secondary"),
        (f" of {figures.size(preview.machine.free)} free on {device}", "$secondary"),
    ]
    if not fits:
        changes = ", ".join(f"{key} = {value}" for key, value in preview.changes.items())
        parts.append((f"\nwould fit with {changes}" if changes else "\nno setting here would make it fit", "$warning"))
    else:
        parts.append((f"\n{_parts(preview, width, short=short)}", "$secondary"))
        if line := fallback_line(preview):
            parts.append((f"\n▲ {line}", "$warning"))
    gpu = preview.machine.gpu
    if gpu is not None and gpu.holders:
        held = one_line(" · ".join(holders(gpu)))
        parts.append((f"\n{cut(held, _NARROW) if short else held}", "$secondary"))
    return Content.assemble(*parts)


def _parts(preview: Preview, width: int, *, short: bool) -> str:
    """The parts of the memory in lines of `width` cells; `short`: as many of the largest as one line has place for."""
    lines = [""]
    for part in memory_parts(preview):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines[0] if short else "\n".join(lines)


def _disk(preview: Preview) -> Content:
    short = preview.disk_needed > preview.machine.disk_free
    sign = ("✘ ", "$error") if short else ("✔ ", "$success")
    return Content.assemble(sign, (disk_line(preview), "$error" if short else "$secondary"))
