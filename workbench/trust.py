"""What a model's files may do on this machine. It is said on the command line or in the form, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trust:
    """What a model's files may do here besides being read as numbers and text. By default, nothing."""

    trust_remote_code: bool = False
    """Python that comes with the model runs; transformers calls it so."""
    allow_pickle: bool = False
    """Weights that are a pickle are read, as far as torch.load reads them with weights_only."""


UNTRUSTED = Trust()
