"""Sizes, times and a run's preview in words, the same in the form and on the command line. Names may be untrusted."""

from __future__ import annotations

from workbench.runs.fitting import as_settings
from workbench.runs.machine import Gpu
from workbench.runs.preview import Preview


def rows_line(preview: Preview) -> str:
    """Pairs that train, are held out, and what becomes of the others; empty until that is known."""
    counts, rows = preview.counts, preview.rows
    if counts is not None:
        told = [
            f"{counts.train:,} train",
            f"{counts.holdout:,} held out",
            f"{counts.dropped:,} dropped",
            f"{counts.truncated:,} truncated",
            f"{counts.identical:,} identical",
        ]
    elif rows is not None:
        told = [f"{rows.train:,} train", f"{rows.holdout:,} held out"]
    else:
        return ""
    if rows is not None and rows.unusable:
        told.append(f"{rows.unusable:,} unusable")
    return " · ".join(told)


def tokens_line(preview: Preview) -> str:
    """How long the pairs are; empty until that is known."""
    counts = preview.counts
    if counts is None:
        return ""
    return f"{counts.mean:,.0f} on average · 95% up to {counts.p95:,} · longest {counts.longest:,}"


def time_line(preview: Preview) -> str:
    """Steps and time, and where the time is from."""
    steps = preview.steps
    if steps is None:
        return ""
    told = f"{steps:,} steps of {preview.config.step_rows:,}"
    if preview.seconds is not None and preview.step_seconds is not None:
        told += f" · about {rough(preview.seconds)}, {preview.step_seconds:.2f} s a step"
        if preview.unmeasured is not None:
            told += f" as in {preview.unmeasured.run}"
        elif preview.measured is not None:
            told += " (measured)"
    return told


def memory_parts(preview: Preview) -> list[str]:
    """The parts of the memory that count, the largest first."""
    found = preview.estimate
    if found is None:
        return []
    held = {part.name: part.bytes for part in found.parts if part.counts}
    parts = {"weights": 0, "adapter": held.pop("gradients"), "libraries": found.total - found.training}
    for name, amount in held.items():
        short = name.partition(" ")[0]
        parts[short] = parts.get(short, 0) + amount
    return [f"{name} {size(parts[name])}" for name in sorted(parts, key=lambda name: -parts[name])]


def memory_rows(preview: Preview) -> list[list[str]]:
    """The parts of the memory as a table: name and size, in brackets what gives way to something larger."""
    found = preview.estimate
    if found is None:
        return []
    rows = [[part.name, size(part.bytes) if part.counts else f"({size(part.bytes)})"] for part in found.parts]
    rows.append(["libraries and room", size(found.total - found.training)])
    rows.append(["estimate", size(found.total)])
    if preview.measured is not None:
        rows.append(["measured", size(preview.needed or 0)])
    return rows


def fit_lines(preview: Preview) -> list[str]:
    """Whether it fits, what would, and who holds the device; the first line begins with a sign."""
    machine, needed = preview.machine, preview.needed
    lines = []
    if preview.trouble is not None:
        lines.append(f"✘ {preview.trouble.title}: {preview.trouble.message}")
    elif needed is None:
        lines.append(f"▲ {preview.unknown}")
    elif needed > machine.free:
        lines.append(f"✘ does not fit: {size(needed)} of {size(machine.free)} free on {machine.device}")
    elif preview.disk_needed > machine.disk_free:
        lines.append(f"✘ the disk is too small: {disk_line(preview)}")
    else:
        lines.append(f"✔ fits: {size(needed)} of {size(machine.free)} free on {machine.device}")
    if preview.changes:
        lines.append(f"  These settings would fit: {as_settings(preview.changes)}")
    if machine.gpu is not None:
        lines += [f"  {line}" for line in holders(machine.gpu)]
    if preview.unmeasured is not None and not preview.unknown:
        lines.append(f"  Not measured: {preview.unmeasured.reason}")
    return lines


def holders(gpu: Gpu) -> list[str]:
    """Who holds memory on the GPU, a line each, the largest first."""
    return [
        f"{size(each.bytes)} held by {each.name or 'a process'} ({each.pid}{', ours' if each.ours else ''})"
        for each in gpu.holders
    ]


def disk_line(preview: Preview) -> str:
    """What checkpoints and adapter take of what is free."""
    free = f"{size(preview.machine.disk_free)} free"
    if preview.shape is None:
        return free
    checkpoints, adapter = preview.disk
    return f"{size(checkpoints)} checkpoints, {size(adapter)} adapter, of {free}"


def size(amount: int) -> str:
    """Bytes in GiB or MiB: 21.4 GiB, 812 MiB."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """8 s, 3 min 05 s, 12 min, 1 h 05 min, 2 d 3 h."""
    whole = max(int(seconds + 0.5), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole >= 600 else f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def rough(seconds: float) -> str:
    """A guess of a time, in one unit or two: 8 s, 3 min, 1 h 05 min."""
    return duration(max(seconds, 1)) if seconds < 60 or seconds >= 3600 else f"{seconds / 60:.0f} min"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
