"""Trains the embedded model from scratch: `python -m workbench.tiny.recipe [--steps N] [--to DIR]`.

Tokenizer and weights come from the corpus grammar alone, with fixed seeds.
"""

import argparse
import itertools
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workbench.console import note
from workbench.tiny import WEIGHTS
from workbench.tiny.grammar import ChatTurn, conversations

SEED = 20
VOCABULARY = 1536
POSITIONS = 2048
BATCH = 64
STEPS = 700
WARMUP = 100
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
LONGEST_GRADIENT = 20.0

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")

# No spaces or newlines between the parts: the tokenizer then cuts at the special tokens, and the ids of a prompt are
# a prefix of the ids of the prompt with its response.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `VOCABULARY` tokens: any text can be encoded, the grammar's words are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message["content"] for turns in conversations(seed, 12_000) for message in turns)
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of about two million parameters; widths are multiples of 64, as NF4's blocks need."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode(tokenizer: PreTrainedTokenizerFast, turns: list[ChatTurn]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the same ids with everything the assistant did not say set to -100."""
    ids: list[int] = []
    labels: list[int] = []
    for turn in turns:
        head = [tokenizer.convert_tokens_to_ids(f"<|{turn['role']}|>")]
        body = [*tokenizer.encode(turn["content"], add_special_tokens=False), tokenizer.eos_token_id]
        ids += head + body
        labels += [-100, *(body if turn["role"] == "assistant" else [-100] * len(body))]
    return ids, labels


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, steps: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Ids, labels and attention mask, each (BATCH, longest), of conversations of similar length."""
    pool = 16
    stream = conversations(seed, steps * BATCH)
    while chunk := list(itertools.islice(stream, pool * BATCH)):
        rows = sorted((encode(tokenizer, turns) for turns in chunk), key=lambda row: len(row[0]))
        parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        for index in torch.randperm(len(parts)).tolist():
            width = max(len(ids) for ids, _ in parts[index])
            ids = torch.full((len(parts[index]), width), int(tokenizer.pad_token_id))
            labels = torch.full_like(ids, -100)
            mask = torch.zeros_like(ids)
            for row, (row_ids, row_labels) in enumerate(parts[index]):
                ids[row, : len(row_ids)] = torch.tensor(row_ids)
                labels[row, : len(row_ids)] = torch.tensor(row_labels)
                mask[row, : len(row_ids)] = 1
            yield ids, labels, mask


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to a twentieth of the peak."""
    warm = min(1.0, (step + 1) / WARMUP)
    return LEARNING_RATE * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
    """Trains on the assistant's turns; one progress line a hundred steps on stderr."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))
    started = time.monotonic()
    model.train()
    for step, (ids, labels, mask) in enumerate(batches(tokenizer, SEED + 1, steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        said = targets != -100
        # Summed, not averaged over tokens: batches hold rows of like length, and an average would count the first
        # words of a long answer, where its family is decided, for less than those of a short one.
        loss = functional.cross_entropy(model.lm_head(hidden[said]), targets[said], reduction="sum") / len(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == steps - 1:
            seconds = time.monotonic() - started
            nats = f"{loss.item():.3f} nats a conversation"
            note(f"step {step + 1}/{steps}  {nats}  {seconds:.0f} s")
    model.eval()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes bf16 safetensors, tokenizer, chat template and settings; a model card already there stays."""
    card = folder / "README.md"
    kept = card.read_text(encoding="utf-8") if card.exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kept is not None:
        card.write_text(kept, encoding="utf-8")


def main() -> None:
    """Trains and saves the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=WEIGHTS, metavar="DIR", help="where to save the model")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    tokenizer = train_tokenizer(SEED)
    model = build_model(tokenizer)
    note(f"{model.num_parameters():,} parameters, {len(tokenizer):,} tokens")
    train(model, tokenizer, options.steps)
    save(model, tokenizer, options.to)


if __name__ == "__main__":
    main()
