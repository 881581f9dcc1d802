"""What a model's tokenizer and chat template make of the pairs, judged by counts that the engine measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.length import Lengths
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.token_lengths import TokenLengths
from workbench.pairs.checks.watch import Watch


@dataclass(frozen=True, slots=True)
class PairTokens:
    """One pair in tokens: of the prompt, and of each response with what ends it. `shared`: with how many equal tokens
    both responses begin. `stops`: whether chosen and rejected end in a token at which generation stops, before anything
    is added to them. `refused`: why the chat template does not take the pair; all else is then 0."""

    prompt: int
    chosen: int
    rejected: int
    shared: int
    stops: bool
    refused: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PairTokens:
        """The counts in a line of what the engine prints."""
        return cls(**{name: found[name] for name in ("prompt", "chosen", "rejected", "shared", "stops", "refused")})


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The counts of all pairs by id, and the model they are for."""

    model: str
    pairs: Mapping[str, PairTokens]

    def lengths(self, ids: Sequence[str]) -> Lengths:
        """The lengths of the responses in tokens."""
        found = [self.pairs[identity] for identity in ids]
        return Lengths("tokens", [each.chosen for each in found], [each.rejected for each in found])

    def compact(self, ids: Sequence[str]) -> TokenLengths:
        """The lengths of the responses of these pairs, to be asked by id; without those that the template refused."""
        counted = ((identity, self.pairs[identity]) for identity in ids)
        return TokenLengths.of((identity, each.chosen, each.rejected) for identity, each in counted if not each.refused)


def token_findings(columns: Texts, tokens: TokenCounts, max_length: int, watch: Watch) -> list[Finding]:
    """What `max_length` does to the pairs, by the rules of training, and whether their responses end."""
    counted = [tokens.pairs[identity] for identity in columns.ids]
    watch.tick(0, 1)

    def places(holds: Callable[[PairTokens], bool]) -> tuple[str, ...]:
        return columns.named(place for place, each in enumerate(counted) if not each.refused and holds(each))

    findings: list[Finding] = []
    if refused := [place for place, each in enumerate(counted) if each.refused]:
        findings.append(
            Finding(
                "template",
                "error",
                columns.named(refused),
                f"{plural(len(refused), 'pair is', 'pairs are')} refused by the chat template of {tokens.model}"
                f" ({counted[refused[0]].refused})",
                "Leave out turns of a role it does not know (often system), or use another model.",
            )
        )
    if named := places(lambda each: each.prompt >= max_length):
        findings.append(
            Finding(
                "dropped",
                "warning",
                named,
                f"{plural(len(named), 'prompt fills', 'prompts fill')} max_length {max_length:,} alone:"
                f" training leaves {'it' if len(named) == 1 else 'them'} out.",
                f"Raise max_length (the longest pair needs {_longest(counted):,}), or shorten the prompts.",
            )
        )
    if named := places(lambda each: each.prompt < max_length < each.prompt + max(each.chosen, each.rejected)):
        findings.append(
            Finding(
                "truncated",
                "warning",
                named,
                f"{plural(len(named), 'pair has', 'pairs have')} a response cut off at max_length {max_length:,},"
                " the token that ends it included.",
                f"Raise max_length (the longest pair needs {_longest(counted):,}), or shorten the responses.",
            )
        )
    if named := places(lambda each: each.prompt < max_length and _same_once_cut(each, max_length - each.prompt)):
        findings.append(
            Finding(
                "identical-cut",
                "error",
                named,
                f"{plural(len(named), 'pair has', 'pairs have')} the same tokens as chosen and as rejected once cut at"
                f" max_length {max_length:,}.",
                "Such a pair has no gradient: raise max_length, or edit one side.",
            )
        )
    if named := places(lambda each: not each.stops):
        findings.append(
            Finding(
                "no-stop",
                "warning",
                named,
                f"{plural(len(named), 'pair has', 'pairs have')} a response that the chat template of {tokens.model}"
                " does not end in a token at which generation stops.",
                "Runs here add the end-of-sequence token; other trainers would teach the model to go on. Mend the"
                " template or eos_token in the model's tokenizer_config.json.",
            )
        )
    return findings


def _same_once_cut(each: PairTokens, room: int) -> bool:
    return each.shared >= room or each.shared == each.chosen == each.rejected


def _longest(counted: Sequence[PairTokens]) -> int:
    return max(each.prompt + max(each.chosen, each.rejected) for each in counted)
