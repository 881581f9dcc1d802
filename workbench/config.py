"""What a run is asked to do: one flat set of keys, the same in run.toml, in --set and in the form."""

from __future__ import annotations

import difflib
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import tomlkit
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from workbench.chat_templates import RESERVED, Rendering, template_file
from workbench.errors import WorkbenchError
from workbench.methods import DEFAULT_METHOD, METHODS, Method, users, uses
from workbench.trust import Trust

LossType = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
Quantization = Literal["nf4", "int8", "none"]
Scheduler = Literal["constant", "linear", "cosine"]
LoraVariant = Literal["lora", "rslora", "dora"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
Optimizer = Literal["adamw", "adamw_8bit"]
Checkpointing = Literal["auto", "none", "quarter", "half", "all"]
Launcher = Literal["none", "accelerate", "command"]
Tracker = Literal["trackio", "tensorboard", "wandb"]
COMMAND = "{command}"
"""Stands for the worker's own command in `launcher_command`."""


def _listed(value: object) -> object:
    """Lets `--set loss_type=sigmoid,sft` and `loss_type = "sigmoid"` stand for lists."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


TemplateValue = bool | int | float | str
_RENDERED_BY = ("chat_template", "template")


def _named(value: object) -> object:
    """Lets "enable_thinking=false, mood=kind" stand for a mapping, as the form has it."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): template_value(text.strip()) for name, _, text in parts}


def template_value(text: str) -> TemplateValue:
    """What is typed as a value for chat templates: true, false and numbers as such, anything else as text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


def _for_templates(values: dict[str, TemplateValue]) -> dict[str, TemplateValue]:
    for name in values:
        if name in RESERVED or not name.isidentifier():
            raise UnfitError({"template": f"cannot set {name!r}: that is not for a chat template to be given"})
    return values


class UnfitError(ValueError):
    """Settings that do not fit, alone or together: by setting, what is wrong with it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in fields.items()))
        self.fields = dict(fields)


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise UnfitError({"method": f'"{name}" is none of {", ".join(METHODS)}'})
    return name


