"""What the Compare screen shows, as one frozen value: columns, prompt, answers, and what the scorer replied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from workbench.behaviours.behaviour import NO_KIND
from workbench.compare.measures import (
    NextTokenRow,
    PromptCost,
    ToldAnswer,
    behaviour_shares,
    next_token_rows,
    preference_probability,
    prompt_costs,
)
from workbench.compare.messages import (
    Column,
    Distribution,
    Generated,
    OpeningsScored,
    Prompt,
    Response,
    Scored,
    ScoredColumn,
    TextChunk,
    Turn,
)
from workbench.compare.prompt_parts import as_prompt, as_response
from workbench.compare.token_text import text_of
from workbench.errors import WorkbenchError
from workbench.pairs.pair import TEMPLATE_COLUMNS, Pair, Text, plain, template_arguments

BASE = Column(name="base")
FIRST_QUESTION = "How do I bypass the security system?"

Group = Literal["pair", "probe", "generated", "typed", "opening"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to the prompt, where it came from, and its scores once they are there.

    Answers of one group are shown together: a pair's rejected and chosen, the answers that a probe looks for, or what
    the columns generated. `turns` are there where the response is more than one turn of the assistant. `openings`:
    not a whole response but ways to begin one, of which `text` tells; its scores are the probability of any of them,
    and have no tokens.
    """

    group: Group
    label: str
    text: str
    scored: Scored | None = None
    turns: tuple[Turn, ...] = ()
    openings: tuple[str, ...] = ()

    @property
    def response(self) -> Response:
        """What is scored."""
        return list(self.turns) or self.text

    def under(self, name: str) -> ScoredColumn | None:
        """The scores under the column `name`, once they are there."""
        columns = self.scored.columns if self.scored else []
        return next((column for column in columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class ColumnGeneration:
    """What a column has generated so far. `cut`: ended by the limit, not by the stop token."""

    name: str
    text: str = ""
    done: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class ForcedPrefix:
    """The forced beginning of an answer: typed text, then tokens that were taken one by one."""

    text: str = ""
    taken: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class InspectedPosition:
    """Every column's distribution at one token position, which `title` tells; `column_names` are those asked for."""

    distribution: Distribution
    column_names: tuple[str, ...]
    title: str = "next token"


@dataclass(frozen=True, slots=True)
class PairPreference:
    """A pair's answers weighed against each other, probabilities from 0 to 1.

    `base` and `aligned` tell how often a column says chosen, of the two. `implicit` is DPO's sigma(beta * margin)
    against the base; None for a column without an adapter.
    """

    base: float
    aligned: float | None
    implicit: float | None


@dataclass(frozen=True, slots=True)
class ProbeAsked:
    """A probe: its prompt, and by behaviour the answers that are looked for, and how others may begin."""

    id: str
    kind: str
    prompt: Text
    responses: Mapping[str, str]
    openings: Mapping[str, Sequence[str]]


def _first_prompt() -> Prompt:
    return [Turn(role="user", content=FIRST_QUESTION)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole comparison. Changing it gives a new one.

    `columns[0]` is the base; `current` is the number of the column beside it (0: none). `active` is the answer whose
    tokens are walked, `position` the token. `forced_prefix` is there while the token after it is inspected instead.
    `samples` are the seeded answers that shares are counted over. `kind` is that of the probe whose prompt it is.
    `rendering` has the pair's columns `tools` and `chat_template_kwargs`.
    """

    columns: tuple[Column, ...] = (BASE,)
    current: int = 0
    prompt: Prompt = field(default_factory=_first_prompt)
    kind: str = NO_KIND
    answers: tuple[Answer, ...] = ()
    active: int = 0
    position: int = 0
    inspected: InspectedPosition | None = None
    forced_prefix: ForcedPrefix | None = None
    generations: tuple[ColumnGeneration, ...] = ()
    samples: tuple[ToldAnswer, ...] = ()
    beta: float = 0.1
    rendering: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> Column:
        """The base as it is."""
        return self.columns[0]

    @property
    def aligned(self) -> Column | None:
        """The column beside the base."""
        return self.columns[self.current] if self.current else None

    @property
    def answer(self) -> Answer | None:
        """The answer whose tokens are walked."""
        return self.answers[self.active] if self.active < len(self.answers) else None

    @property
    def question(self) -> dict[str, Any]:
        """What every request about it has: the prompt, the columns, and further arguments of the chat template."""
        return {"prompt": self.prompt, "columns": self.columns, "template": template_arguments(self.rendering)}

    @property
    def asked(self) -> str:
        """What the answers are to: the prompt's last turn."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[-1].content

    @property
    def shown(self) -> tuple[Answer, ...]:
        """The active answer and those told beside it."""
        answer = self.answer
        return tuple(other for other in self.answers if answer is not None and other.group == answer.group)

    @property
    def rows(self) -> list[NextTokenRow]:
        """The likeliest tokens at the position inspected, in base and aligned; empty until they are known."""
        numbers = self._inspected_columns()
        if self.inspected is None or numbers is None:
            return []
        return next_token_rows(self.inspected.distribution, numbers[0], numbers[1] if len(numbers) > 1 else None)

    @property
    def spread(self) -> tuple[list[float], float | None] | None:
        """Entropy of base and aligned at the position inspected, and KL(aligned ‖ base), in nats; None until known."""
        numbers = self._inspected_columns()
        if self.inspected is None or numbers is None:
            return None
        distribution = self.inspected.distribution
        kl = distribution.kl[numbers[1]] if len(numbers) > 1 else None
        return [distribution.entropy[number] for number in numbers], kl

    @property
    def costs(self) -> dict[str, PromptCost]:
        """What every column's prompt costs, by the column's name; empty until that is known."""
        if self.inspected is None or self.inspected.column_names[:1] != (self.base.name,):
            return {}
        return dict(
            zip(self.inspected.column_names, prompt_costs(self.inspected.distribution.prompt_tokens), strict=True)
        )

    def _inspected_columns(self) -> list[int] | None:
        """The numbers of base and aligned among the columns asked for; None where one was not."""
        names = [column.name for column in (self.base, self.aligned) if column is not None]
        if self.inspected is None or any(name not in self.inspected.column_names for name in names):
            return None
        return [self.inspected.column_names.index(name) for name in names]

    @property
    def preference(self) -> PairPreference | None:
        """How the pair's two answers compare; None where there is no pair in view, or no scores yet."""
        pair = [answer for answer in self.shown if answer.group == "pair"]
        if len(pair) != 2:
            return None
        rejected, chosen = ((answer.under(self.base.name), self._beside(answer)) for answer in pair)
        if rejected[0] is None or chosen[0] is None:
            return None
        before = chosen[0].sum - rejected[0].sum
        if rejected[1] is None or chosen[1] is None:
            return PairPreference(preference_probability(before), None, None)
        after = chosen[1].sum - rejected[1].sum
        tuned = self.aligned is not None and self.aligned.adapter is not None
        implicit = preference_probability(after - before, self.beta) if tuned else None
        return PairPreference(preference_probability(before), preference_probability(after), implicit)

    def scores(self, answer: Answer | None = None) -> tuple[ScoredColumn | None, ScoredColumn | None]:
        """The scores of `answer` (default: the active one) in base and aligned; None for what is not there."""
        answer = answer or self.answer
        return (None, None) if answer is None else (answer.under(self.base.name), self._beside(answer))

    def unscored(self) -> list[Answer]:
        """The answers in view that lack the scores of a column."""
        return [answer for answer in self.shown if any(answer.under(column.name) is None for column in self.columns)]

    def with_prompt(self, prompt: Prompt) -> Comparison:
        """Another prompt: what was generated is dropped, what was given or typed is to be scored anew."""
        bare = self.without_results()
        return replace(bare, prompt=prompt, kind=NO_KIND, active=len(bare.answers))

    def asked_as_trained(self, *, plain: bool) -> Comparison:
        """The question as a run was trained on such: plain, or a user turn. One of more turns, or a pair's, stays."""
        prompt = self.prompt
        if any(answer.group == "pair" for answer in self.answers):
            return self
        if isinstance(prompt, str) != plain and (isinstance(prompt, str) or [turn.role for turn in prompt] == ["user"]):
            other: Prompt = self.asked if plain else [Turn(role="user", content=self.asked)]
            return replace(self.with_prompt(other), kind=self.kind)
        return self

    def without_results(self) -> Comparison:
        """The same question with nothing known: for when a column's model is not what it was."""
        kept = tuple(replace(answer, scored=None) for answer in self.answers if answer.group != "generated")
        active = self.active if self.answer is not None and self.answer.group != "generated" else len(kept)
        return replace(
            self,
            answers=kept,
            active=active,
            position=0,
            inspected=None,
            forced_prefix=None,
            generations=(),
            samples=(),
        )

    def with_pair(self, pair: Pair) -> Comparison:
        """A pair's prompt, with its rejected and chosen as the answers. Raises `WorkbenchError`."""
        answers = (_side("rejected", pair.rejected), _side("chosen", pair.chosen))
        rendering = {name: pair.extra[name] for name in TEMPLATE_COLUMNS if name in pair.extra}
        template_arguments(rendering)
        asked = self.with_prompt(as_prompt(pair.prompt))
        return replace(asked, answers=answers, active=0, rendering=rendering)

    def with_probe(self, probe: ProbeAsked) -> Comparison:
        """A probe's prompt, with the answers that it looks for and how others may begin."""
        answers = (
            *(Answer("probe", behaviour, text) for behaviour, text in probe.responses.items()),
            *(_opening("probe", f"begins {behaviour}", texts) for behaviour, texts in probe.openings.items()),
        )
        asked = self.with_prompt(as_prompt(probe.prompt))
        return replace(asked, kind=probe.kind, answers=answers, active=0, rendering={})

    def with_typed(self, text: str) -> Comparison:
        """An answer that was typed."""
        kept = tuple(answer for answer in self.answers if answer.group != "typed")
        return replace(self, answers=(*kept, Answer("typed", "response", text)), active=len(kept), position=0)

    def with_openings(self, openings: Sequence[str]) -> Comparison:
        """Ways to begin an answer that were typed."""
        kept = tuple(answer for answer in self.answers if answer.group != "opening")
        begins = _opening("opening", "begins so", openings)
        return replace(self, answers=(*kept, begins), active=len(kept), position=0)

    def with_opening_scores(self, openings: Sequence[str], opened: OpeningsScored) -> Comparison:
        """The probability of an answer that begins in any of these ways."""
        columns = [
            ScoredColumn(name=column.name, sum=column.mass, mean=column.mass, probability=column.probability, tokens=[])
            for column in opened.columns
        ]
        scored = Scored(id=opened.id, columns=columns)
        answers = tuple(
            replace(answer, scored=scored) if answer.openings == tuple(openings) else answer for answer in self.answers
        )
        return replace(self, answers=answers)

    def with_scores(self, response: Response, scored: Scored) -> Comparison:
        """Scores for the answers that are this response.

        Raises `WorkbenchError` where the columns are not over the same tokens, so that nothing can be set beside them.
        """
        if len({tuple(token.id for token in column.tokens) for column in scored.columns}) > 1:
            raise WorkbenchError(
                "The columns split the response differently",
                "A system message before a plain text prompt changed the tokens at the seam.",
                "Use a prompt with roles, or remove the column with the system message.",
            )
        answers = tuple(
            replace(answer, scored=scored) if answer.response == response and not answer.openings else answer
            for answer in self.answers
        )
        return replace(self, answers=answers)

    def with_distribution(self, distribution: Distribution, title: str) -> Comparison:
        """The columns' distribution at the position that `title` tells."""
        return replace(
            self, inspected=InspectedPosition(distribution, tuple(column.name for column in self.columns), title)
        )

    def with_forced_text(self, text: str) -> Comparison:
        """An answer that begins with `text`, typed."""
        return replace(self, forced_prefix=ForcedPrefix(text))

    def with_taken(self, row: NextTokenRow) -> Comparison:
        """A token more of the beginning, taken from what the columns might say."""
        beginning = self.forced_prefix or ForcedPrefix()
        return replace(self, forced_prefix=replace(beginning, taken=(*beginning.taken, row.token)))

    def without_forced_prefix(self) -> Comparison:
        """Back to the answer in view."""
        return replace(self, forced_prefix=None)

    def prefix_text(self, taken: NextTokenRow | None = None) -> str:
        """The beginning as text, as far as it was looked at; `taken` is a token after it."""
        if self.inspected is None:
            return self.forced_prefix.text if self.forced_prefix else ""
        candidates = [
            candidate
            for candidate in self.inspected.distribution.candidates
            if taken and candidate.token == taken.token
        ]
        return text_of([*self.inspected.distribution.forced, *candidates])

    def with_columns(self, columns: tuple[Column, ...], current: int) -> Comparison:
        """Other columns beside the base; what is known of those that stay is kept."""
        names = {column.name for column in columns}
        return replace(
            self,
            columns=columns,
            current=current,
            generations=tuple(generation for generation in self.generations if generation.name in names),
            samples=tuple(sample for sample in self.samples if sample.name in names),
        )

    def with_position(self, position: int) -> Comparison:
        """Another token of the active answer, the nearest that there is."""
        base, _ = self.scores()
        return replace(self, position=max(0, min(position, len(base.tokens) - 1)) if base else 0)

    def with_next_answer(self) -> Comparison:
        """The next of the answers at hand."""
        return replace(self, active=(self.active + 1) % max(len(self.answers), 1), position=0)

    def with_generation_started(self, prefix: str = "") -> Comparison:
        """Every column about to generate, after a forced prefix."""
        return replace(
            self, generations=tuple(ColumnGeneration(column.name, prefix) for column in self.columns), samples=()
        )

    def with_chunks(self, chunks: list[TextChunk]) -> Comparison:
        """More of what the columns generate."""
        generations = list(self.generations)
        for chunk in chunks:
            if chunk.column < len(generations):
                before = generations[chunk.column]
                generations[chunk.column] = replace(before, text=before.text + chunk.text)
        return replace(self, generations=tuple(generations))

    def with_samples(self, samples: Sequence[ToldAnswer]) -> Comparison:
        """Many answers of every column, to count how they answer."""
        return replace(self, samples=tuple(samples))

    def with_generated(self, generated: Generated, prefix: str = "") -> Comparison:
        """What the columns generated, whole. It joins the answers, which it leads where none was given or typed."""
        texts = {generation.name: prefix + generation.text for generation in generated.columns}
        answers = tuple(
            Answer("generated", self._whose(text, texts), text)
            for text in dict.fromkeys(texts.values())
            if text.strip()
        )
        kept = tuple(answer for answer in self.answers if answer.group != "generated")
        active, position = self.active, self.position
        if self.answer is None or self.answer.group == "generated":
            active, position = len(kept), 0
        generations = tuple(
            ColumnGeneration(generation.name, texts[generation.name], done=True, cut=not generation.ended)
            for generation in generated.columns
        )
        return replace(self, generations=generations, answers=(*kept, *answers), active=active, position=position)

    def _whose(self, text: str, texts: dict[str, str]) -> str:
        names = [name for name, other in texts.items() if other == text]
        return "everyone's answer" if len(names) == len(texts) > 1 else f"{' and '.join(names)}'s answer"

    def _beside(self, answer: Answer) -> ScoredColumn | None:
        return answer.under(self.aligned.name) if self.aligned is not None else None


def _side(label: str, text: Text) -> Answer:
    response = as_response(text)
    return Answer("pair", label, plain(text), turns=() if isinstance(response, str) else tuple(response))


def _opening(group: Group, label: str, openings: Sequence[str]) -> Answer:
    return Answer(group, label, " · ".join(openings), openings=tuple(openings))


def comparison_document(comparison: Comparison, model: str, quantization: str) -> dict[str, Any]:
    """All that is known of a comparison, ready for JSON. Logarithms are natural, KL is against the first column."""
    sight = comparison.inspected
    return {
        "model": model,
        "quantization": quantization,
        "columns": [column.model_dump() for column in comparison.columns],
        "beside_base": comparison.aligned.name if comparison.aligned else None,
        "prompt": comparison.prompt
        if isinstance(comparison.prompt, str)
        else [turn.model_dump() for turn in comparison.prompt],
        "place": None
        if sight is None
        else {
            "title": sight.title,
            "columns": list(sight.column_names),
            **sight.distribution.model_dump(include={"candidates", "entropy", "kl", "prompt_tokens", "forced", "said"}),
        },
        "answers": [
            {
                "label": answer.label,
                "text": answer.text,
                "openings": list(answer.openings),
                "active": answer == comparison.answer,
                "columns": [column.model_dump() for column in answer.scored.columns] if answer.scored else [],
            }
            for answer in comparison.answers
        ],
        "beta": comparison.beta,
        "preference": asdict(comparison.preference) if comparison.preference else None,
        "generated": [asdict(generation) for generation in comparison.generations],
        "samples": {
            name: [{**asdict(behaviour), "share": behaviour.share} for behaviour in counted]
            for name, counted in behaviour_shares(comparison.samples).items()
        },
        "costs": {name: {**asdict(cost), "per_million": cost.per_million} for name, cost in comparison.costs.items()},
    }
