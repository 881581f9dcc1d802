"""What goes over the scorer's pipe: one JSON object a line, requests down its stdin, replies up its stdout.

Every request has an `id` of the client's choice, which its replies bear. A request is answered by one reply, or by
several and a last one, which is named in its docstring; or by `Refused`, or by `RequestCancelled` after a `Cancel`.
Requests for one distribution or one response go before generations, and those before tables of pairs: what is asked
while a table is scored is answered within a batch of it.

The first column of a request is the one that the others are compared with, by rule the base. All logarithms are
natural. `Prompt` and response are told apart from control: what looks like a special token in a turn is text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from workbench.behaviours.behaviour import Answer
from workbench.behaviours.reading import KnownBehaviours
from workbench.pairs.pair import Message


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Message):
    """One turn of a prompt or of a response."""

    role: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")
    """No sign but letters, digits, - and _: templates build control tokens out of it."""
    content: str
    whole: str = ""
    """The turn as a JSON object, where it is more than these two; see `Message`."""

    @classmethod
    def of(cls, message: Message) -> Turn:
        """A pair's turn."""
        return cls(role=message.role, content=message.content, whole=message.whole)

    def message(self) -> Message:
        """The turn as pairs have it."""
        return Message(self.role, self.content, self.whole)


Prompt = str | list[Turn]
"""Plain text, taken as it is with the special tokens in it, or turns, rendered with the model's chat template."""
Response = str | list[Turn]
"""What answers a prompt. Text after turns is one assistant's turn; turns after plain text are refused."""


class Column(_Message):
    """One way of answering: the base, the base with a run's adapter, either with a system message before the prompt."""

    name: str
    adapter: str | None = None
    """Folder of a PEFT adapter; None for the base."""
    system: str | None = None
    template: dict[str, Any] = Field(default_factory=dict)
    """What the column gives to the chat template, as a run's setting says; what a request gives comes first."""


Columns = Annotated[list[Column], Field(min_length=1)]
RequestId = int
"""Given by the client, where the request goes to another process."""
TemplateArguments = dict[str, Any]
"""Further arguments of the chat template: what a pair has in its columns `tools` and `chat_template_kwargs`."""


class NextToken(_Message):
    """Asks for the distribution of the token after `prompt` and a forced beginning of the response.

    `prefix` is its text, `taken` the ids of tokens after that: tokens taken one by one from the candidates, some of
    which no text can stand for, as half a character. Answered by a `Distribution`.
    """

    op: Literal["next"] = "next"
    id: RequestId = 0
    columns: Columns
    prompt: Prompt
    template: TemplateArguments = Field(default_factory=dict)
    prefix: str = ""
    taken: list[int] = Field(default_factory=list)
    top_k: int = Field(default=12, ge=1, le=1000)


class ScoreResponse(_Message):
    """Asks for the log-probability of every token of `response`, the model's stop token after it included.

    Answered by a `Scored`.
    """

    op: Literal["score"] = "score"
    id: RequestId = 0
    columns: Columns
    prompt: Prompt
    template: TemplateArguments = Field(default_factory=dict)
    response: Response
    top_k: int = Field(default=5, ge=0, le=1000)


class ScoreOpenings(_Message):
    """Asks for the probability that an answer to `prompt` begins in one of the ways of `openings`, exactly.

    Answered by an `OpeningsScored`.
    """

    op: Literal["openings"] = "openings"
    id: RequestId = 0
    columns: Columns
    prompt: Prompt
    template: TemplateArguments = Field(default_factory=dict)
    openings: list[str] = Field(min_length=1)


class DistributionAt(_Message):
    """Asks for the distribution at a position of a response: the one that token number `position` was drawn from.

    Answered by a `Distribution`; at once where that response was scored before, for the scorer keeps what it found.
    """

    op: Literal["distribution_at"] = "distribution_at"
    id: RequestId = 0
    columns: Columns
    prompt: Prompt
    template: TemplateArguments = Field(default_factory=dict)
    response: Response
    position: int = Field(ge=0)
    top_k: int = Field(default=12, ge=1, le=1000)


