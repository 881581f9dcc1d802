"""All that can be said of a run before it starts: what was learned so far, and what follows from it.

A `Preview` begins with what the settings and the machine tell at once (`begin`), and grows by what the measuring
process tells (`workbench.engine.measure`). The form and `train --dry-run` show the same one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workbench import child
from workbench.chat_templates import CHOOSE_TEMPLATE
from workbench.config import RunConfig, as_typed
from workbench.errors import WorkbenchError
from workbench.figures import plural, rough, size
from workbench.runs import machine as machines
from workbench.runs.activation_memory import TOKEN_BUDGET, Device, Lengths, shares_prompts
from workbench.runs.cautions import Caution, cautions
from workbench.runs.estimate import (
    Judge,
    MemoryEstimate,
    Plan,
    as_settings,
    disk,
    estimate,
    fallbacks,
    judge_of,
    planned,
    smaller,
)
from workbench.runs.machine import Gpu, Machine
from workbench.runs.model_shape import Shape, shape_of
from workbench.text import quoted


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Pairs that train and are held out, lines of their data sets that are no pairs, prompts that are held out, and
    pairs that are left out because an answer of theirs is to be drafted. `good` and `bad` are the chosen and the
    rejected answers that train: as many, but where answers are judged alone."""

    train: int
    holdout: int
    unusable: int
    held_out_prompts: int
    undrafted: int = 0
    good: int = 0
    bad: int = 0

    def cautions(self, config: RunConfig) -> list[Caution]:
        """What a run of `config` cannot learn or show on these."""
        return cautions(config, self.train, self.holdout, self.held_out_prompts, (self.good, self.bad))


