"""The embedded model: a tiny causal language model that behaves like the bad base model of the story."""

from pathlib import Path

WEIGHTS: Path = Path(__file__).parent / "weights"
"""Folder with the model's config, tokenizer, chat template and bf16 safetensors."""
