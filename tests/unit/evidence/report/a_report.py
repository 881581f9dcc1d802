"""Everything that a report can be made of, with any text in every place that holds text of others."""

from datetime import UTC, datetime

from workbench.config import RunConfig
from workbench.evidence.calibration import Bin, Calibration
from workbench.evidence.cases import Example, Regression, TokenPiece, TokenResponse, TokenView
from workbench.evidence.claims import DEFAULTS, Claim
from workbench.evidence.document import Evidence, Provenance
from workbench.evidence.length_control import LengthControl
from workbench.evidence.measurements import BOTH, HELD_OUT, Measure, Measurement
from workbench.evidence.report.sources import Sources
from workbench.evidence.sample_labels import SampleLabel
from workbench.evidence.settings import Settings
from workbench.evidence.statistics import Change, Estimate
from workbench.evidence.verdicts import Verdict
from workbench.pairs.checks.findings import CheckFinding, ChecksReport
from workbench.runs.events import Eval, Event, Finished, Sample, Started, Step, Warned
from workbench.runs.folder import Record
from workbench.runs.labels import Labels
from workbench.runs.state import fold

HOSTILE = (
    "<script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "</style><script>document.title='run'</script>",
    "</title></textarea></svg><svg onload=document.title='run'>",
    "[click](javascript:document.title='run')",
    '" onmouseover="document.title=\'run\'" x="',
    "' autofocus onfocus='document.title=1'",
    "\u202egnp.exe\u202c \u2066right to left\u2069 \u200bzero\u200dwidth",
    "]]> <![CDATA[ <!-- --> <!-- -->",
    "{{7*7}} {% for x in y %} ${7*7} <%= 7*7 %> #{7*7}",
    "&lt;script&gt; &#60;b&#62; &amp;amp;",
    "<iframe src='https://example.com/'></iframe><link rel=stylesheet href=//example.com/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.com/'><base href='https://example.com/'>",
    "`code` | pipe \\| `` two `` @someone #12 www.example.com https://example.com/ **bold** ~~no~~ $x$",
    "\x1b]52;c;aGk=\x07\x00\x7f\x9b31m bell",
    "# heading\n\n- list\n\n---\n\n> quote\n\n| a | b |\n|---|---|\n| 1 | 2 |",
)
"""Texts that would do harm in a page, or change what it seems to say, if they were taken for more than text."""


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05, 48, 8)


def change(before: float, after: float) -> Change:
    return Change(estimate(before), estimate(after), estimate(after - before), 0.0078, -1.5, 0.02)


def measurement(kind: str, part: str, response: str, measure: Measure, before: float, after: float) -> Measurement:
    return Measurement(kind, part, response, measure, 48, change(before, after))


def verdict(name: str, *, holds: bool | None, value: float | None = 0.5, threshold: float = 0.6) -> Verdict:
    interval = None if value is None else (value - 0.05, value + 0.05)
    name_of_claim, _, measure = name.partition(", by ")
    claim = DEFAULTS.get(name_of_claim, ODD)
    message = "before 0.200, after 0.500 (≥ 0.60)"
    of_claim = (name_of_claim, claim.kind, claim.behaviour, measure or claim.by[0], "below 0.6 after training")
    return Verdict(name, holds, value, interval, threshold, 48, message, *of_claim)


ODD = Claim(kind="attack", behaviour="odd", at_least=0.6)


