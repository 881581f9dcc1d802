"""What a worker tells the world: one JSON object a line in events.jsonl, appended and never changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.files import from_json, json_in

VERSION = 1
_MOST_SECONDS = 1e11
"""A time after this one, in the year 5138, no clock has shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`time` is seconds since 1970; `step` counts optimizer steps done."""

    time: float
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(Event):
    """The worker is there and waits for its turn on `device`."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Event):
    """What the worker does before the first step or after the last ("loading the model")."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """Everything that is known before the first step. Counts are of pairs; `processes` share them out.

    `path` says how pairs go through the model: "plain TRL", or how the fast path lays their rows out; `slower_because`,
    why they do not in a faster way that there is. `checkpointing`: how many layers are computed again in the backward;
    `tokens_at_once` go through the model then, 0 where that is counted in pairs.
    """

    total_steps: int
    train_pairs: int
    holdout_pairs: int
    dropped: int
    truncated: int
    identical: int
    trainable_parameters: int
    total_parameters: int
    reference: str
    device: str
    model_revision: str
    path: str = ""
    slower_because: str = ""
    processes: int = 1
    checkpointing: str = ""
    tokens_at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """A new worker goes on after `step`, from `checkpoint` (relative to the run folder; empty: from the beginning).

    What earlier events told of later steps is void: these steps are made again.
    """

    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Event):
    """Means since the last such event, under TRL's names (loss, rewards/margins, logps/chosen, …).

    `seconds` (training with its evaluations, no waiting, no pauses) and `pairs` count from the beginning of the run,
    over all its workers. `tokens_per_second` counts the tokens of both sides, padding left out. `memory_bytes` is the
    most that was in use so far: of the GPU where there is one, else of the process.
    """

    epoch: float
    seconds: float
    pairs: int
    metrics: dict[str, float]
    pairs_per_second: float
    tokens_per_second: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eval(Event):
    """Means over the held-out pairs, under the names of `Step` (no `eval_` before them).

    With them `kl`: KL(policy ‖ start) in nats a token, exact over the vocabulary, at the response positions of the
    first held-out pairs. Start is the model that the run began with, and so the reference where there is one.
    """

    epoch: float
    seconds: float
    pairs: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Event):
    """What base and aligned model answer, greedily, to the prompt of the held-out pair `pair`. Untrusted text."""

    pair: str
    prompt: str
    base: str
    aligned: str
    base_tokens: int
    aligned_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Event):
    """A checkpoint was saved; `path` is relative to the run folder."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something the user should know, in plain words: what, why, and what to do. Training goes on.

    `code` names the kind of alert ("displacement"); each is told once a run. It is empty for a single remark.
    """

    title: str
    message: str
    remedy: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """The worker waits between two steps, on request. It keeps its memory and its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued(Event):
    """A paused worker goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """All steps done and the adapter saved. `changed` is the share of adapter weights that moved, 0 to 1."""

    seconds: float
    peak_memory_bytes: int
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """Stopped on request after a whole step, with a checkpoint and the adapter saved."""

    seconds: float
    peak_memory_bytes: int
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed(Event):
    """The worker was ended by force after it was asked to stop; told by whoever did it. The adapter was not saved."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The worker met an error that it could tell of."""

    title: str
    message: str
    hint: str = ""


End = Finished | Stopped | Killed | Failed
"""Events after which a worker says no more."""

_KINDS: dict[str, type[Event]] = {
    "queued": Queued,
    "phase": Phase,
    "started": Started,
    "resumed": Resumed,
    "step": Step,
    "eval": Eval,
    "sample": Sample,
    "checkpoint": Checkpoint,
    "warning": Warned,
    "paused": Paused,
    "continued": Continued,
    "finished": Finished,
    "stopped": Stopped,
    "killed": Killed,
    "failed": Failed,
}
"""What each event is called in the file."""
_KIND_OF = {event: kind for kind, event in _KINDS.items()}


def encode(event: Event) -> str:
    """The event as one line of JSON, newline included.

    JSON has no word for numbers that are not finite: in `metrics` they are written as "NaN", "Infinity", "-Infinity".
    """
    raw = asdict(event)
    if "metrics" in raw:
        raw["metrics"] = {name: _to_json(value) for name, value in raw["metrics"].items()}
    return json.dumps({"v": VERSION, "kind": _KIND_OF[type(event)], **raw}, ensure_ascii=False, allow_nan=False) + "\n"


def decode(line: str) -> Event | None:
    """The event in `line`; None for a kind, version or line that this reader does not know.

    Unknown fields are left aside, so that an older screen can watch a newer worker.
    """
    try:
        return _parse(line)
    except ValueError:
        return None


def _parse(line: str) -> Event | None:
    """As `decode`, but raises `ValueError` for a line that no version of a worker can have written."""
    try:
        raw: Any = json_in(line)
        version, kind = raw["v"], raw["kind"]
        if version != VERSION or kind not in _KINDS:
            return None
        event = from_json(_KINDS[kind], raw)
        if not 0 <= event.time < _MOST_SECONDS or event.step < 0:
            raise ValueError("no such time, or no such step")
        return event
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an event: {error!r}") from error


def _to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@dataclass(slots=True)
class EventReader:
    """Reads what was appended since the last call; a half-written last line waits for its end.

    `damaged` counts the lines so far that no worker can have written: a broken disk, or someone's editor. They are
    skipped; events of a kind or version that is not known here are skipped too, and not counted.
    """

    path: Path
    damaged: int = 0
    _offset: int = 0

    def read(self) -> Iterator[Event]:
        """The events that are new since the last call, oldest first. None where the file does not exist yet."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except FileNotFoundError:
            return
        except OSError:
            # A folder in its place, a link that leads nowhere, a disk that fails: nothing in it can be read.
            self.damaged = max(self.damaged, 1)
            return
        whole, newline, _ = chunk.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.split(b"\n"):
            if not line.strip():
                continue
            try:
                event = _parse(line.decode("utf-8"))
            except ValueError:
                self.damaged += 1
                continue
            if event is not None:
                yield event
