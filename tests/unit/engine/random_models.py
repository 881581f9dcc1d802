"""Models of six families with random weights and tokenizers of two kinds, made in a second."""

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3MoeConfig,
)

SPECIALS = [
    "<pad>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "[INST]",
    "[/INST]",
    "<start_of_turn>",
    "<end_of_turn>",
]
TEXTS = ["How do I turn on the alarm? Sure. First wait until nobody is near.", "I'm sorry about that, and I can help."]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
_WIDE = {**_SMALL, "intermediate_size": 48}
_HEADS = {**_WIDE, "num_key_value_heads": 2}


def _of_bytes():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet))
    return tokenizer


def _of_words():
    """As SentencePiece does it: a mark before words, bytes where there is no letter."""
    letters = sorted({letter for text in TEXTS for letter in text.replace(" ", "\u2581")})
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges, known = [], set(letters)
    for pair in (
        ("\u2581", "t"),
        ("\u2581t", "h"),
        ("\u2581th", "e"),
        ("a", "n"),
        ("S", "u"),
        ("r", "e"),
        ("Su", "re"),
    ):
        merges.append(pair)
        known.add("".join(pair))
        names.append("".join(pair))
    vocabulary = {name: place for place, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


FAMILIES = {
    "llama": (LlamaConfig, {**_HEADS, "rope_theta": 500.0}, _of_bytes, CHATML, "<|im_end|>"),
    "qwen3": (Qwen3Config, {**_HEADS, "head_dim": 8}, _of_bytes, QWEN3, "<|im_end|>"),
    "mistral": (MistralConfig, {**_HEADS, "sliding_window": 12}, _of_words, MISTRAL, "</s>"),
    "gemma": (Gemma2Config, {**_HEADS, "head_dim": 8, "sliding_window": 12}, _of_words, GEMMA, "<end_of_turn>"),
    "phi": (PhiConfig, _WIDE, _of_bytes, CHATML, "<|im_end|>"),
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}, _of_bytes, None, "</s>"),
}
_EXPERTS = {**_HEADS, "hidden_size": 64, "intermediate_size": 64, "head_dim": 16, "num_experts_per_tok": 2}
MIXTURES = {
    "qwen3_moe": (
        Qwen3MoeConfig, {**_EXPERTS, "num_experts": 8, "moe_intermediate_size": 64}, _of_bytes, QWEN3, "<|im_end|>"
    ),
    "mixtral": (MixtralConfig, {**_EXPERTS, "num_local_experts": 4}, _of_words, MISTRAL, "</s>"),
    "gpt_oss": (GptOssConfig, {**_EXPERTS, "num_local_experts": 4}, _of_bytes, CHATML, "<|im_end|>"),
}  # fmt: skip
"""Families whose layers have experts: of two layouts, and with a bias and matrices that lie the other way."""


def make(folder, family):
    """Saves a model of `family`, with its tokenizer, and an adapter for it in `folder`/adapter."""
    config, sizes, tokenizer_of, template, end = (FAMILIES | MIXTURES)[family]
    backend = tokenizer_of()
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token=end, pad_token="<pad>", clean_up_tokenization_spaces=False
    )
    if template:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id, "pad_token_id": 0}
    model = AutoModelForCausalLM.from_config(
        config(vocab_size=len(tokenizer) + 3, tie_word_embeddings=False, initializer_range=0.3, **sizes, **ends)
    )
    model.save_pretrained(folder)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    tuned.save_pretrained(folder / "adapter")