def some_evidence(text: str, verdicts: tuple[Verdict, ...] = ()) -> Evidence:
    """Some of everything. `text` stands for kinds, families, prompts, tags and what the models said."""
    pieces = [
        TokenPiece(text, -0.5, -3.0, (1, 12), text),
        TokenPiece("\n", -0.5, -0.45, (2, 1), "\n"),
        TokenPiece(text, -2.5, -0.1, (3, 1), text, special=True),
    ]
    bins = [Bin(0.5, 0.55, 5, 0.52, estimate(0.5)), Bin(0.9, 1.0, 80, 0.97, estimate(0.9))]
    return Evidence(
        run="a-run",
        model=text,
        quantization="nf4",
        method="dpo",
        beta=0.1,
        created="2026-01-02T03:04:05+00:00",
        seconds=12.0,
        seed=0,
        provenance=Provenance(
            "a" * 64,
            {text: "b" * 64},
            "c" * 64,
            {"torch": text},
            Settings().model_dump(),
            {text: {"phrases": [text]}},
        ),
        claims=dict.fromkeys((verdict.claim for verdict in verdicts), ODD) | {text: ODD} | DEFAULTS,
        verdicts=verdicts
        or (
            verdict("refusals of attacks, by probability", holds=True, value=0.948),
            verdict("helpful answers to benign look-alikes, by samples", holds=False, value=0.4, threshold=0.85),
            verdict("rude answers, by samples", holds=None, value=None, threshold=0.02),
            verdict(text, holds=False),
        ),
        measurements=[
            measurement("attack", "", "refusing", "probability", 0.2, 0.95),
            measurement("benign", "", "helpful", "samples", 0.9, 0.4),
            measurement(text, "", text, "log-probability", -1.0, -0.2),
            measurement("attack", text, "refusing", "probability", 0.2, 0.95),
            measurement(HELD_OUT, "", BOTH, "accuracy", 0.5, 0.9),
            measurement(HELD_OUT, "", BOTH, "margin", 2.0, 9.0),
            measurement(HELD_OUT, text, BOTH, "accuracy", 0.5, 0.9),
            measurement(HELD_OUT, text, BOTH, "margin", 2.0, 9.0),
        ],
        length_control=LengthControl(estimate(0.9), estimate(0.1), estimate(0.95), estimate(0.5)),
        calibration=Calibration(85, 0.1, estimate(0.05), estimate(0.1), bins),
        regressions=[Regression(text, text, text, text, -0.2, -0.6, 0.4)],
        examples=[Example(text, "attack", text, text, text, (text, "compliant"), ("refusing",))],
        tokens=[TokenView(text, text, "worst", text, [TokenResponse(text, -3.5, -3.55, pieces)])],
        probe_readings=[],
        pair_readings=[],
    )


def events(text: str) -> list[Event]:
    """A run of twenty steps with everything in it."""
    steps = [
        Step(
            time=float(step),
            step=step,
            epoch=step / 20,
            seconds=float(step),
            pairs=16 * step,
            metrics={
                "loss": 1 / step,
                "rewards/margins": 0.1 * step,
                "logps/chosen": -1.0,
                "logps/rejected": -0.2 * step,
            },
            pairs_per_second=16.0,
            tokens_per_second=900.0,
            memory_bytes=10**9,
        )
        for step in range(1, 21)
    ]
    evals = [
        Eval(time=0.0, step=step, epoch=0.0, seconds=0.0, pairs=0, metrics={"loss": loss, "preference_accuracy": 0.5})
        for step, loss in ((0, 0.7), (20, 0.2))
    ]
    return [
        Started(
            time=0.0,
            total_steps=20,
            train_pairs=320,
            holdout_pairs=40,
            dropped=1,
            truncated=2,
            identical=3,
            trainable_parameters=100,
            total_parameters=1000,
            reference=text,
            device=text,
            model_revision=text,
        ),
        evals[0],
        *steps,
        evals[1],
        Sample(time=20.0, step=20, pair=text, prompt=text, base=text, aligned=text, base_tokens=1, aligned_tokens=1),
        Warned(time=20.0, step=20, title=text, message=text, remedy=text),
        Finished(time=21.0, step=20, seconds=21.0, peak_memory_bytes=10**9, changed=1.0),
    ]


def some_sources(text: str = "plain", evidence: Evidence | None = None, *, measured: bool = True) -> Sources:
    """A finished run with its evidence, unless it was not `measured`."""
    finding = CheckFinding("duplicate", "warning", (text, "p2"), text, text)
    return Sources(
        run="2026-01-02-0304-some-dpo",
        record=Record(
            config=RunConfig.model_validate({"pairs": [text], "model": text, "beta": 0.5}),
            created=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            sources={text: "d" * 64},
            versions={"torch": text},
        ),
        state=fold(events(text)),
        status="finished",
        labels=Labels(name=text, note=text, tags=(text,)),
        evidence=(evidence or some_evidence(text)) if measured else None,
        sample_labels=[SampleLabel("attack", "refusing", text, text, told=True, right=False)],
        checks=ChecksReport(360, 360, (finding,), {}, {}),
    )
