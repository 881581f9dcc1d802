"""The proof at the start that a model can take rows that share their prompt: forward and backward, on this very model.

A kernel can be right in the forward and fail in the backward, and an error in a few tokens drowns in the sum over a
response. So one loss goes through plain rows and through each layout, and what is compared is the log-probability of
every response token and the gradient at every token of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from workbench.console import note, show_traceback
from workbench.engine.fast.forward import PairForward, RowLayout
from workbench.engine.fast.pair_rows import PairRows, packed
from workbench.engine.model.inference import fitting_threads
from workbench.engine.model.token_ids import PairIds

_MOST = {torch.float32: (1e-2, 1e-3)}
"""How far a token may be off, and 99 of 100 tokens, where plain rows themselves are exact."""
_MOST_OF_HALF = {"log-probabilities": (0.06, 0.02), "gradients": (0.15, 0.05)}
_OF_NOISE = 4.0
"""How many times as far as plain rows are from themselves with other padding, at half precision. Seen in bfloat16 on
the CPU, in 99 of 100 tokens: with SmolLM2-135M, gradients off by 6.4% with other padding and by 11.1% in shared rows,
log-probabilities by 11% and 8%; with 32 random layers, gradients by 2.1% and 2.7%, the others by 0.1% and 0.2%."""
_PADDING = 64
"""Tokens of padding that a kernel of plain rows is given besides, to see what its rounding does."""


class UnsuitableError(Exception):
    """The model cannot take rows that share their prompt; says why."""


@dataclass(frozen=True, slots=True)
class TokenResults:
    """Of one loss over pairs: `logps` (N,), in nats, of all response tokens, those of chosen before those of rejected,
    pair by pair; `gradients` (T, H) at the embeddings of all tokens of the rows, in float32."""

    logps: Tensor
    gradients: Tensor

    def differences(self, expected: TokenResults) -> dict[str, Tensor]:
        """How far each token is off: relative to its own value, or to a usual one where that is less."""
        logps = (self.logps - expected.logps).abs() / expected.logps.abs().clamp(min=1.0)
        norms = expected.gradients.norm(dim=1)
        off = (self.gradients - expected.gradients).norm(dim=1)
        return {"log-probabilities": logps, "gradients": off / norms.clamp(min=float(norms.median()) + 1e-12)}


def suited(base: Any, pairs: Sequence[PairIds]) -> tuple[RowLayout, str]:
    """The fastest layout that gives `pairs` what plain rows give them, on this very model, forward and backward.

    The text says why no faster one does; it is empty for the fastest. The log (stderr) has it with its traceback.

    `pairs`, cut already, should be the longest: what goes wrong with length, as a sliding window does, shows in them.
    Raises `UnsuitableError` where there is none. `base` has no adapter yet, and is left as it was.
    """
    _check(base)
    before, refusals = base.config._attn_implementation, list[str]()
    rows = packed(pairs).to(base.device)
    with _as_in_training(base):
        expected = plain(base, pairs, rows)
        noise = plain(base, pairs, rows, _PADDING) if base.dtype in (torch.bfloat16, torch.float16) else expected
        limits = {name: _limits(name, base.dtype, off) for name, off in noise.differences(expected).items()}
        for layout in candidates(base, refusals):
            try:
                results = shared(base, pairs, layout)
                reason = _reason(results.differences(expected), limits)
                if not reason:
                    return layout, "; ".join(refusals)
            except Exception as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                show_traceback(error)
            finally:
                base.set_attn_implementation(before)
            refusals.append(f"{layout}: {reason}")
            note(f"Shared prompts do not fit the model as {refusals[-1]}")
    raise UnsuitableError("; ".join(refusals))


def candidates(base: Any, refusals: list[str]) -> list[RowLayout]:
    """The layouts to try, the fastest first; `refusals` gets why one of them is not."""
    layouts = [RowLayout.FLEX if base.device.type == "cuda" else RowLayout.LINE, RowLayout.LINES, RowLayout.APART]
    # Families that know nothing else are tried all the same.
    if base.config._attn_implementation == "eager" and base._supports_sdpa:
        refusals.append(f"{layouts.pop(0)}: attention is to be eager")
    return layouts


def plain(base: Any, pairs: Sequence[PairIds], rows: PairRows, padding: int = 0) -> TokenResults:
    """By the model's own forward, a response at a time, with so much `padding` on the right; its gradients are put
    together as those of `rows`, where a prompt is once."""
    logps, gradients = list[Tensor](), list[Tensor]()
    for pair, parts in zip(pairs, rows.parts, strict=True):
        slopes = list[Tensor]()
        for response, sign in ((pair.chosen, 1.0), (pair.rejected, -1.0)):
            compute = partial(_plain_logps, base, pair.prompt, response, padding)
            of_tokens, slope = _with_gradient(base, compute, sign)
            logps.append(of_tokens)
            slopes.append(slope[0, : len(pair.prompt) + len(response)])
        chosen, rejected = slopes
        trunk = chosen[: parts.trunk] + rejected[: parts.trunk]
        gradients += [trunk, chosen[parts.trunk :], rejected[parts.trunk :]]
    return TokenResults(torch.cat(logps), torch.cat(gradients))


def shared(base: Any, pairs: Sequence[PairIds], layout: RowLayout) -> TokenResults:
    """By rows in `layout`, all pairs at once."""
    forward = PairForward(base, layout)
    rows = forward.rows(pairs)
    logps, slope = _with_gradient(base, lambda: forward(rows).scores.logps, rows.sides[0] - rows.sides[1])
    counted = ((rows.pairs == number) & (side == 1) for number in range(len(pairs)) for side in rows.sides)
    of_tokens = torch.cat([logps[own] for own in counted])
    flat = slope.reshape(-1, slope.shape[-1])
    of_rows = flat.new_zeros((sum(parts.total for parts in rows.parts), flat.shape[1]))
    return TokenResults(of_tokens, of_rows.index_add(0, rows.tokens, flat[rows.places]))


def _check(base: Any) -> None:
    head, config = base.get_output_embeddings(), base.config.get_text_config()
    if not isinstance(head, torch.nn.Linear) or not head.weight.is_floating_point():
        raise UnsuitableError("its output layer is quantized or of a kind of its own")
    if getattr(config, "output_router_logits", False) and getattr(config, "router_aux_loss_coef", 0.0):
        raise UnsuitableError("a loss of their own balances its experts")


def _limits(name: str, dtype: torch.dtype, noise: Tensor) -> tuple[float, float]:
    most = _MOST.get(dtype, _MOST_OF_HALF[name])
    seen = float(noise.max()), float(noise.quantile(0.99))
    return max(most[0], _OF_NOISE * seen[0]), max(most[1], _OF_NOISE * seen[1])


def _reason(differences: dict[str, Tensor], limits: dict[str, tuple[float, float]]) -> str:
    """Why the numbers are not those of plain rows, or nothing."""
    for name, off in differences.items():
        most, usual = float(off.max()), float(off.quantile(0.99))
        if not (most <= limits[name][0] and usual <= limits[name][1]):  # what is no number is not less either
            allowed = f"allowed are {limits[name][1]:.1%} and {limits[name][0]:.1%}"
            return f"{name} differ by {usual:.1%} in 99 of 100 tokens and by {most:.1%} at most; {allowed}"
    return ""


def _with_gradient(base: Any, compute: Callable[[], Tensor], weights: Tensor | float) -> tuple[Tensor, Tensor]:
    """What `compute` gives, and the gradient of its sum under `weights` at the embeddings (lines, T, H), in float32."""
    embedded = list[Tensor]()

    def leaf(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = base.get_input_embeddings().register_forward_hook(leaf)
    try:
        logps = compute()
        (gradient,) = torch.autograd.grad((logps * weights).sum(), embedded[:1])
    finally:
        hook.remove()
    return logps.detach(), gradient.float()


def _plain_logps(model: Any, prompt: Sequence[int], response: Sequence[int], padding: int) -> Tensor:
    tokens = len(prompt) + len(response)
    ids = torch.tensor([[*prompt, *response, *[0] * padding]], device=model.device)
    mask = torch.zeros_like(ids)
    mask[:, :tokens] = 1
    keep = min(len(response) + 1, tokens)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep + padding).logits
    logps = logits[0, : keep - 1].float().log_softmax(-1)
    return logps.gather(-1, ids[0, tokens + 1 - keep : tokens, None])[:, 0]


@contextmanager
def _as_in_training(base: Any) -> Iterator[None]:
    """Precision and checkpointing as the run will have them, so that the trial takes no more memory than a step."""
    training, on_cuda = base.training, base.device.type == "cuda"
    base.train(on_cuda)
    if on_cuda:
        base.activation_checkpointing_enable()
    try:
        with fitting_threads(base), torch.enable_grad(), torch.autocast(base.device.type, base.dtype, enabled=on_cuda):
            yield
    finally:
        if on_cuda:
            base.activation_checkpointing_disable()
        base.train(training)
