"""Random Llamas with a byte-level BPE fitted to the texts they are to train on. No weights, no texts are kept.

Run as `python -m tests.bench.random_model ROWS.jsonl FOLDER 'JSON'`: a process of its own, as it needs torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "1.3M": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "5.9M": {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4},
    "tiny": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
}
VOCABULARY = 4096
_SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def texts(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The turns of preference rows, prompts once."""
    for row in rows:
        for side in ("prompt", "chosen", "rejected"):
            yield from (turn["content"] for turn in row[side])


def fit_tokenizer(words: Iterable[str], vocabulary: int = VOCABULARY) -> Any:
    """A byte-level BPE with a chat template of one control token a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fitted = Tokenizer(models.BPE())
    fitted.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fitted.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    fitted.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=fitted, pad_token="<|pad|>", eos_token="<|end|>", chat_template=_TEMPLATE
    )


def make(rows: Path, folder: Path, shape: dict[str, int], vocabulary: int = VOCABULARY) -> int:
    """Writes a model with its tokenizer into `folder`; its parameters, tied embeddings counted once."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with rows.open(encoding="utf-8") as lines:
        tokenizer = fit_tokenizer(texts(map(json.loads, lines)), vocabulary)
    torch.manual_seed(0)
    hidden = shape["hidden_size"]
    model = LlamaForCausalLM(
        LlamaConfig(
            **shape,
            num_key_value_heads=shape["num_attention_heads"],
            intermediate_size=hidden * 11 // 4,
            vocab_size=len(tokenizer),
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())


if __name__ == "__main__":
    print(json.dumps({"parameters": make(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))}))
