"""Which behaviours sampled answers show: by phrases, functions, judges and classifiers, as the plan has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from workbench.behaviours.behaviour import EMBEDDED, PROPERTIES, Answer, Behaviour, resolve_exclusions, text_test
from workbench.behaviours.reading import KnownBehaviours
from workbench.engine.model.downloads import from_pretrained, load_tokenizer, not_loaded
from workbench.engine.model.inference import next_logprobs
from workbench.engine.model.loading import compute_device, load_base
from workbench.engine.model.token_ids import prompt_ids
from workbench.engine.user_code import load_function
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message
from workbench.tiny.matchers import classify as classify_embedded
from workbench.user_functions import check_function, parse_function

_HOW = "Name it as FILE.py:FUNCTION; the file is looked for beside workbench.toml."
_YES, _NO = ("Yes", "yes", "YES", " Yes", " yes"), ("No", "no", "NO", " No", " no")
_BATCH = 16

Verdicts = list[bool]
"""One an answer."""
LoadedModel = tuple[Any, Any]
"""A tokenizer and a model, by where they were loaded from."""


def shown_behaviours(
    answers: Sequence[Answer],
    known: KnownBehaviours,
    progress: Callable[[str], None] = lambda _: None,
    models: dict[str, LoadedModel] | None = None,
) -> list[tuple[str, ...]]:
    """The behaviours that every answer shows, properties (empty, cut …) included.

    `models` keeps those that are loaded from one call to the next. Raises `WorkbenchError` where a function fails or a
    model cannot be had.
    """
    behaviours, root = known.by_name, known.root
    models = {} if models is None else models
    columns: dict[str, Verdicts] = {name: [test(answer) for answer in answers] for name, test in PROPERTIES.items()}
    functions: dict[str, list[Any]] = {}
    for name, behaviour in behaviours.items():
        if behaviour.function:
            if behaviour.function not in functions:
                progress(f"asking {behaviour.function} about {len(answers):,} answers")
                functions[behaviour.function] = _called(behaviour.function, answers, root)
            values = functions[behaviour.function]
            columns[name] = [_says(value, name, behaviour) for value in values]
        elif behaviour.judge:
            progress(f"asking the judge {behaviour.judge} about {len(answers):,} answers")
            columns[name] = [chance >= behaviour.at_least for chance in _judged(behaviour, answers, root, models)]
        elif behaviour.classifier:
            progress(f"classifying {len(answers):,} answers with {behaviour.classifier}")
            columns[name] = [chance >= behaviour.at_least for chance in _classified(behaviour, answers, root, models)]
        else:
            test = text_test(behaviour)
            columns[name] = [test(answer) for answer in answers]
    return [
        resolve_exclusions({name: column[index] for name, column in columns.items()}, behaviours, answer.kind)
        for index, answer in enumerate(answers)
    ]


def _called(function: str, answers: Sequence[Answer], root: Path) -> list[Any]:
    """What the function says of every answer, equal ones asked once."""
    if function == EMBEDDED:
        return [classify_embedded(answer.text) or "" for answer in answers]
    named = parse_function(function)
    if named is None:
        raise WorkbenchError("That is no function", f"function = {function!r}.", _HOW)
    named = type(named)(root / named.file, named.function)
    check_function(named, "behaviour", _HOW)
    known: dict[tuple[str, str], Any] = {}
    try:
        call = load_function(named)
        for answer in answers:
            key = answer.prompt, answer.text
            if key not in known:
                known[key] = call(answer.prompt, answer.text)
    except Exception as error:
        raise WorkbenchError(
            "The behaviour's function failed", f"{named}: {type(error).__name__}: {error}", "Correct it."
        ) from error
    return [known[answer.prompt, answer.text] for answer in answers]


def _says(value: object, name: str, behaviour: Behaviour) -> bool:
    """Whether a function's value means that the answer shows the behaviour `name`."""
    if isinstance(value, Mapping):
        value = value.get(name, False)
    if value is None or isinstance(value, str):
        return value == name
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and 0 <= value <= 1:
        return value >= behaviour.at_least
    raise WorkbenchError(
        "The behaviour's function failed",
        f"{behaviour.function} gave {value!r}: no behaviour's name, true or false, or probability.",
        "Correct it.",
    )


def _judged(behaviour: Behaviour, answers: Sequence[Answer], root: Path, models: dict[str, LoadedModel]) -> list[float]:
    """P(yes) against P(no) of the judge's next token, for every answer."""
    source = _local(behaviour.judge, root)
    if source not in models:
        models[source] = load_tokenizer(source), load_base(source, "none")
    tokenizer, judge = models[source]
    yes, no = (_first_tokens(tokenizer, words) for words in (_YES, _NO))
    prompts = [prompt_ids(tokenizer, (Message("user", _filled(behaviour.question, answer)),)) for answer in answers]
    rows = next_logprobs(judge, prompts, [*yes, *no]).exp()
    said_yes, said_no = rows[:, : len(yes)].sum(1), rows[:, len(yes) :].sum(1)
    chances: list[float] = (said_yes / (said_yes + said_no).clamp(min=1e-30)).tolist()
    return chances


def _filled(question: str, answer: Answer) -> str:
    """The question with prompt and answer in their places: braces in either mean nothing."""
    parts = question.replace("{answer}", "\0a").replace("{prompt}", "\0p").split("\0")
    filled = parts[0]
    for part in parts[1:]:
        filled += (answer.prompt if part[0] == "p" else answer.text) + part[1:]
    return f"{filled}\nAnswer yes or no."


def _first_tokens(tokenizer: Any, words: Iterable[str]) -> list[int]:
    return sorted({tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words})


@torch.inference_mode()
def _classified(
    behaviour: Behaviour, answers: Sequence[Answer], root: Path, models: dict[str, LoadedModel]
) -> list[float]:
    """The probability of the label, for every prompt and answer."""
    source = _local(behaviour.classifier, root)
    if source not in models:
        try:
            tokenizer = from_pretrained(AutoTokenizer, source, local_files_only=True)
            loaded = from_pretrained(AutoModelForSequenceClassification, source, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise not_loaded(source, error) from error
        models[source] = tokenizer, loaded.to(compute_device()).eval()
    tokenizer, model = models[source]
    labels = {str(label): int(index) for label, index in model.config.label2id.items()}
    if behaviour.label not in labels:
        raise WorkbenchError(
            f"No label {behaviour.label!r}", f"{source} has {', '.join(labels)}.", "Name one of these as `label`."
        )
    independent = len(labels) == 1 or model.config.problem_type == "multi_label_classification"
    chances: list[float] = []
    for start in range(0, len(answers), _BATCH):
        part = answers[start : start + _BATCH]
        batch = tokenizer(
            [answer.prompt for answer in part],
            [answer.text for answer in part],
            padding=True,
            truncation=True,
            return_tensors="pt",
        ).to(model.device)
        logits = model(**batch).logits.float()
        rows = logits.sigmoid() if independent else logits.softmax(-1)
        chances += rows[:, labels[behaviour.label]].tolist()
    return chances


def _local(model: str, root: Path) -> str:
    """The model's folder, which may be named from `root`; nothing is downloaded for a judge unasked."""
    folder = root / Path(model).expanduser()
    if model == "tiny" or folder.is_dir():
        return model if model == "tiny" else str(folder)
    raise WorkbenchError("No such model", f"{folder} is not a folder.", "Name a local folder with a model.")
