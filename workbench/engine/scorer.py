"""Base beside aligned: one copy of the weights, any number of adapters, three questions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.compare.messages import (
    Candidate,
    Column,
    Distribution,
    Generate,
    Generated,
    Generation,
    NextToken,
    Piece,
    Prompt,
    Score,
    Scored,
    ScoredColumn,
    TokenScore,
)
from workbench.engine.forward import next_logprobs, response_logprobs, sample, score_batches
from workbench.engine.model import Quantization, attach_adapter, load_base, load_tokenizer
from workbench.engine.scorer_text import TextStream, TokenText
from workbench.engine.tokens import encode, prompt_ids, stop_token_id, stop_token_ids
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Text

_SMALL = 50_000_000
"""Parameters."""


_SAMPLED_TOKENS = 65536
"""Prompts and samples in one batch: 8 GiB of keys and values for a model of 8 billion parameters."""


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter that is attached: its name in the model, and the version of its file."""

    name: str
    version: tuple[int, int]


class Scorer:
    """Answers requests about one base model and the adapters trained on it.

    The base is loaded once; an adapter is attached when it is first asked for, and again when its file has changed.
    Not for use from several threads at once.
    """

    def __init__(self, model: str, quantization: Quantization = "nf4", device: str | None = None) -> None:
        """Loads the base. Raises `WorkbenchError` where that fails."""
        self.tokenizer = load_tokenizer(model)
        self._model: Any = load_base(model, quantization, device=device)
        self._stop = stop_token_id(self.tokenizer, self._model)
        self._stops = stop_token_ids(self.tokenizer, self._model)
        self._text = TokenText(self.tokenizer)
        self._adapters: dict[Path, _Adapter] = {}
        self._names = itertools.count(1)
        self._active: str | None = None
        self.parameters = int(self._model.num_parameters())
        """Of the base, adapters not counted."""

    @property
    def device(self) -> str:
        """Where the model is: cpu, cuda:0."""
        return str(self._model.device)

    @property
    def vocabulary(self) -> int:
        """Width of the logits."""
        return int(self._model.config.get_text_config().vocab_size)

    @contextmanager
    def fitting_threads(self) -> Iterator[None]:
        """Meanwhile, one thread for a small model on the CPU.

        Waking more for every small product costs what they save, and far more where a run trains beside.
        """
        before = torch.get_num_threads()
        if self._model.device.type == "cpu" and self.parameters < _SMALL:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def warm_up(self) -> None:
        """Answers a question of no interest, so that the first real one does not pay for first use."""
        request = Generate(id=0, prompt="Hello", columns=[Column(name="base")], max_new_tokens=2)
        for _ in self.generate(request):
            pass

    def next_token(self, request: NextToken) -> Distribution:
        """The tokens likeliest to come next in any column. Raises `WorkbenchError`."""
        prompts = [self._prefixed(request.prompt, request.prefix, column) for column in request.columns]
        logprobs = torch.stack(
            [next_logprobs(self._with(column), ids).cpu() for column, ids in zip(request.columns, prompts, strict=True)]
        )
        top = logprobs.topk(min(request.top_k, logprobs.shape[-1]), dim=-1).indices.unique()
        best = logprobs[:, top].max(dim=0).values.sort(descending=True, stable=True).indices
        candidates = [
            Candidate(token=token, text=self._text(token), logprobs=logprobs[:, token].tolist())
            for token in top[best].tolist()
        ]
        entropy = -(logprobs.exp() * logprobs).nan_to_num().sum(-1)
        return Distribution(
            id=request.id, candidates=candidates, entropy=entropy.tolist(), prompt_tokens=[len(ids) for ids in prompts]
        )

    def score(self, request: Score) -> Scored:
        """Every token of the response, the stop token included, under every column. Raises `WorkbenchError`."""
        prompt = _text(request.prompt)
        columns = []
        for column in request.columns:
            ids, response = encode(self.tokenizer, prompt, request.response, column.system)
            logprobs = response_logprobs(self._with(column), ids, response)
            columns.append(self._scored(column.name, logprobs, response, request.top_k))
        return Scored(id=request.id, columns=columns)

    def generate(self, request: Generate) -> Iterator[Piece | Generated]:
        """Responses of all columns, a token of each in turn: pieces of text, and the whole at the end.

        To cancel, ask for no more. Between two pieces the scorer can answer other requests. Raises `WorkbenchError`.
        """
        voices = [self._voice(request, column) for column in request.columns]
        done: list[Generation | None] = [None] * len(voices)
        while None in done:
            for index, voice in enumerate(voices):
                if done[index] is not None:
                    continue
                said = next(voice)
                if isinstance(said, Generation):
                    done[index] = said
                elif said:
                    yield Piece(id=request.id, column=index, text=said)
        yield Generated(id=request.id, columns=[each for each in done if each is not None])

    def score_many(self, rows: Sequence[tuple[Text, Text]], adapter: Path | None = None) -> list[Tensor]:
        """Log-probabilities, (tokens,) each, of every (prompt, response), batched. Raises `WorkbenchError`."""
        encoded = [encode(self.tokenizer, prompt, response) for prompt, response in rows]
        return score_batches(self._switched(adapter), encoded, self.vocabulary)

    def sample_many(
        self,
        prompts: Sequence[Text],
        adapter: Path | None = None,
        *,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """One seeded sample a prompt, batched. Raises `WorkbenchError`."""
        model = self._switched(adapter)
        rows = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        tokens: list[list[int]] = [[] for _ in rows]
        width = max(map(len, rows), default=0) + max_new_tokens
        size = max(1, _SAMPLED_TOKENS // width)
        for start in range(0, len(rows), size):
            for step in sample(
                model,
                rows[start : start + size],
                stop=self._stops,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                seed=seed + start,
            ):
                for index, token in step:
                    tokens[start + index].append(token)
        return [str(self.tokenizer.decode(ids, skip_special_tokens=True)) for ids in tokens]

    def _voice(self, request: Generate, column: Column) -> Iterator[str | Generation]:
        """One column's response: the text of each token as it comes, then the whole."""
        stream, count, ended = TextStream(self.tokenizer), 0, False
        steps = sample(
            self._with(column),
            [prompt_ids(self.tokenizer, _text(request.prompt), column.system)],
            stop=self._stops,
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            seed=request.seed,
        )
        while True:
            # Others may have used the model since the last token.
            self._with(column)
            step = next(steps, None)
            if step is None:
                break
            token = step[0][1]
            count += 1
            ended = token in self._stops
            if not ended:
                yield stream.add(token)
        if rest := stream.end():
            yield rest
        yield Generation(name=column.name, text=stream.text, tokens=count, ended=ended)

    def _scored(self, name: str, logprobs: Tensor, response: Sequence[int], top_k: int) -> ScoredColumn:
        chosen = torch.tensor(response, device=logprobs.device)[:, None]
        own = logprobs.gather(-1, chosen)
        ranks = (logprobs > own).sum(-1) + 1
        top = logprobs.topk(min(top_k, logprobs.shape[-1]), dim=-1)
        tokens = [
            TokenScore(
                id=token,
                text=self._text(token),
                logprob=logprob,
                rank=rank,
                top=[(self._text(other), value) for other, value in zip(others, values, strict=True)],
            )
            for token, logprob, rank, others, values in zip(
                response,
                own[:, 0].tolist(),
                ranks.tolist(),
                top.indices.tolist(),
                top.values.tolist(),
                strict=True,
            )
        ]
        total = own.double().sum()
        return ScoredColumn(
            name=name,
            sum=total.item(),
            mean=total.item() / len(response),
            probability=total.exp().item(),
            tokens=tokens,
        )

    def _prefixed(self, prompt: Prompt, prefix: str, column: Column) -> list[int]:
        """The ids of the prompt and of an unfinished response to it."""
        text = _text(prompt)
        if not prefix:
            return prompt_ids(self.tokenizer, text, column.system)
        ids, response = encode(self.tokenizer, text, prefix, column.system)
        while response and response.pop() not in self._stops:
            pass
        return ids + response

    def _with(self, column: Column) -> Any:
        return self._switched(Path(column.adapter) if column.adapter is not None else None)

    def _switched(self, adapter: Path | None) -> Any:
        """The model with `adapter` on and all others off; None for the base."""
        name = self._attached(adapter) if adapter is not None else None
        if name == self._active:
            return self._model
        if name is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(name, inference_mode=True)
        self._active = name
        return self._model

    def _attached(self, folder: Path) -> str:
        """The name of the adapter in `folder`, attached where it is not yet, or not in this version."""
        version = _version(folder)
        known = self._adapters.get(folder)
        if known is not None and known.version == version:
            return known.name
        adapter = _Adapter(f"adapter{next(self._names)}", version)
        try:
            self._model = attach_adapter(self._model, folder, adapter.name)
        finally:
            # Attaching turns adapters on and may fail half-way: what is active has to be set again.
            self._active = "" if self._adapters or hasattr(self._model, "peft_config") else None
        if known is not None:
            self._model.delete_adapter(known.name)
        self._adapters[folder] = adapter
        return adapter.name


def _version(folder: Path) -> tuple[int, int]:
    """Modification time and size of the adapter's weights; zeros where there are none."""
    try:
        found = (folder / "adapter_model.safetensors").stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _text(prompt: Prompt) -> Text:
    if isinstance(prompt, str):
        return prompt
    if not prompt:
        raise WorkbenchError("An empty prompt", "The prompt has no turns.", "Give at least one user turn.")
    return tuple(Message(turn.role, turn.content) for turn in prompt)