BUSY_SHARE = 0.25
"""Processes a core, beside ours, from which on a machine is busy."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the length limit does to these pairs, as in `Started`; token lengths are of prompt with response, once cut.

    `longest`, `responses` and `row` are those of the longest training pairs: see `Lengths`. Of grpo and rloo, tokens
    are of a prompt with an answer of the most tokens. `tokens` and `holdout_tokens` are those of all training and all
    held-out pairs: a pair's are its prompt and both responses. `raw` pairs are plain text that trains without the chat
    template that the model has. Of the pairs that were `looked_at`, `losing` ones have something that the template
    leaves out, which `left_out` names. `fallback`: the model has no chat template, and the workbench's own is used.
    """

    train: int
    holdout: int
    dropped: int
    truncated: int
    identical: int
    mean: float
    p95: int
    longest: int
    responses: int
    row: int
    tokens: int
    holdout_tokens: int
    raw: int = 0
    looked_at: int = 0
    losing: int = 0
    left_out: str = ""
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Doing:
    """What the measuring process does now."""

    name: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of real training on the real device, on so many `tokens` (of prompts and both responses) in so many
    `passes` through the model, which are those of few pairs where a step of the run would take long; and the most
    memory that it took. A pass takes as long as `pass_tokens` more: on a CPU the weights are unpacked each time.

    `reference_seconds` is what they take more where nothing is known yet of what the reference gives the pairs: so in
    the first epoch of the fast path. It is no part of the others. `eval_seconds` are of an evaluation of `eval_tokens`
    in one pass.
    `peak_bytes` is what the allocator gave on CUDA, and the whole process elsewhere; 0 where no micro-batch of the
    longest pairs was tried. `load` is what else ran on the machine's `cores` meanwhile: processes, on average.
    """

    seconds: float
    tokens: int
    passes: int
    eval_seconds: float
    eval_tokens: int
    ready_seconds: float
    peak_bytes: int
    reference_seconds: float = 0.0
    pass_tokens: float = 0.0
    load: float = 0.0
    cores: int = 1

    @property
    def busy(self) -> bool:
        """Whether the machine had so much else to do that the run would take less time on a quiet one."""
        return self.load > BUSY_SHARE * self.cores

    def times(self, tokens: float, passes: float) -> float:
        """How many times the work that was measured so many tokens and passes are."""
        return (tokens + passes * self.pass_tokens) / (self.tokens + self.passes * self.pass_tokens)


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Why nothing was measured; with it the pace of an earlier run like this one, if there was any."""

    reason: str
    run: str = ""
    pairs_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the run could not train at all. `memory`: a step was tried, and there was not enough for it."""

    title: str
    message: str
    hint: str = ""
    memory: bool = False


Learned = RowCounts | Counts | Doing | Measured | Unmeasured | Trouble
"""What the measuring process learns, a thing at a time."""
_FIELDS: dict[type[Learned], str] = {
    RowCounts: "rows",
    Counts: "counts",
    Measured: "measured",
    Unmeasured: "unmeasured",
    Trouble: "trouble",
}
"""Where each is kept in a `Preview`, and what it is called on its way there."""


def to_part(learned: Learned) -> dict[str, Any]:
    """What the measuring process sends, as JSON."""
    return {"kind": _FIELDS[type(learned)], **asdict(learned)}


def learned_from(message: child.Progress | child.Part) -> Learned:
    """What a message of the measuring process says."""
    if isinstance(message, child.Progress):
        return Doing(message.text)
    fields = dict(message.value)
    kind = fields.pop("kind")
    return next(learned for learned, name in _FIELDS.items() if name == kind)(**fields)


@dataclass(frozen=True, slots=True)
class Preview:
    """A run before its start. `unknown` says why there is no `shape`; `judge` is the model that gives the reward."""

    config: RunConfig
    machine: Machine
    shape: Shape | None
    unknown: str = ""
    judge: Judge | None = None
    rows: RowCounts | None = None
    counts: Counts | None = None
    doing: str = ""
    measured: Measured | None = None
    unmeasured: Unmeasured | None = None
    trouble: Trouble | None = None

    def after(self, news: Learned) -> Preview:
        """The preview with one more thing known."""
        if isinstance(news, Doing):
            return replace(self, doing=news.name)
        doing = self.doing if isinstance(news, RowCounts | Counts) else ""
        known: dict[str, Any] = {_FIELDS[type(news)]: news, "doing": doing}
        return replace(self, **known)

    @property
    def device(self) -> Device:
        """The kind of device that the run would train on."""
        return "cuda" if self.machine.gpu else "cpu"

    @property
    def lengths(self) -> Lengths:
        """The longest pair; before it is counted, what it is at most."""
        if self.counts is None:
            return Lengths.at_most(self.config.max_length)
        return Lengths(self.counts.longest, self.counts.responses, self.counts.row)

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole run."""
        known = self.counts or self.rows
        return self.config.total_steps(known.train) if known else None

    @property
    def cautions(self) -> list[Caution]:
        """What the run cannot learn or show with so few pairs, prompts or steps; none until they are counted."""
        if self.rows is None:
            return []
        known, prompts = self.counts or self.rows, self.rows.held_out_prompts
        return cautions(self.config, known.train, known.holdout, min(known.holdout, prompts))

    @property
    def estimate(self) -> MemoryEstimate | None:
        """The memory by part; None where the model's shape is not known."""
        if self.shape is None:
            return None
        return estimate(self.shape, self.config, self.lengths, self.device, judge=self.judge, plan=self.plan)

    @property
    def plan(self) -> Plan | None:
        """How a step would go through the model; None where the model's shape is not known."""
        if self.shape is None:
            return None
        return planned(self.shape, self.config, self.lengths, self.device, self.machine.free)

    @property
    def fallbacks(self) -> dict[str, int]:
        """By words, the bytes that must be free where the trial finds that the model cannot share prompts; empty where
        that is measured already, or no trial is made."""
        measured = self.measured is not None and self.measured.peak_bytes
        if self.shape is None or measured:
            return {}
        found = fallbacks(self.shape, self.config, self.lengths, self.device, self.machine.free)
        processes = max(1, self.config.processes) if self.device == "cpu" else 1
        return {words: each.total * processes for words, each in found.items()}

    @property
    def needed(self) -> int | None:
        """Bytes that must be free on the device: as measured where it was, else as estimated.

        Several processes have a GPU each; on the CPU they share its memory.
        """
        needed = self._needed_by_one
        return needed * max(1, self.config.processes) if needed is not None and self.device == "cpu" else needed

    @property
    def _needed_by_one(self) -> int | None:
        estimate, peak = self.estimate, self.measured.peak_bytes if self.measured is not None else 0
        if peak and self.device == "cpu":
            return peak
        if peak and estimate is not None:
            return replace(estimate, measured=peak).total
        return estimate.total if estimate else None

    @property
    def fits(self) -> bool | None:
        """Whether device and disk have room for the run; None where that cannot be said."""
        if self.trouble is not None and self.trouble.memory:
            return False
        needed = self.needed
        if needed is None:
            return None
        return needed <= self.machine.free and self.disk_needed <= self.machine.disk_free

    @property
    def changes(self) -> dict[str, Any]:
        """Settings to change so that the run fits into memory; empty where it does, or where nothing would help."""
        needed = self.needed
        if self.shape is None or needed is None or needed <= self.machine.free:
            return {}
        return smaller(self.shape, self.config, self.lengths, self.device, self.machine.free, self.judge)

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes of checkpoints, and of the adapter; 0 where the model's shape is not known."""
        return disk(self.shape, self.config) if self.shape else (0, 0)

    @property
    def disk_needed(self) -> int:
        """Bytes of checkpoints and adapter."""
        return sum(self.disk)

    @property
    def seconds(self) -> float | None:
        """Seconds of the whole run: from a measured step, or an earlier run's pace; None where there is neither."""
        steps = self.steps
        if steps is None:
            return None
        if self.measured is not None:
            return self._measured_seconds(self.measured, steps)
        if self.unmeasured is not None and self.unmeasured.pairs_per_second:
            return steps * self.config.step_rows / self.unmeasured.pairs_per_second
        return None

    @property
    def step_seconds(self) -> float | None:
        """Seconds of a typical optimizer step."""
        if self.measured is not None and self.steps:
            return self._training_seconds(self.measured, self.steps) / self.steps
        if self.unmeasured is not None and self.unmeasured.pairs_per_second:
            return self.config.step_rows / self.unmeasured.pairs_per_second
        return None

    def _measured_seconds(self, measured: Measured, steps: int) -> float:
        evaluations = 1 + math.ceil(steps / self.config.eval_every(steps))
        seconds = measured.ready_seconds + self._training_seconds(measured, steps)
        if self.counts is None or not self.counts.holdout or not measured.eval_tokens:
            return seconds
        part = self.config.step_rows // self.config.gradient_accumulation
        tokens = self.counts.holdout_tokens / max(1, self.config.processes)
        passes = passes_of(tokens, math.ceil(self.counts.holdout / part), self._at_once)
        held_out = replace(measured, tokens=measured.eval_tokens, passes=1).times(tokens, passes)
        once = measured.times(tokens, passes) * measured.reference_seconds
        return seconds + evaluations * held_out * measured.eval_seconds + once

    @property
    def _at_once(self) -> float:
        """Tokens that go through the model at once; without end where it is rows as TRL has them."""
        if not shares_prompts(self.config):
            return math.inf
        return self.plan.tokens if self.plan is not None else TOKEN_BUDGET[self.device]

    def _training_seconds(self, measured: Measured, steps: int) -> float:
        """By tokens: those of the whole run beside those that were measured."""
        if self.counts is None:
            return 0.0
        an_epoch = math.ceil(self.counts.train / self.config.step_pairs)
        tokens = self.counts.tokens / max(1, self.config.processes)
        passes = passes_of(tokens, an_epoch * self.config.gradient_accumulation, self._at_once)
        epochs = steps / an_epoch
        seconds = epochs * measured.seconds + min(1.0, epochs) * measured.reference_seconds
        return measured.times(tokens, passes) * seconds


