"""How many steps a training takes, with which batches and learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A number of steps, or of passes over the samples (epochs), the size of a batch and the learning rate of Adam.

    Exactly one of steps and epochs is given. With a batch_size of all samples or more, every step takes all samples.
    Raises ValueError for both or neither.
    """

    batch_size: int
    learning_rate: float
    steps: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"{self.steps} steps and {self.epochs} epochs; a schedule has one of the two")

    @classmethod
    def split(cls, settings: Mapping[str, Any]) -> tuple["Schedule", dict[str, Any]]:
        """The schedule among the settings of a config, and the other settings."""
        own = {"epochs", "batch_size", "learning_rate"}
        return cls(**{name: settings[name] for name in own}), {k: v for k, v in settings.items() if k not in own}

    def n_steps(self, n_samples: int) -> int:
        """The number of steps of a training on n_samples samples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * steps_per_epoch(n_samples, self.batch_size)

    def with_steps(self, steps: int) -> "Schedule":
        """The same batches and learning rate, with this number of steps."""
        return replace(self, steps=steps, epochs=None)


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """How many steps are at least one pass over the samples."""
    return -(-n_samples // batch_size)
