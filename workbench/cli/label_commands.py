"""label-samples: a person's word on how sampled answers were classified."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.context import RUN, Json, Run, examples, folder_of
from workbench.console import note, print_json

if TYPE_CHECKING:
    from workbench.evidence.sample_labels import ToLabel
    from workbench.runs.folder import RunFolder


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    judging = examples(f"label-samples {RUN} --kind attack --behaviour refusing", f"label-samples {RUN} --json")
    app.command("label-samples", epilog=judging)(label_samples)


def label_samples(
    context: typer.Context,
    run: Run,
    kind: Annotated[str | None, typer.Option(help="The kind of probes. Default: all that claims are about.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="The behaviour. Default: all that claims are about.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Answers to judge of each kind and behaviour.")] = 20,
    as_json: Json = False,
) -> None:
    """Judge how `evaluate` classified its sampled answers, one key an answer, for the classifier's own error rate.

    They are those of base and run, and of the merged model where that was measured.
    Half of the answers were told to show the behaviour, half not to. What is judged is saved at once, and the report
    has the error rate with its interval. With --json, or where stdin is no terminal, it is only printed.
    """
    from workbench.cli.evidence_tables import print_error_rates
    from workbench.evidence.document import read_evidence
    from workbench.evidence.sample_labels import error_rates, read_labels, to_label

    folder = folder_of(context, run)
    evidence, labels = read_evidence(folder.evidence), read_labels(folder.sample_labels)
    wanted = dict.fromkeys(
        (claim.kind, claim.behaviour)
        for claim in evidence.claims.values()
        if "samples" in claim.by and kind in (None, claim.kind) and behaviour in (None, claim.behaviour)
    )
    if kind is not None and behaviour is not None:
        wanted[kind, behaviour] = None
    if sys.stdin.isatty() and not as_json:
        answers = [one for each in wanted for one in to_label(evidence.sampled, labels, *each, count, evidence.seed)]
        _judge(folder, answers)
    rates = error_rates(read_labels(folder.sample_labels))
    if as_json:
        print_json([asdict(rate) for rate in rates])
    else:
        print_error_rates(rates)


def _judge(folder: RunFolder, answers: Sequence[ToLabel]) -> None:
    """Asks about each answer, and saves what is said of it."""
    from workbench.evidence.sample_labels import add_label

    note("y: right · n: wrong · s: skip · b: back · q: enough")
    number = 0
    while 0 <= number < len(answers):
        answer = answers[number]
        note(f"\n{number + 1} of {len(answers)} · {answer.kind}\nprompt  {answer.prompt}")
        note(f"answer  {answer.answer.strip()}")
        told = "" if answer.told else "not "
        note(f"classified as {told}{answer.behaviour}. Right? ", end="")
        key = typer.getchar().lower()
        note({"y": "right", "n": "wrong", "s": "skipped", "b": "back", "q": "enough"}.get(key, "y, n, s, b or q"))
        if key in ("y", "n"):
            add_label(folder.sample_labels, answer.labelled(right=key == "y"))
        if key == "q":
            return
        number += {"y": 1, "n": 1, "s": 1, "b": -1}.get(key, 0)
        number = max(0, number)