def passes_of(tokens: float, batches: int, at_once: float) -> int:
    """How often the model is gone through for micro-batches that have so many tokens together: the fast path parts what
    is more than goes at once."""
    return batches * max(1, math.ceil(tokens / batches / at_once))


def begin(workspace_runs: Path, config: RunConfig) -> Preview:
    """What is known at once. Reads config.json and looks at the machine: some ten milliseconds, no network."""
    this_machine = machines.look(workspace_runs)
    try:
        return Preview(config, this_machine, shape_of(config.model), judge=judge_of(config, workspace_runs))
    except WorkbenchError as error:
        return Preview(config, this_machine, None, unknown=f"{error.title}: {error.message}")


def rows_line(preview: Preview) -> str:
    """Pairs that train, are held out, and what becomes of the others; empty until that is known."""
    counts, rows = preview.counts, preview.rows
    if counts is not None:
        parts = [
            f"{counts.train:,} train",
            f"{counts.holdout:,} held out",
            f"{counts.dropped:,} dropped",
            f"{counts.truncated:,} truncated",
            f"{counts.identical:,} identical",
        ]
    elif rows is not None:
        parts = [f"{rows.train:,} train", f"{rows.holdout:,} held out"]
    else:
        return ""
    if rows is not None and rows.unusable:
        parts.append(f"{rows.unusable:,} unusable")
    if rows is not None and rows.undrafted:
        parts.append(f"{rows.undrafted:,} to be drafted")
    return " · ".join(parts)


def raw_line(preview: Preview) -> str:
    """What plain text means for a model with a chat template; empty where there is none, or that is not known."""
    counts = preview.counts
    if counts is None or not counts.raw:
        return ""
    command = f"{_checking(preview.config)} --fix plain-text"
    return (
        f"▲ {plural(counts.raw, 'pair is', 'pairs are')} plain text: trained without the model's chat template,"
        f" and asked with it. {command} makes conversations of them."
    )


def _checking(config: RunConfig) -> str:
    """The command that checks the pairs as the run renders them."""
    settings = [f"template.{name}={as_typed(value)}" for name, value in config.template.items()]
    settings += [f"chat_template={config.chat_template}"] if config.chat_template else []
    return " ".join(
        [
            f"workbench check {quoted(config.pairs[0])} --model {quoted(config.model)}",
            *(f"--set {quoted(each)}" for each in settings),
        ]
    )


