"""What goes over the scorer's pipe: one JSON object a line, requests down its stdin, replies up its stdout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Message):
    """One turn of a prompt."""

    role: str
    content: str


Prompt = str | list[Turn]
"""Plain text, taken as it is, or turns, rendered with the model's chat template."""


class Column(_Message):
    """One way of answering: the base, the base with a run's adapter, either with a system message before the prompt."""

    name: str
    adapter: str | None = None
    """Folder of a PEFT adapter; None for the base."""
    system: str | None = None


class NextToken(_Message):
    """Asks for the distribution of the token after `prompt` and the `prefix` of a response."""

    op: Literal["next"] = "next"
    id: int
    prompt: Prompt
    prefix: str = ""
    columns: list[Column] = Field(min_length=1)
    top_k: int = Field(default=12, ge=1, le=1000)


class Score(_Message):
    """Asks for the log-probability of every token of `response`, the model's stop token after it included."""

    op: Literal["score"] = "score"
    id: int
    prompt: Prompt
    response: str
    columns: list[Column] = Field(min_length=1)
    top_k: int = Field(default=5, ge=0, le=1000)


class Generate(_Message):
    """Asks for a response from every column; temperature 0 is greedy. Tokens are streamed as `Piece` replies."""

    op: Literal["generate"] = "generate"
    id: int
    prompt: Prompt
    columns: list[Column] = Field(min_length=1)
    max_new_tokens: int = Field(default=128, ge=1, le=32768)
    temperature: float = Field(default=0.0, ge=0, le=10)
    seed: int = 0


class Cancel(_Message):
    """Gives up the request `id`, which then answers nothing more than a `Cancelled`."""

    op: Literal["cancel"] = "cancel"
    id: int


Request = Annotated[NextToken | Score | Generate | Cancel, Field(discriminator="op")]


class Ready(_Message):
    """The model is loaded."""

    kind: Literal["ready"] = "ready"
    id: int = 0
    model: str
    quantization: str
    device: str
    parameters: int
    seconds: float


class Candidate(_Message):
    """A possible next token, with its natural log-probability in every column, in the request's order."""

    token: int
    text: str
    logprobs: list[float]


class Distribution(_Message):
    """Answers `NextToken`: the union of the columns' top-k tokens, likeliest in any column first."""

    kind: Literal["distribution"] = "distribution"
    id: int
    candidates: list[Candidate]
    entropy: list[float]
    """Nats, one a column."""
    prompt_tokens: list[int]
    """One a column: they differ where a system message is added."""


class TokenScore(_Message):
    """One token of a response: natural log-probability, rank (1: likeliest) and the likeliest tokens at its place."""

    id: int
    text: str
    logprob: float
    rank: int
    top: list[tuple[str, float]]


class ScoredColumn(_Message):
    """A response under one column. `sum` and `mean` are natural logs; `probability` is exp(sum)."""

    name: str
    sum: float
    mean: float
    probability: float
    tokens: list[TokenScore]


class Scored(_Message):
    """Answers `Score`: the columns in the request's order, all over the same tokens."""

    kind: Literal["scored"] = "scored"
    id: int
    columns: list[ScoredColumn]


class Piece(_Message):
    """A bit of text that `column` just generated."""

    kind: Literal["piece"] = "piece"
    id: int
    column: int
    text: str


class Generation(_Message):
    """A whole response. `ended`: by the stop token, not by max_new_tokens."""

    name: str
    text: str
    tokens: int
    ended: bool


class Generated(_Message):
    """Answers `Generate`, after the last `Piece`."""

    kind: Literal["generated"] = "generated"
    id: int
    columns: list[Generation]


class Cancelled(_Message):
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


Reply = Annotated[Ready | Distribution | Scored | Piece | Generated | Cancelled | Refused, Field(discriminator="kind")]

REQUESTS: TypeAdapter[NextToken | Score | Generate | Cancel] = TypeAdapter(Request)
REPLIES: TypeAdapter[Ready | Distribution | Scored | Piece | Generated | Cancelled | Refused] = TypeAdapter(Reply)
