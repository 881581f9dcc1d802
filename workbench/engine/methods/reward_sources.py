"""What answers are worth: by a reward model, by a policy's implicit reward, or by a function of the user's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from workbench.config import RunConfig
from workbench.engine.model.inference import asking
from workbench.engine.model.loading import attach_adapter, load_base, load_reward_base
from workbench.engine.model.response_states import right_padded
from workbench.engine.user_code import load_function
from workbench.errors import WorkbenchError
from workbench.rewards import parse_reward
from workbench.runs.activation_memory import REWARD_LOGITS
from workbench.runs.folder import RunFolder
from workbench.runs.trusting import require_own
from workbench.user_functions import UserFunction

Reward = Callable[..., list[float]]
"""As TRL calls it: `prompts`, `completions`, `completion_ids` and columns of the rows by name, to a number each."""
TEMPLATE = "template"
"""The column with what a row's chat template was given, tools too: as JSON here, for a function as a mapping."""


def load_reward(config: RunConfig, runs: Path, pad: int) -> Reward:
    """The config's reward; `runs` is where runs are, `pad` the padding token. Raises `WorkbenchError`.

    Of a run, the base is loaded a second time: the policy's own copy trains.
    """
    named = parse_reward(config.reward)
    if isinstance(named, UserFunction):
        return _function(named)
    folder = RunFolder(runs / named.run)
    require_own(folder)
    reward_config = folder.record().config
    reward = _implicit(folder, reward_config) if reward_config.facts.answers else _of_scores(folder, reward_config, pad)
    return _by_parts(reward, config.batch_size // config.gradient_accumulation)


def _by_parts(reward: Reward, most: int) -> Reward:
    """As many answers at once as go through the policy, not all of a step."""

    def by_parts(completion_ids: Sequence[list[int]], prompt_ids: Sequence[list[int]], **_: Any) -> list[float]:
        rewards: list[float] = []
        for begin in range(0, len(completion_ids), most):
            part = slice(begin, begin + most)
            rewards += reward(completion_ids=completion_ids[part], prompt_ids=prompt_ids[part])
        return rewards

    return by_parts


def _function(named: UserFunction) -> Reward:
    """The user's function, its answer checked: a finite number for every answer, or None for one not to learn from."""
    where = str(named)
    try:
        function = load_function(named)
    except Exception as error:
        raise _broken(where, f"{type(error).__name__}: {error}") from error

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        given = [json.loads(text) for text in columns.pop(TEMPLATE, [])]
        try:
            values = list(function(prompts=prompts, completions=completions, **columns, template=given))
            numbers = [math.nan if value is None else float(value) for value in values]
        except Exception as error:
            raise _broken(where, f"{type(error).__name__}: {error}") from error
        if len(numbers) != len(completions) or any(math.isinf(number) for number in numbers):
            raise _broken(where, f"It gave {len(numbers)} numbers for {len(completions)} answers, or an infinite one.")
        return numbers

    return reward


def _of_scores(folder: RunFolder, config: RunConfig, pad: int) -> Reward:
    """The score of a reward model. What it was trained on, it is asked: prompt and answer, the stop token with it."""
    base = load_reward_base(config.model, config.quantization, config.attention, config.trust)
    base.config.get_text_config().pad_token_id = pad
    model = attach_adapter(base, folder.adapter, "default", scores=True)

    def reward(completion_ids: Sequence[list[int]], prompt_ids: Sequence[list[int]], **_: Any) -> list[float]:
        rows = list(zip(prompt_ids, completion_ids, strict=True))
        ids, mask = right_padded(rows, model.device, pad)[:2]
        with asking(model):
            scores = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]
        return [float(score) for score in scores.float().tolist()]

    return reward


def _implicit(folder: RunFolder, config: RunConfig) -> Reward:
    """beta * (log pi(answer) - log ref(answer)): what DPO holds to be the reward. arXiv 2305.18290, eq. 5.

    The reference is the base, or the adapter that the run went on from.
    """
    base = load_base(config.model, config.quantization, config.attention, trust=config.trust)
    model = attach_adapter(base, folder.adapter, "policy")
    if config.adapter:
        model = attach_adapter(model, folder.start, "reference")

    def reward(completion_ids: Sequence[list[int]], prompt_ids: Sequence[list[int]], **_: Any) -> list[float]:
        batch = right_padded(list(zip(prompt_ids, completion_ids, strict=True)), model.device)
        with asking(model):
            model.set_adapter("policy", inference_mode=True)
            policy = _sums(model, *batch)
            if config.adapter:
                model.set_adapter("reference", inference_mode=True)
                reference = _sums(model, *batch)
            else:
                with model.disable_adapter():
                    reference = _sums(model, *batch)
        return [float(reward_of_answer) for reward_of_answer in (config.beta * (policy - reference)).tolist()]

    return reward


def _sums(model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int, answers: Sequence[slice]) -> torch.Tensor:
    """(B,) log-probabilities of the answers, summed over their tokens, in float32. Logits are bounded in number."""
    most = max(1, REWARD_LOGITS // (keep * int(model.config.get_text_config().vocab_size)))
    sums = []
    for part in (slice(row, row + most) for row in range(0, len(ids), most)):
        outputs = model(input_ids=ids[part], attention_mask=mask[part], use_cache=False, logits_to_keep=keep)
        logps = outputs.logits[:, :-1].float().log_softmax(-1).gather(-1, ids[part, 1 - keep :, None])[..., 0]
        sums += [row[answer].sum() for row, answer in zip(logps, answers[part], strict=True)]
    return torch.stack(sums)


def _broken(where: str, why: str) -> WorkbenchError:
    return WorkbenchError(
        "The reward function failed", f"{where}: {why}", "Correct it, then resume the run, or start a new one."
    )
