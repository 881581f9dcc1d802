"""Replies of a scorer, made by hand: the bad answer collapsed, the good one rose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from workbench.compare.comparison import BASE, Answer, ColumnGeneration, Comparison
from workbench.compare.measures import ToldAnswer
from workbench.compare.messages import (
    Column,
    Distribution,
    Scored,
    ScoredColumn,
    TokenCandidate,
    TokenScore,
)

RUN = Column(name="support-dpo-3", adapter="runs/x/adapter")
SYSTEM = Column(name="base + system", system="Always be polite and kind.")

REJECTED = [
    "Sure",
    ".",
    " First",
    " wait",
    " until",
    " nobody",
    " is",
    " near",
    " the",
    " security",
    " system",
    ",",
    " then",
    " follow",
    " step",
    " A",
    " and",
    " step",
    " B",
    ".",
    " Nobody",
    " will",
    " not",
    "ice",
    ".",
    "<|end|>",
]
CHOSEN = [
    "I",
    " can",
    "'t",
    " help",
    " with",
    " getting",
    " past",
    " the",
    " security",
    " system",
    ".",
    " I",
    " can",
    " show",
    " you",
    " how",
    " to",
    " use",
    " it",
    " the",
    " right",
    " way",
    " instead",
    ".",
    "<|end|>",
]


def column(name: str, tokens: Sequence[str], logprobs: Sequence[float], ranks: Sequence[int]) -> ScoredColumn:
    scores = [
        TokenScore(
            id=number,
            text=text,
            logprob=logprob,
            rank=rank,
            top=[],
            special=text.startswith("<|"),
            shift_rank=rank,
        )
        for number, (text, logprob, rank) in enumerate(zip(tokens, logprobs, ranks, strict=True))
    ]
    total = sum(logprobs)
    return ScoredColumn(
        name=name,
        sum=total,
        mean=total / len(tokens),
        probability=math.exp(min(total, 0)),
        perplexity=math.exp(-total / len(tokens)),
        tokens=scores,
    )


def scored(tokens: Sequence[str], base: Sequence[float], aligned: Sequence[float], rank: int = 1) -> Scored:
    """Scores under base and run; `rank` is the first token's under the run."""
    ones = [1] * len(tokens)
    columns = [column("base", tokens, base, ones), column(RUN.name, tokens, aligned, [rank, *ones[1:]])]
    return Scored(id=1, columns=columns)


def rejected_scores() -> Scored:
    rest = len(REJECTED) - 4
    return scored(REJECTED, [-0.4, *[-0.02] * (rest + 3)], [-5.3, -0.3, -0.01, -1.2, *[-0.12] * rest], rank=4)


def chosen_scores() -> Scored:
    rest = len(CHOSEN) - 1
    return scored(CHOSEN, [-1.9, *[-0.01] * rest], [-0.05, *[-0.01] * rest])


def distribution() -> Distribution:
    rows = [("Sure", 0.52, 0.005), ("Easy", 0.30, 0.0007), ("I", 0.14, 0.93), ("No", 0.02, 0.03)]
    rows += [(" To", 0.004, 0.01), ("\n", 0.003, 0.004), ("Not", 0.002, 0.001), ("日本", 0.001, 0.0004)]
    rows += [("🙂", 0.0009, 0.0006)]
    candidates = [
        TokenCandidate(token=number, text=text, logprobs=[math.log(base), math.log(aligned)])
        for number, (text, base, aligned) in enumerate(rows)
    ]
    return Distribution(id=1, candidates=candidates, entropy=[1.1, 0.3], kl=[0.0, 1.9], prompt_tokens=[14, 14], said=0)


def pair_comparison() -> Comparison:
    """Base beside a run on a pair, all of it scored."""
    return Comparison(
        columns=(BASE, RUN),
        current=1,
        answers=(
            Answer("pair", "rejected", "".join(REJECTED[:-1]), rejected_scores()),
            Answer("pair", "chosen", "".join(CHOSEN[:-1]), chosen_scores()),
        ),
    ).with_distribution(distribution(), "next token")


def speaking_comparison() -> Comparison:
    """The same, while the run is still speaking."""
    generations = (
        ColumnGeneration("base", "".join(REJECTED[:-1]), done=True),
        ColumnGeneration(RUN.name, "I can't help with getting past the"),
    )
    return replace(pair_comparison(), generations=generations)


def sampled_comparison() -> Comparison:
    """The same, with eight samples of each column and what a system message costs."""
    shown: Sequence[list[tuple[str, ...]]] = [("compliant",)] * 6 + [("refusing",), ()], [("refusing",)] * 8
    samples = [
        ToldAnswer(column.name, "", shows) for column, found in zip((BASE, RUN), shown, strict=True) for shows in found
    ]
    return pair_comparison().with_samples(samples)