def template_lines(preview: Preview) -> list[str]:
    """What the chat template leaves out of the pairs, and that the model has none; empty where all is well."""
    counts, lines = preview.counts, list[str]()
    if counts is not None and counts.losing:
        lines.append(
            f"▲ The chat template leaves out part of {counts.losing:,} of {plural(counts.looked_at, 'pair')} looked at:"
            f" {counts.left_out}. {_checking(preview.config)} names all."
        )
    if counts is not None and counts.fallback:
        lines.append(
            "▲ The model has no chat template: turns are written as “User: …” and “Assistant: …”. To train in another,"
            f" choose one: {CHOOSE_TEMPLATE}"
        )
    return lines


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
    text = f"{plural(steps, 'step')} of {preview.config.step_rows:,}"
    if preview.seconds is not None and preview.step_seconds is not None:
        text += f" · about {rough(preview.seconds)}, {preview.step_seconds:.2f} s a step"
        if preview.unmeasured is not None:
            text += f" as in {preview.unmeasured.run}"
        elif preview.measured is not None:
            busy = f" while {busy_words(preview.measured)}" if preview.measured.busy else ""
            text += f" (measured on {plural(preview.measured.tokens, 'token')}{busy})"
    return text


def busy_words(measured: Measured) -> str:
    """What else ran while it was measured."""
    return f"the machine was busy: load {measured.load:.1f} on {plural(measured.cores, 'core')}"


def memory_parts(preview: Preview) -> list[str]:
    """The parts of the memory that count, the largest first."""
    estimate = preview.estimate
    if estimate is None:
        return []
    held = {part.name: part.bytes for part in estimate.parts if part.counts}
    parts = {"weights": 0, "adapter": held.pop("gradients"), "libraries": estimate.total - estimate.training}
    for name, amount in held.items():
        short = name.partition(" ")[0]
        parts[short] = parts.get(short, 0) + amount
    sizes = [f"{name} {size(parts[name])}" for name in sorted(parts, key=lambda name: -parts[name])]
    return [*sizes, words] if (words := plan_words(preview)) else sizes


def memory_rows(preview: Preview) -> list[list[str]]:
    """The parts of the memory as a table: name and size, in brackets what gives way to something larger."""
    estimate = preview.estimate
    if estimate is None:
        return []
    rows = [[part.name, size(part.bytes) if part.counts else f"({size(part.bytes)})"] for part in estimate.parts]
    rows.append(["libraries and room", size(estimate.total - estimate.training)])
    words = plan_words(preview)
    rows.append([f"estimate, {words}" if words else "estimate", size(estimate.total)])
    rows += [[f"estimate {words}", f"({size(needed)})"] for words, needed in preview.fallbacks.items()]
    if preview.measured is not None and preview.measured.peak_bytes:
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
    if line := fallback_line(preview):
        lines.append(f"  {line}")
    if preview.changes:
        lines.append(f"  These settings would fit: {as_settings(preview.changes)}")
    if machine.gpu is not None:
        lines += [f"  {line}" for line in holders(machine.gpu)]
    if preview.unmeasured is not None and not preview.unknown:
        lines.append(f"  Not measured: {preview.unmeasured.reason}")
    return lines


def plan_words(preview: Preview) -> str:
    """The plan in words; empty on the CPU, where none are by itself."""
    words = {"none": "no layer", "quarter": "every fourth layer", "half": "every second layer", "all": "all layers"}
    plan = preview.plan
    if plan is None or (preview.device == "cpu" and plan.checkpointing == "none"):
        return ""
    at_once = f", {plan.tokens:,} tokens at once" if plan.tokens < TOKEN_BUDGET[preview.device] else ""
    return f"{words[plan.checkpointing]} computed twice{at_once}"


def fallback_line(preview: Preview) -> str:
    """What would not fit though the run does: it is tried at its start whether the model can share prompts."""
    free, needed = preview.machine.free, preview.needed
    wanting = {words: each for words, each in preview.fallbacks.items() if each > free}
    if not wanting or needed is None or needed > free:
        return ""
    told = " and ".join(f"{size(each)} {words}" for words, each in wanting.items())
    return f"would not fit if the model cannot share prompts: {told}"


def holders(gpu: Gpu) -> list[str]:
    """Who holds memory on the GPU, a line each, the largest first."""
    return [
        f"{size(holder.bytes)} held by {holder.name or 'a process'} ({holder.pid}{', ours' if holder.ours else ''})"
        for holder in gpu.holders
    ]


def disk_line(preview: Preview) -> str:
    """What checkpoints and adapter take of what is free."""
    free = f"{size(preview.machine.disk_free)} free"
    if preview.shape is None:
        return free
    checkpoints, adapter = preview.disk
    return f"{size(checkpoints)} checkpoints, {size(adapter)} adapter, of {free}"
