"""What a model's tokenizer and chat template make of the pairs.

The engine counts the tokens, in a process of its own: no model library is imported here.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from workbench import child
from workbench.chat_templates import CHOOSE_TEMPLATE, OWN_RENDERING, Rendering, read_template, template_file
from workbench.figures import plural
from workbench.models import resolve
from workbench.pairs.checks.findings import CheckFinding, OnProgress, Severity, TokenLengths, Watch
from workbench.pairs.checks.length import ResponseLengths
from workbench.pairs.checks.text_columns import TextColumns
from workbench.pairs.formats import has_template
from workbench.pairs.pair import Pair, to_line
from workbench.trust import UNTRUSTED, Trust


@dataclass(frozen=True, slots=True)
class PairTokens:
    """One pair in tokens: of the prompt, and of each response with what ends it. `shared`: with how many equal tokens
    both responses begin. `stops`: whether chosen and rejected end in a token at which generation stops, before anything
    is added to them. `raw`: it is plain text, and the model has a chat template. `refused`: why that does not take the
    pair; all else is then 0. `left_out`: what the template leaves out of it, each beginning with "answer" or "prompt".
    `outside`: tokens that the model has no embedding for. `fallback`: the model has no chat template, so that the
    workbench's own is used."""

    prompt: int
    chosen: int
    rejected: int
    shared: int
    stops: bool
    raw: bool = False
    refused: str = ""
    left_out: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    fallback: bool = False

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> PairTokens:
        """The counts in a row of the engine's, which has the pair's id too."""
        lists = {name: tuple(row[name]) for name in ("left_out", "outside")}
        return cls(**{field.name: row[field.name] for field in fields(cls)} | lists)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The counts of all pairs by id, the model they are for, and how its turns were rendered."""

    model: str
    pairs: Mapping[str, PairTokens]
    rendering: Rendering = OWN_RENDERING

    @property
    def template(self) -> str:
        """The chat template in words."""
        chosen = self.rendering.chat_template
        return f"the chat template {chosen}" if chosen else f"the chat template of {self.model}"

    def lengths(self, ids: Sequence[str]) -> ResponseLengths:
        """The lengths of the responses in tokens."""
        counts = [self.pairs[identity] for identity in ids]
        return ResponseLengths("tokens", [pair.chosen for pair in counts], [pair.rejected for pair in counts])

    def compact(self, ids: Sequence[str]) -> TokenLengths:
        """The lengths of the responses of these pairs, to be asked by id; without those that the template refused."""
        counts = ((identity, self.pairs[identity]) for identity in ids)
        return TokenLengths.of((identity, pair.chosen, pair.rejected) for identity, pair in counts if not pair.refused)


def count_tokens(
    pairs: Sequence[Pair],
    model: str,
    rendering: Rendering = OWN_RENDERING,
    *,
    trust: Trust = UNTRUSTED,
    on_progress: OnProgress = lambda *_: None,
) -> TokenCounts:
    """The tokens of each pair for `model`, exactly as training with the same settings makes them.

    `trust`: what the model's files may do.

    Raises `WorkbenchError` where the model or the chat template cannot be had.
    """
    resolve(model)
    chosen = read_template(template_file(rendering.chat_template))
    watch = Watch("tokens", on_progress)
    counts: dict[str, PairTokens] = {}

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            counts.update((row["id"], PairTokens.from_json(row)) for row in message.value)
            watch.tick(len(counts), len(pairs))

    with tempfile.TemporaryFile() as rows:
        for pair in pairs:
            rows.write(to_line(pair).encode("utf-8", "replace"))
        rows.seek(0)
        command = child.python("workbench.engine.count_tokens")
        request = {
            "model": model,
            "chat_template": chosen,
            "template": dict(rendering.template),
            "trust": asdict(trust),
            "rows": rows.fileno(),
        }
        child.run(command, request, hear, name=f"Counting tokens with {model}", files=[rows.fileno()], grace=0)
    return TokenCounts(model, counts, rendering)


def token_findings(columns: TextColumns, _: Watch, tokens: TokenCounts, max_length: int) -> Iterator[CheckFinding]:
    """What `max_length` does to the pairs, by the rules of training, and whether their responses end."""
    counts = [tokens.pairs[identity] for identity in columns.ids]

    def those(holds: Callable[[PairTokens], bool]) -> tuple[str, ...]:
        return columns.named(index for index, pair in enumerate(counts) if not pair.refused and holds(pair))

    if named := those(lambda pair: pair.raw):
        templated = any(has_template(prompt) for prompt in columns.prompts)
        yield CheckFinding(
            "plain-text",
            "warning",
            named,
            f"{plural(len(named), 'pair is', 'pairs are')} plain text, and {tokens.model} has a chat template:"
            f" {'it trains' if len(named) == 1 else 'they train'} without it, and the model is asked with it.",
            "Some prompts have a template filled in, so nothing converts all: part them into two data sets."
            if templated
            else "Make conversations of them; leave them where the model is to continue plain text.",
            to_mend=() if templated else None,
        )
    if refused := [index for index, pair in enumerate(counts) if pair.refused]:
        yield CheckFinding(
            "template",
            "error",
            columns.named(refused),
            f"{plural(len(refused), 'pair is', 'pairs are')} refused by {tokens.template}"
            f" ({counts[refused[0]].refused})",
            "Leave out turns of a role it does not know (often system) or calls of tools, or use another model.",
        )
    yield from _of_rendering(columns, counts, tokens)
    if named := those(lambda pair: pair.prompt >= max_length):
        yield CheckFinding(
            "dropped",
            "warning",
            named,
            f"{plural(len(named), 'prompt fills', 'prompts fill')} max_length {max_length:,} alone:"
            f" training leaves {'it' if len(named) == 1 else 'them'} out.",
            f"Raise max_length (the longest pair needs {_longest(counts):,}), or shorten the prompts.",
        )
    if named := those(lambda pair: pair.prompt < max_length < pair.prompt + max(pair.chosen, pair.rejected)):
        yield CheckFinding(
            "truncated",
            "warning",
            named,
            f"{plural(len(named), 'pair has', 'pairs have')} a response cut off at max_length {max_length:,},"
            " the token that ends it included.",
            f"Raise max_length (the longest pair needs {_longest(counts):,}), or shorten the responses.",
        )
    if named := those(
        lambda pair: pair.prompt < max_length and not _same(pair) and _same_once_cut(pair, max_length - pair.prompt)
    ):
        yield CheckFinding(
            "identical-cut",
            "error",
            named,
            f"{plural(len(named), 'pair has', 'pairs have')} the same tokens as chosen and as rejected once cut at"
            f" max_length {max_length:,}.",
            "Such a pair has no gradient: raise max_length, or edit one side.",
        )
    if named := those(lambda pair: not pair.stops):
        yield CheckFinding(
            "no-stop",
            "warning",
            named,
            f"{plural(len(named), 'pair has', 'pairs have')} a response that {tokens.template}"
            " does not end in a token at which generation stops.",
            "Runs here add the end-of-sequence token; other trainers would teach the model to go on. Mend the"
            " template or eos_token in the model's tokenizer_config.json.",
        )


def _of_rendering(columns: TextColumns, counts: Sequence[PairTokens], tokens: TokenCounts) -> Iterator[CheckFinding]:
    """What was said against what is rendered."""
    model = tokens.model
    if named := [index for index, pair in enumerate(counts) if pair.outside]:
        beyond = dict.fromkeys(token for index in named for token in counts[index].outside)
        shown = ", ".join(list(beyond)[:_SHOWN])
        yield CheckFinding(
            "outside",
            "error",
            columns.named(named),
            f"{plural(len(named), 'pair has', 'pairs have')} tokens that {model} has no embedding for: {shown}.",
            "Its tokenizer has more tokens than the model: take the added ones out of the tokenizer, or resize the"
            " model's embedding.",
        )
    told = [one == other for one, other in zip(columns.chosen, columns.rejected, strict=True)]
    if named := [index for index, pair in enumerate(counts) if _same(pair) and not told[index]]:
        causes = _counted(counts[index].left_out for index in named)
        yield CheckFinding(
            "identical-rendered",
            "error",
            columns.named(named),
            f"{plural(len(named), 'pair has', 'pairs have')} the same tokens as chosen and as rejected: "
            + (f"{tokens.template} leaves out {causes}." if causes else f"{model} reads both alike."),
            "Such a pair has no gradient. Use a template that renders it, or say it elsewhere in the turn.",
        )
    for kind, severity, what, hint in _KINDS:
        lost = {
            index: those
            for index, pair in enumerate(counts)
            if (those := [each for each in pair.left_out if each.startswith(kind)])
        }
        if lost:
            yield CheckFinding(
                "left-out",
                severity,
                columns.named(lost),
                f"T{tokens.template[1:]} leaves out {what} {plural(len(lost), 'pair')}: {_counted(lost.values())}.",
                hint,
                figures={"left_out": dict(_counts(lost.values()))},
            )
    if named := [index for index, pair in enumerate(counts) if pair.fallback]:
        yield CheckFinding(
            "fallback-template",
            "note",
            columns.named(named),
            f"{model} has no chat template: turns are written in the workbench's own, as “User: …” and “Assistant: …”.",
            f"To train in another, choose one: {CHOOSE_TEMPLATE}",
        )


_SHOWN = 5
_KINDS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "answer",
        "warning",
        "part of the answers of",
        "It trains nothing: use a template that renders it, or take it out of the turns.",
    ),
    (
        "prompt",
        "warning",
        "part of the prompts of",
        "The model never reads it, here and where it is asked: use another template, or say it in a user turn.",
    ),
    ("earlier", "note", "the reasoning of earlier turns of", "Many templates do so: it is read where it was trained."),
    ("unread", "note", "fields of", "No harm where they are yours; the model does not see them."),
)


def _counts(lost: Iterable[Iterable[str]]) -> list[tuple[str, int]]:
    return Counter(each.partition(": ")[2] for pair in lost for each in pair).most_common()


def _counted(lost: Iterable[Iterable[str]]) -> str:
    """What is left out of pairs, with the number of pairs."""
    return ", ".join(f"{what} ({count:,})" for what, count in _counts(lost)[:_SHOWN])


def _same(pair: PairTokens) -> bool:
    """Whether both responses have the same tokens before anything is cut."""
    return pair.shared == pair.chosen == pair.rejected and not pair.refused


def _same_once_cut(pair: PairTokens, room: int) -> bool:
    return pair.shared >= room or _same(pair)


def _longest(counts: Sequence[PairTokens]) -> int:
    return max(pair.prompt + max(pair.chosen, pair.rejected) for pair in counts)
