"""The checks by name: what each looks for, in one line. Light: help and completion read it."""

from __future__ import annotations

CHECKS: dict[str, str] = {
    "empty": "empty or white space",
    "empty-turn": "an empty turn in the conversation",
    "identical": "chosen equals rejected",
    "identical-words": "chosen and rejected differ only in case, white space or typographic signs",
    "roles": "turns out of order",
    "turn-marker": "a transcript's turn marker inside a response",
    "contradiction": "A over B here, B over A there",
    "leak": "the same prompt in train and holdout",
    "duplicate": "word for word an earlier pair",
    "near-duplicate": "nearly an earlier pair",
    "length-bias": "chosen is systematically longer or shorter",
    "too-similar": "responses so alike that both may lose probability",
    "invisible": "control, direction or invisible characters",
    "encoding": "text read in the wrong encoding",
    "lost-characters": "characters lost to a wrong encoding",
    "refusal": "chosen refuses what seems harmless",
    "swap": "rejected looks better",
    "template": "the chat template refuses the conversation",
    "dropped": "the prompt alone fills max_length",
    "truncated": "the end of a response is cut off at max_length",
    "identical-cut": "chosen and rejected are the same once cut",
    "no-stop": "a response does not end in a stop token",
}
"""The names that findings have, the gravest first; the last five need a model."""

NEEDS_MODEL = frozenset({"template", "dropped", "truncated", "identical-cut", "no-stop"})
SLOW = frozenset({"near-duplicate"})