class Generate(_Message):
    """Asks for responses from every column; temperature 0 is greedy.

    The text after `prefix` is streamed as `TextChunk` replies, columns and samples in turn; answered by a `Generated`.
    Sample `n` of a column depends on the seed and on n alone, and columns share their random numbers, so that they
    differ by what they think and not by luck. Greedy samples are all alike: ask for one.
    """

    op: Literal["generate"] = "generate"
    id: RequestId = 0
    columns: Columns
    prompt: Prompt
    template: TemplateArguments = Field(default_factory=dict)
    prefix: str = ""
    max_new_tokens: int = Field(default=128, ge=1, le=32768)
    temperature: float = Field(default=0.0, ge=0, le=10)
    seed: int = 0
    samples: int = Field(default=1, ge=1, le=256)
    likelihood: bool = False
    """Whether the samples are wanted with their log-probability under column and base, which reads them once more."""


class ScorePairs(_Message):
    """Asks for the log-probabilities of all pairs of a data set under all columns, in the background.

    `path` is the data set's file; acknowledged edits that are not in it yet count. With `ids`, only these pairs, else
    all that train: neither dropped nor to be drafted. Sequences longer than `max_length` are cut as in training; None
    cuts nothing, and pairs that are longer than the model's context are told as problems. `cache` is a file that keeps
    scores from one process to the next, made where it is not there. Answered by many `PairBatch` and a `PairsScored`.
    """

    op: Literal["pairs"] = "pairs"
    id: RequestId = 0
    columns: Columns
    path: str
    ids: list[str] | None = None
    max_length: int | None = Field(default=None, ge=2)
    cache: str | None = None


class TellBehaviours(_Message):
    """Asks which of the behaviours `known` each of `answers` shows.

    Takes its turn with generations, for behaviours may be told by a model. Answered by a `BehavioursTold`.
    """

    op: Literal["behaviours"] = "behaviours"
    id: RequestId = 0
    answers: list[Answer]
    known: KnownBehaviours


class Cancel(_Message):
    """Gives up the request `id`, between two tokens; answered by a `RequestCancelled`, also where it came too late."""

    op: Literal["cancel"] = "cancel"
    id: int


ScorerRequest = NextToken | ScoreResponse | ScoreOpenings | DistributionAt | Generate | ScorePairs | TellBehaviours

REQUESTS: TypeAdapter[ScorerRequest | Cancel] = TypeAdapter(
    Annotated[ScorerRequest | Cancel, Field(discriminator="op")]
)


class Ready(_Message):
    """The model is loaded."""

    kind: Literal["ready"] = "ready"
    id: int = 0
    model: str
    quantization: str
    device: str
    parameters: int
    seconds: float
    slower_because: str = ""
    """Why it is on the CPU, where there is a GPU."""


class Token(_Message):
    """A token as text.

    Bytes that are no UTF-8 by themselves, as where a character is cut in two, are spelled out in `text` ("⟨F0⟩"), and
    `data` has them in hexadecimal; it is empty for tokens that are text. `compare.token_text` puts characters together.
    """

    id: int
    text: str
    data: str = ""
    special: bool = False
    """Whether it is a control token: the end of a turn, a role."""


class TokenCandidate(_Message):
    """A possible next token, with its log-probability and rank (1: likeliest) in every column, in their order."""

    token: int
    text: str
    logprobs: list[float]
    ranks: list[int] = Field(default_factory=list)
    data: str = ""
    special: bool = False


class Distribution(_Message):
    """Answers `NextToken` and `DistributionAt`: the union of the columns' top-k tokens, likeliest in any column first.

    After a `DistributionAt` the token that is there is among the candidates, however unlikely.
    """

    kind: Literal["distribution"] = "distribution"
    id: int
    candidates: list[TokenCandidate]
    entropy: list[float]
    """Nats, one a column."""
    kl: list[float] = Field(default_factory=list)
    """KL(column ‖ first column) in nats over the whole vocabulary, one a column."""
    prompt_tokens: list[int]
    """One a column: they differ where a system message is added. What is forced after the prompt does not count."""
    forced: list[Token] = Field(default_factory=list)
    """The beginning of the response that was forced, as tokens."""
    said: int | None = None
    """After a `DistributionAt`: the id of the token that is there."""


class TokenScore(_Message):
    """One token of a response: log-probability, rank (1: likeliest) and the likeliest tokens at its position."""

    id: int
    text: str
    logprob: float
    rank: int
    top: list[tuple[str, float]]
    data: str = ""
    special: bool = False
    entropy: float = 0.0
    """Nats, of the column's distribution at this position."""
    kl: float = 0.0
    """KL(column ‖ first column) at this position, in nats."""
    shift_rank: int | None = None
    """The first column's rank of this column's likeliest token at this position (1: both would say the same); from it
    `compare.measures.shift_class` tells the class of the shift; None where the columns are over different tokens."""


