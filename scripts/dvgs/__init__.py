"""Data valuation with gradient similarity (DVGS, arXiv 2405.08217), exact and without per-sample gradients.

`dvgs.value` values the samples of any PyTorch model, `dvgs.gradients.similarity` is the engine under it,
`python -m dvgs` the same from a shell.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Imported when asked for, because a job that only reads a table should not wait for torch.
    if name == "value":
        return importlib.import_module("dvgs.valuation.api").value
    if name == "gradients":
        return importlib.import_module("dvgs.gradients")
    raise AttributeError(f"module 'dvgs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["gradients", "value"]