class RunConfig(BaseModel):
    """The settings of a run. Every field that its method uses can be given with --set KEY=VALUE."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    pairs: Annotated[list[str], BeforeValidator(_listed)] = Field(min_length=1)
    """Data sets to train on, by name."""
    pairs_weights: Annotated[list[float], BeforeValidator(_listed)] = Field(default=[])
    """How often each data set's pairs count: 0.5 takes half of them, 2 each twice, 1.5 each once and half again."""
    model: str = Field("tiny", min_length=1)
    """A local folder, a Hugging Face id, or tiny (the embedded model)."""
    method: Annotated[str, AfterValidator(_known_method)] = DEFAULT_METHOD
    """The method of preference optimization; `workbench train --help` says when to choose which."""
    adapter: str = ""
    """A run whose adapter to go on from, with its rank and layers; the reference is that adapter, frozen."""
    loss_type: Annotated[list[LossType], BeforeValidator(_listed)] = Field(default=["sigmoid"], min_length=1)
    """TRL's DPO losses, summed with loss_weights; sigmoid is the DPO paper's, sft adds likelihood of chosen."""
    loss_weights: Annotated[list[float], BeforeValidator(_listed)] = Field(default=[])
    """One weight a loss; empty for 1 each."""
    beta: float = Field(0.1, ge=0, le=100)
    """How strongly the policy is held to the reference; simpo: scale of rewards; orpo: the odds' weight (lambda)."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """The share of labels taken to be wrong (robust, aot); epsilon of exo_pair, for which its paper takes 1e-3."""
    simpo_gamma_ratio: float = Field(0.5, ge=0, le=10)
    """SimPO's target margin as gamma / beta, in nats a token; 0.3 to 0.6 for most models."""
    desirable_weight: float = Field(1.0, gt=0)
    """KTO's weight of good answers' losses."""
    undesirable_weight: float = Field(1.0, gt=0)
    """KTO's weight of bad answers' losses."""
    margin_weight: float = Field(0.0, ge=0)
    """How much of a pair's own margin the scores of its answers are to differ by, as TRL's margin; 0: none of it."""
    reward: str = ""
    """What answers are worth: run:ID (a reward model, or a dpo run's implicit reward), or FILE.py:FUNCTION."""
    group_size: int = Field(8, ge=2)
    """Answers to one prompt, which are compared with each other; divides batch_size."""
    completion_tokens: int = Field(256, ge=1)
    """Tokens of a sampled answer at most."""
    temperature: float = Field(1.0, gt=0, le=10)
    """Of the sampling of answers that train."""
    learning_rate: float = Field(5e-5, gt=0, le=1)
    """Peak learning rate of the adapter."""
    scheduler: Scheduler = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """The share of steps over which the learning rate rises; the first of them learns too."""
    optimizer: Optimizer = "adamw"
    """adamw; adamw_8bit holds its two moments in a byte each, not four: for adapters of high rank."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients longer than this are scaled down to it."""
    epochs: float = Field(1.0, gt=0, le=1000)
    """Passes over the training pairs."""
    max_steps: int = Field(0, ge=0)
    """Optimizer steps after which to end, whatever epochs says; 0 for no limit."""
    batch_size: int = Field(16, ge=1, le=65536)
    """Pairs an optimizer step on one device (so `processes` times as many in all); grpo and rloo: answers."""
    gradient_accumulation: int = Field(1, ge=1)
    """Parts that a batch is cut into to save memory; divides batch_size."""
    max_length: int = Field(1024, ge=16)
    """Tokens of prompt and response together; longer ones are cut, over-long prompts dropped."""
    quantization: Quantization = "nf4"
    """How the base model's weights are held: 4-bit NF4 with double quantization, 8-bit, or none."""
    fast: bool = True
    """Prompts are read once a pair, without padding, and the reference once; false is plain TRL, for comparison."""
    attention: Attention = "auto"
    """The attention kernel; auto takes FlashAttention where it is installed, else SDPA."""
    checkpointing: Checkpointing = "auto"
    """Layers computed again in the backward, a third more work where all are; auto: no more than free memory asks."""
    lora_r: int = Field(16, ge=1, le=1024)
    """Rank of the adapter."""
    lora_alpha: int = Field(32, ge=1)
    """The adapter's output is scaled by lora_alpha / lora_r."""
    lora_variant: LoraVariant = "lora"
    """lora; rslora scales by lora_alpha / sqrt(lora_r), for high ranks; dora learns lengths apart, slower."""
    target_modules: Annotated[list[str], BeforeValidator(_listed)] = Field(default=["all-linear"], min_length=1)
    """Layers that get an adapter, by the ends of their names."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seeds the adapter, the order of pairs and the split."""
    holdout: float = Field(0.1, ge=0, lt=1)
    """The share of prompts held out for evaluation; 0 for none."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between two points of the charts."""
    eval_steps: int = Field(0, ge=0)
    """Optimizer steps between evaluations; 0 for five over the run. One is made at the start and the end as well."""
    save_steps: int = Field(0, ge=0)
    """Optimizer steps between checkpoints; 0 for ten over the run. One is made when a run is stopped or paused."""
    keep_checkpoints: int = Field(2, ge=1)
    """Checkpoints kept; older ones are deleted."""
    sample_every: int = Field(0, ge=0)
    """Optimizer steps between two answers of base and aligned model to held-out prompts; 0 for every evaluation."""
    sample_tokens: int = Field(48, ge=0)
    """Tokens of such an answer at most; 0 for no answers."""
    stop_grace: int = Field(120, ge=1)
    """Seconds that a worker has to finish its step and save once it is asked to stop; then it is killed."""
    launcher: Launcher = "none"
    """What starts the worker's processes: none (there is one), accelerate (several GPUs or machines), or a command."""
    processes: int = Field(0, ge=0)
    """Processes of the worker in all, one a device; 0 for as many as accelerate's config says, else 1."""
    launcher_config: str = ""
    """An accelerate config file (DDP, FSDP 2, DeepSpeed to 2); empty for the one that `accelerate config` wrote."""
    launcher_command: str = ""
    """For launcher = command: a command line with {command} in it, such as srun -N2 accelerate launch … {command}."""
    report_to: Annotated[list[Tracker], BeforeValidator(_listed)] = Field(default=[])
    """Where metrics go besides the run's folder: trackio, tensorboard, wandb. They must be installed."""
    chat_template: str = ""
    """For models without one, or to train in another: a Jinja file, or one of TRL's such as qwen3; empty: its own."""
    template: Annotated[dict[str, TemplateValue], BeforeValidator(_named), AfterValidator(_for_templates)] = Field(
        default={}
    )
    """What the chat template is given besides the turns: template.enable_thinking=false. A pair's own comes first."""

    trust_remote_code: bool = False
    """Lets Python that comes with the model run: for a model whose files you have read, never from a preset or file."""
    allow_pickle: bool = False
    """Lets weights that are a pickle be read (with torch's weights_only), where the model has no safetensors."""

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        problems = dict(self._problems())
        if problems:
            raise UnfitError(problems)
        return self

    def _problems(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go with others, and what is wrong with each, in words that follow its name."""
        if self.batch_size % self.gradient_accumulation:
            yield (
                "gradient_accumulation",
                f"{self.gradient_accumulation} does not divide batch_size ({self.batch_size})",
            )
        if self.quantization == "int8" and self.lora_variant == "dora":
            yield "lora_variant", "dora does not train on int8 weights; take nf4 or none"
        if self.pairs_weights and len(self.pairs_weights) != len(self.pairs):
            yield "pairs_weights", f"has {len(self.pairs_weights)} entries for {len(self.pairs)} data sets"
        if any(weight <= 0 for weight in self.pairs_weights):
            yield "pairs_weights", "must be above 0; leave the data set out instead"
        if self.loss_weights and len(self.loss_weights) != len(self.loss_type):
            yield "loss_weights", f"has {len(self.loss_weights)} entries for {len(self.loss_type)} loss types"
        if "exo_pair" in self.loss_type and not self.label_smoothing:
            yield "label_smoothing", "must be above 0 for exo_pair; its paper takes 0.001"
        if self.facts.online:
            if not self.reward:
                yield "reward", f"is not given; {self.method} needs run:ID or FILE.py:FUNCTION"
            if self.batch_size % self.group_size:
                yield "group_size", f"{self.group_size} does not divide batch_size ({self.batch_size})"
            if self.completion_tokens >= self.max_length:
                yield "completion_tokens", f"{self.completion_tokens} leaves no room in max_length for a prompt"
        elif not self.beta:
            yield "beta", f"must be above 0 for {self.method}"
        if self.launcher == "none" and self.processes > 1:
            yield "processes", f"{self.processes} needs a launcher: accelerate or command"
        if self.launcher_config and self.launcher != "accelerate":
            yield "launcher_config", "is for launcher = accelerate"
        if self.launcher == "command" and not self.launcher_command:
            yield "launcher_command", "is not given; launcher = command needs it"
        if self.launcher_command and self.launcher != "command":
            yield "launcher_command", "is for launcher = command"
        try:
            words = shlex.split(self.launcher_command)
        except ValueError as error:
            yield "launcher_command", str(error)
        else:
            if words and not any(COMMAND in word for word in words[1:]):
                yield "launcher_command", f"must have {COMMAND} in it, after the launcher's own name"

    @model_serializer(mode="wrap")
    def _told(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in plain(self).items() if uses(self.method, key)}

    @property
    def trust(self) -> Trust:
        """What the model's files may do here."""
        return Trust(self.trust_remote_code, self.allow_pickle)

    @property
    def facts(self) -> Method:
        """What is true of the run's method."""
        return METHODS[self.method]

    @property
    def room(self) -> int:
        """Tokens that a pair may have: those of `max_length`, but for the answers that the model gives itself."""
        return self.max_length - self.completion_tokens if self.facts.online else self.max_length

    @property
    def step_pairs(self) -> int:
        """Pairs that an optimizer step is about: of grpo's and rloo's, the prompts alone."""
        return self.step_rows // self.group_size if self.facts.online else self.step_rows

    @property
    def step_rows(self) -> int:
        """Pairs, or answers of grpo and rloo, that an optimizer step takes in all processes."""
        return self.batch_size * max(1, self.processes)

    def total_steps(self, train_pairs: int) -> int:
        """Optimizer steps that the run takes over so many pairs."""
        return self.max_steps or math.ceil(self.epochs * math.ceil(train_pairs / self.step_pairs))

    def eval_every(self, total_steps: int) -> int:
        """Optimizer steps between evaluations of a run of so many."""
        return self.eval_steps or max(1, round(total_steps / 5))

    def save_every(self, total_steps: int) -> int:
        """Optimizer steps between checkpoints of a run of so many."""
        return self.save_steps or max(1, round(total_steps / 10))


class Preset(BaseModel):
    """Named settings with a line that says when to choose them, and the methods that they are for."""

    model_config = ConfigDict(frozen=True)

    summary: str
    values: dict[str, Any]
    methods: tuple[str, ...] = (DEFAULT_METHOD,)


PRESETS: dict[str, Preset] = {
    "standard": Preset(summary="QLoRA DPO as most people run it: a model of 1 to 70 billion parameters.", values={}),
    "gentle": Preset(
        summary="Holds the chosen answers up with an SFT term: where both log-probabilities fell before.",
        values={"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2], "beta": 0.2},
    ),
    "small": Preset(
        summary="For models under 100 million parameters, whose adapters need a higher learning rate.",
        values={"learning_rate": 1e-3, "epochs": 2.0},
        methods=tuple(METHODS),
    ),
    "demo": Preset(
        summary="The demo's recipe for the embedded model: every answer it should give rises, every bad one collapses.",
        values={"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 10.0], "beta": 1.0, "learning_rate": 1e-3},
    ),
    "demo-real": Preset(
        summary="For a small instruct model and pairs of its own answers: what it says changes, not the odds alone.",
        values={
            "loss_type": ["sigmoid", "sft"],
            "loss_weights": [1.0, 10.0],
            "beta": 0.3,
            "learning_rate": 1.2e-3,
            "epochs": 1.5,
            "batch_size": 8,
        },
    ),
    **{
        name: Preset(
            summary=f"{method.title} as its authors advise.",
            values={"method": name, **method.values},
            methods=(name,),
        )
        for name, method in METHODS.items()
        if method.values
    },
}


def build_config(values: Mapping[str, Any], *, preset: str | None = None, settings: Sequence[str] = ()) -> RunConfig:
    """The method's own values, over them those of `preset`, `values`, and `settings` ("KEY=VALUE" as in --set).

    Raises `WorkbenchError` for an unknown preset or key (with the nearest right name), for a setting that the method
    does not use, and for values out of range.
    """
    given = dict(values)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise WorkbenchError("Not a setting", f"--set {setting!r} has no '='.", "Write it as --set KEY=VALUE.")
        name, dot, inner = key.strip().partition(".")
        if name == "template" and dot:
            given["template"] = {**dict(given.get("template", {})), inner: template_value(value.strip())}
        else:
            given[key.strip()] = value.strip()
    named = _preset(preset).values if preset else {}
    method = str(given.get("method", named.get("method", DEFAULT_METHOD)))
    if preset and method in METHODS and method not in PRESETS[preset].methods:
        fitting = f"Presets for {method}: {', '.join(presets_of(method))}."
        raise WorkbenchError(f"The preset {preset!r} is not for {method}", PRESETS[preset].summary, fitting)
    return _validated({**(METHODS[method].values if method in METHODS else {}), **named, **given})


def rendering(values: Mapping[str, Any], settings: Sequence[str] = ()) -> Rendering:
    """How turns are rendered by `values` and `settings` ("KEY=VALUE") of `chat_template` and `template`.

    Raises `WorkbenchError` for other settings, and where there is no such template.
    """
    names = [*values, *(setting.partition("=")[0].partition(".")[0].strip() for setting in settings)]
    for name in names:
        if name not in _RENDERED_BY:
            raise WorkbenchError(
                f"{name!r} does not say how turns are rendered", "Settings that do: chat_template, template.NAME."
            )
    config = build_config({"pairs": ["none"], **values}, settings=settings)
    template_file(config.chat_template)
    return Rendering(config.chat_template, config.template)


def as_typed(value: object) -> str:
    """A setting as one would type it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={as_typed(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def defaults(method: str, preset: str) -> dict[str, Any]:
    """The settings that the method uses, as its preset has them. What it cannot do without is still empty."""
    plain = {key: field.get_default(call_default_factory=True) for key, field in RunConfig.model_fields.items()}
    values = plain | dict(METHODS[method].values) | PRESETS[preset].values
    return {key: value for key, value in values.items() if key != "pairs" and uses(method, key)}


def presets_of(method: str) -> list[str]:
    """The presets that are for the method, its own last."""
    return [name for name, preset in PRESETS.items() if method in preset.methods]


def fitting_preset(method: str, model: str) -> str:
    """The preset to begin with: one for small models for the embedded model, for others what most people take."""
    if model == "tiny":
        return "small"
    return next(name for name, preset in PRESETS.items() if preset.methods == (method,))


def to_toml(config: RunConfig) -> str:
    """The config as TOML, keys in the order of the class."""
    return tomlkit.dumps(config.model_dump(mode="json"))


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise WorkbenchError(f"No preset named {name!r}", _nearest(name, PRESETS), f"Presets: {', '.join(PRESETS)}.")
    return PRESETS[name]


def _validated(values: Mapping[str, Any]) -> RunConfig:
    for key in values:
        if key not in RunConfig.model_fields:
            raise unknown_setting(key, RunConfig.model_fields)
        method = values.get("method", DEFAULT_METHOD)
        if method in METHODS and not uses(method, key):
            raise WorkbenchError(
                f"{method} has no use for {key!r}", f"It is a setting of {', '.join(users(key))}.", "Leave it out."
            )
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise wrong_settings(error, "Correct it; `workbench train --help` lists all settings.") from None


def unknown_setting(key: str, known: Mapping[str, Any], where: str = "") -> WorkbenchError:
    """What to tell of a setting that is none of `known`; `where` says which file it is in."""
    message = f"{where} {_nearest(key, known)}".strip()
    return WorkbenchError(f"No setting named {key!r}", message, f"Settings: {', '.join(known)}.")


def wrong_settings(error: ValidationError, hint: str, where: str = "") -> WorkbenchError:
    """What to tell of settings that pydantic refuses, each with its reason; `where` says which file they are in."""
    fields: dict[str, str] = {}
    for problem in error.errors():
        cause = problem.get("ctx", {}).get("error")
        fields |= cause.fields if isinstance(cause, UnfitError) else {str(problem["loc"][0]): _reason(problem)}
    lines = [f"{key}: {reason}" for key, reason in fields.items()]
    if len(lines) == 1:
        return WorkbenchError(lines[0], where, hint, fields=fields)
    return WorkbenchError(f"{len(lines)} settings are wrong", "\n".join([*lines, where]).strip(), hint, fields=fields)


_REASONS = {
    "missing": "is not given",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "greater_than": "{input} is not above {gt:g}",
    "greater_than_equal": "{input} is below {ge:g}",
    "less_than": "{input} is not below {lt:g}",
    "less_than_equal": "{input} is above {le:g}",
    "finite_number": "{input} is not a finite number",
    "float_parsing": '"{input}" is not a number',
    "float_type": "{input} is not a number",
    "int_parsing": '"{input}" is not a whole number',
    "int_from_float": "{input} is not a whole number",
    "int_type": "{input} is not a whole number",
    "bool_parsing": '"{input}" is neither true nor false',
    "string_type": "{input} is not a text",
    "list_type": "{input} is not a list",
    "literal_error": '"{input}" is not {expected}',
}


def _reason(problem: ErrorDetails) -> str:
    """What is wrong with a setting, in words that follow its name."""
    known = _REASONS.get(problem["type"])
    if known is None:
        return problem["msg"]
    return known.format(input=problem["input"], **problem.get("ctx", {}))


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"Did you mean {close[0]!r}?" if close else ""


def choices(key: str) -> tuple[str, ...]:
    """The values that a setting with a fixed list of them takes; empty for every other setting."""
    annotation = RunConfig.model_fields[key].annotation
    return tuple(METHODS) if key == "method" else get_args(annotation) if get_origin(annotation) is Literal else ()
