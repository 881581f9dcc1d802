"""Asking a model something in the middle of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

REFERENCE = "ref"
"""TRL's name for the frozen copy of an adapter that a run goes on from."""

_SMALL = 50_000_000
"""Parameters."""


@contextmanager
def as_reference(model: Any) -> Iterator[None]:
    """What the policy is held against: the adapter that the run went on from, else the base."""
    if REFERENCE not in model.peft_config:
        with model.disable_adapter():
            yield
        return
    active = model.active_adapter
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter(active)


@contextmanager
def asking(model: Any) -> Iterator[None]:
    """Eval mode and no gradients within; after it the model is as it was.

    Not `torch.inference_mode`: what a model keeps from a forward within that (rotary embeddings that follow the length,
    for one) could not take part in training any more. A small model on the CPU gets one thread: waking more for every
    small product costs what they save.
    """
    training, threads = model.training, torch.get_num_threads()
    if model.device.type == "cpu" and sum(each.numel() for each in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        torch.set_num_threads(threads)
