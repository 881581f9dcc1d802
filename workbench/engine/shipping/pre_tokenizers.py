"""What byte-level tokenizers do to a text before their merges, and what llama.cpp calls that (`tokenizer.ggml.pre`).

llama.cpp's own converter goes by a hash of what a tokenizer makes of one text. Here the steps that tokenizer.json
describes are looked up as they are: a name is given where llama.cpp takes the same steps, and none where anything is
another. llama.cpp itself only comes close to three of them: "tekken" and "gpt-4o" part some combining marks elsewhere,
"deepseek-coder" ideographic spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

_DIGITS = "digits one by one"
_GPT2 = "GPT-2's words"
"""The words of `ByteLevel` itself."""

_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = _CONTRACTED + r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATHS = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEGIN = r"[^\r\n\p{L}\p{N}]?"
_LLAMA3 = _WORDS + r"\p{N}{1,3}" + _REST
_TEKKEN = f"{_BEGIN}{_UPPER}*{_LOWER}+|{_BEGIN}{_UPPER}+{_LOWER}*" + r"|\p{N}" + _PATHS
_O200K = f"{_BEGIN}{_UPPER}*{_LOWER}+{_CONTRACTED}?|{_BEGIN}{_UPPER}+{_LOWER}*{_CONTRACTED}?" + r"|\p{N}{1,3}" + _PATHS
_MARKED = (
    _CONTRACTED + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SEED = _WORDS + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
_CODER = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", _DIGITS)
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


@dataclass(frozen=True, slots=True)
class _Known:
    """`whole`: a word that is in the vocabulary is taken without merging (tokenizer.json: ignore_merges)."""

    name: str
    steps: tuple[str, ...]
    whole: bool = False


_KNOWN = (
    _Known("gpt-2", (_GPT2,)),
    _Known("smollm", (_DIGITS, _GPT2)),
    _Known("llama-bpe", (_LLAMA3,), whole=True),
    _Known("smaug-bpe", (_LLAMA3,)),
    _Known("qwen2", (_WORDS + r"\p{N}" + _REST,)),
    _Known("qwen35", (_MARKED,)),
    _Known("tekken", (_TEKKEN,), whole=True),
    _Known("gpt-4o", (_O200K,)),
    _Known("seed-coder", (_SEED,)),
    _Known("minicpm5", (r"\p{N}{1,3}", _WORDS + r"\p{N}+" + _REST), whole=True),
    _Known("deepseek-coder", _CODER),
    _Known("bloom", (_BLOOM,)),
    _Known("viking", (_BLOOM, _DIGITS)),
)
_ALIKE = {
    "gpt-2": ("phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "mellum", "gigachat", "granite-docling"),
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    "smaug-bpe": ("dbrx", "glm4", "chatglm-bpe"),
    "qwen2": ("deepseek-r1-qwen", "kormo", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"),
    "gpt-4o": ("llama4", "kanana2", "minimax-m2"),
    "bloom": ("poro-chat", "gpt3-finnish"),
}
"""Other names that llama.cpp has for the same steps."""


def ggml_name(tokenizer: Mapping[str, Any]) -> str | None:
    """llama.cpp's name of what the tokenizer.json does before its merges; None where it has none, or is not known."""
    model = tokenizer.get("model") or {}
    normalizer = (tokenizer.get("normalizer") or {"type": "NFC"})["type"]
    odd = [model.get(name) for name in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout")]
    if model.get("type") != "BPE" or any(odd) or normalizer != "NFC":
        return None
    steps = _steps(tokenizer.get("pre_tokenizer") or {})
    whole = bool(model.get("ignore_merges"))
    return next((known.name for known in _KNOWN if known.steps == steps and known.whole == whole), None)


def restored(tokenizer: Tokenizer, name: str) -> bool:
    """Gives a byte-level BPE tokenizer the steps that llama.cpp knows by `name`; False where none is known here."""
    known = next((each for each in _KNOWN if name in (each.name, *_ALIKE.get(each.name, ()))), None)
    if known is None:
        return False
    parts: list[PreTokenizer] = [
        Digits(individual_digits=True) if step is _DIGITS else Split(Regex(step), "isolated")
        for step in known.steps
        if step is not _GPT2
    ]
    parts.append(ByteLevel(add_prefix_space=False, use_regex=_GPT2 in known.steps))
    tokenizer.pre_tokenizer = Sequence(parts) if len(parts) > 1 else parts[0]
    tokenizer.model.ignore_merges = known.whole
    return True


def in_words(tokenizer: Mapping[str, Any]) -> str:
    """What the tokenizer.json says that it is, for who reads that it cannot be converted."""
    model, before = tokenizer.get("model") or {}, tokenizer.get("pre_tokenizer") or {}
    parts = [_shown(step) for step in before.get("pretokenizers", [before])]
    fallback = " with a fallback to bytes" if model.get("byte_fallback") else ""
    normalizer = (tokenizer.get("normalizer") or {}).get("type")
    return f"{model.get('type', '?')}{fallback} after " + ", ".join([*([normalizer] if normalizer else []), *parts])


def _steps(before: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The steps before the bytes are written as characters, which has to be the last; None for one of another kind."""
    steps: list[str] = []
    *firsts, last = before.get("pretokenizers", [before]) or [{}]
    for step in firsts:
        match step:
            case {"type": "Digits", "individual_digits": True}:
                steps.append(_DIGITS)
            case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"} if not step.get(
                "invert"
            ):
                steps.append(pattern)
            case _:
                return None
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    return (*steps, *([_GPT2] if last.get("use_regex", True) else []))


def _shown(step: Mapping[str, Any]) -> str:
    pattern = step.get("pattern") or {}
    return f"{step.get('type', 'nothing')}{f' at {next(iter(pattern.values()))}' if pattern else ''}"