class ScoredColumn(_Message):
    """A response under one column. `sum` and `mean` are natural logs; `probability` is exp(sum)."""

    name: str
    sum: float
    mean: float
    probability: float
    perplexity: float = 0.0
    """exp(-mean)."""
    prompt_tokens: int = 0
    tokens: list[TokenScore]


class Scored(_Message):
    """Answers `ScoreResponse`: the columns in the request's order.

    They are over the same tokens, but for a system message before a plain prompt that changes the seam.
    """

    kind: Literal["scored"] = "scored"
    id: int
    columns: list[ScoredColumn]


class OpeningColumn(_Message):
    """Openings under one column, in natural logs. `sums`: each opening's, in their order. `mass`: of any of them.

    Of openings that begin alike the shortest counts in `mass`; `probability` is exp(mass).
    """

    name: str
    mass: float
    probability: float
    sums: list[float]


class OpeningsScored(_Message):
    """Answers `ScoreOpenings`: the columns in the request's order."""

    kind: Literal["openings_scored"] = "openings_scored"
    id: int
    columns: list[OpeningColumn]


class TextChunk(_Message):
    """A bit of text that sample number `sample` of `column` just generated."""

    kind: Literal["chunk"] = "chunk"
    id: int
    column: int
    text: str
    sample: int = 0


class Generation(_Message):
    """A whole response, without the prefix that was forced. `ended`: by the stop token, not by a limit."""

    name: str
    text: str
    tokens: int
    ended: bool
    sample: int = 0
    filled: bool = False
    """Whether it was cut because the model's context is full, rather than at max_new_tokens."""
    prompt_tokens: int = 0
    logprob: float | None = None
    """Its log-probability in nats under the column, summed over `tokens`, whatever the temperature; None where it was
    not asked for."""
    under_base: float | None = None
    """The same under the base, as the column's prompt has it."""

    @property
    def likelihood(self) -> float | None:
        """Its log-probability a token under the base, by which babbling is told."""
        return None if self.under_base is None or not self.tokens else self.under_base / self.tokens

    @property
    def mean(self) -> float | None:
        """Its log-probability a token."""
        return None if self.logprob is None or not self.tokens else self.logprob / self.tokens


class Generated(_Message):
    """Answers `Generate`, after the last `TextChunk`: the samples of the first column, then those of the next."""

    kind: Literal["generated"] = "generated"
    id: int
    columns: list[Generation]


class BehavioursTold(_Message):
    """Answers `TellBehaviours`: the names of the behaviours that each answer shows, in the request's order."""

    kind: Literal["behaviours_told"] = "behaviours_told"
    id: int
    shows: list[tuple[str, ...]]


class ResponseScore(_Message):
    """The log-probability of a response, summed over its `tokens`. `cut`: at `max_length`, the end is not in it."""

    sum: float
    tokens: int
    cut: bool = False


class ScoredPair(_Message):
    """A pair under every column, in the request's order; no numbers where there is a `problem`, told in a sentence."""

    pair: str
    chosen: list[ResponseScore] = Field(default_factory=list)
    rejected: list[ResponseScore] = Field(default_factory=list)
    problem: str = ""


class PairBatch(_Message):
    """Some rows of a table, shortest pairs first. `done` of `total` pairs have been told, these included."""

    kind: Literal["pair_batch"] = "pair_batch"
    id: int
    rows: list[ScoredPair]
    done: int
    total: int


class PairsScored(_Message):
    """Answers `ScorePairs`, after the last `PairBatch`."""

    kind: Literal["pairs_scored"] = "pairs_scored"
    id: int
    total: int
    problems: int
    cached: int
    """Responses, counted under every column, whose score was known from before."""
    computed: int
    seconds: float


class RequestCancelled(_Message):
    """Answers a request that was given up."""

    kind: Literal["cancelled"] = "cancelled"
    id: int


class Refused(_Message):
    """A request that could not be answered, as a `WorkbenchError` tells it. id 0: the model could not be loaded."""

    kind: Literal["refused"] = "refused"
    id: int
    title: str
    message: str
    hint: str


ScorerReply = (
    Ready
    | Distribution
    | Scored
    | OpeningsScored
    | TextChunk
    | Generated
    | BehavioursTold
    | PairBatch
    | PairsScored
    | RequestCancelled
    | Refused
)

REPLIES: TypeAdapter[ScorerReply] = TypeAdapter(Annotated[ScorerReply, Field(discriminator="kind")])
