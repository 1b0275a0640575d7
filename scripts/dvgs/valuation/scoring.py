"""Scoring: the similarity of each profile's gradient to the target's, averaged along a trajectory (DVGS).

v_i = mean over θ of sim(∇L(f_θ(x_i)), ∇L(f_θ(target)))        (arXiv 2405.08217)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dvgs import limits
from dvgs.columns import EARLY, MEASURES
from dvgs.devices import fork_random, in_precision, seed_device
from dvgs.gradients.engine import GradientSimilarity
from dvgs.limits import largest_chunk
from dvgs.progress import Progress, logger
from dvgs.seeds import derive_seed
from dvgs.training.checkpoints import Checkpoint, digest
from dvgs.training.cuda_graphs import Captured
from dvgs.training.fit import Loss
from dvgs.valuation.shards import Shard
from dvgs.valuation.trajectory import Trajectory

# Bytes of the inputs and outputs of all layers for one chunk. With the published autoencoder a chunk is 2,048 profiles
# on a CPU and 32,768 on a GPU. On CPUs another size changes speed by a few percent. On a GPU, chunks that fit the L2
# cache take twice as long, because the time between so many small kernels is more than the cache saves.
CHUNK_BYTES = {"cpu": 40 << 20, "cuda": 640 << 20}


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """precision: one of devices.PRECISIONS. grad_params: names of the parameters to compare, by default all that are
    trainable. seed: of the masks of dropout.
    """

    precision: str = "float32"
    grad_params: Sequence[str] | None = None
    seed: int = 0


def score(
    trajectory: Trajectory,
    loss: Loss,
    read: Callable[[int, int], tuple[torch.Tensor, torch.Tensor]],
    shard: Shard,
    settings: ScoreSettings = ScoreSettings(),
    work: Path | str | None = None,
) -> pd.DataFrame:
    """Values of the profiles of a shard along a trajectory, on the device of its model.

    trajectory: open. loss(prediction, y): one loss per sample. read(start, stop): x and y of those profiles as tensors;
    y may be x itself. work: a folder for finished blocks, which are found there after a kill; the caller removes it
    once it has saved the result.
    Memory: one block of profiles (at most 256 MiB, on a GPU 2 GiB) and the layers' numbers for one chunk. It does not
    grow with the number of profiles or steps.

    Returns a DataFrame with a row per profile, float64: MEASURES, the means over all rows of the trajectory;
    `cosine_se` (standard_error); `cosine_even` and `cosine_odd`, the means over alternate batches of steps, or over
    alternate restarts; the means over the first steps, one column for each of EARLY; and `n_steps`, the steps averaged.
    """
    device = next(trajectory.model.parameters()).device
    size = _block_size(read, shard, device)
    chunks = _Chunks(trajectory, loss, settings, min(size, largest_chunk(shard.total)))
    progress = Progress("scoring, steps x blocks", -(-(shard.stop - shard.start) // size) * len(trajectory))
    names = settings.grad_params and sorted(settings.grad_params)
    made_by = (trajectory.key, device.type, replace(settings, grad_params=names))

    def score_block(x, y, first):
        sums = _Sums(len(x), trajectory, device)
        for row in range(len(trajectory) if len(x) else 0):
            gradient = trajectory.at(row)
            with in_precision(settings.precision, device):
                sums.add(row, chunks(x, y, gradient, row, first))
            progress.advance()
        return sums.table()

    blocks = []
    with fork_random(device):
        for first in range(shard.start, max(shard.stop, shard.start + 1), size):
            x, y = read(first, min(first + size, shard.stop))
            checkpoint = Checkpoint(Path(work) / f"{first}.pt" if work else None, digest(made_by, x, y))
            if state := checkpoint.load():
                logger.info("profiles %d to %d have been scored before", first, first + len(x))
                blocks.append(pd.DataFrame({name: column.numpy() for name, column in state.items()}))
                progress.skip(len(trajectory))
                continue
            on_device = x.to(device)
            blocks.append(score_block(on_device, on_device if y is x else y.to(device), first))
            checkpoint.save({name: torch.from_numpy(blocks[-1][name].to_numpy()) for name in blocks[-1]})
    return pd.concat(blocks, ignore_index=True)


class _Chunks:
    """The similarities of a block, chunk by chunk; when memory runs out, this and all later chunks are smaller."""

    def __init__(self, trajectory, loss, settings, most):
        self._engine = GradientSimilarity(trajectory.model, loss, settings.grad_params)
        self._device = next(trajectory.model.parameters()).device
        self._seed, self._most = settings.seed, most
        self._run = Captured(self._engine) if self._device.type == "cuda" else self._engine
        self._size = None

    def __call__(self, x, y, target_gradient, row, first):
        if self._size is None:
            self._engine.prepare(x, y)
            self._engine(x[:1], y[:1], target_gradient)  # sets its width, in bytes of this precision
            most = max(1, CHUNK_BYTES[self._device.type] // self._engine.width)
            self._size = min(self._most, 1 << most.bit_length() - 1)
        target_squared = self._engine.squared_norm(target_gradient)
        found, start = [], 0
        while start < len(x):
            rows = slice(start, start + self._size)
            seed_device(self._device, derive_seed(self._seed, "masks", row, first + start))
            try:
                chunk = x[rows]
                found.append(self._run(chunk, chunk if y is x else y[rows], target_gradient, target_squared))
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error) or self._size == 1:
                    raise
                logger.warning("out of memory with chunks of %d samples; going on with half of that", self._size)
                self._size //= 2
            else:
                start = rows.stop
        return torch.stack([torch.cat([chunk[name] for chunk in found]) for name in MEASURES])


def _is_out_of_memory(error):
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _block_size(read, shard, device):
    """Profiles in a block: as many as fit, a power of two, so that chunks and shards end where blocks do."""
    if shard.start == shard.stop:
        return limits.LARGEST_CHUNK
    row = sum(tensor.numel() * tensor.element_size() for tensor in read(shard.start, shard.start + 1))
    most, budget = limits.LARGEST_CHUNK, 1 << 28
    if device.type == "cuda":  # every block reads the trajectory once more, so large blocks are faster there
        most, budget = 32 * limits.LARGEST_CHUNK, min(torch.cuda.mem_get_info(device)[0] // 4, 1 << 31)
    return min(most, 1 << max(1, budget // row).bit_length() - 1)


class _Sums:
    """Sums of the similarities of a block over the steps."""

    def __init__(self, n, trajectory, device):
        self._n_rows, self._n = trajectory.n_rows, len(trajectory)
        n_batches = math.isqrt(self._n_rows)
        self._length = self._n_rows // n_batches
        # Steps that do not fill the batches are left out: the first ones, in which the model changes fastest.
        self._rest = self._n_rows - n_batches * self._length
        self._totals = torch.zeros(len(MEASURES), n, dtype=torch.float64, device=device)
        self._early = torch.zeros(len(EARLY), n, dtype=torch.float64, device=device)
        self._batches = torch.zeros(trajectory.restarts, n_batches, n, dtype=torch.float64, device=device)

    def add(self, row, measures):
        measures = measures.double()
        self._totals += measures
        restart, step = divmod(row, self._n_rows)
        if step >= self._rest:
            self._batches[restart, (step - self._rest) // self._length] += measures[0]
        for total, divisor in zip(self._early, EARLY.values(), strict=True):
            if step < self._early_steps(divisor):
                total += measures[0]

    def _early_steps(self, divisor):
        return max(1, self._n_rows // divisor)

    def table(self):
        batches = self._batches.cpu().numpy() / self._length
        table = dict(zip(MEASURES, self._totals.cpu().numpy() / self._n, strict=True))
        table["cosine_se"] = standard_error(batches)
        halves = batches.mean(axis=1) if len(batches) > 1 else batches[0]
        table["cosine_even"] = halves[::2].mean(axis=0)
        table["cosine_odd"] = halves[1::2].mean(axis=0) if len(halves) > 1 else np.full(halves.shape[1], np.nan)
        for (name, divisor), total in zip(EARLY.items(), self._early.cpu().numpy(), strict=True):
            table[name] = total / self._early_steps(divisor) / len(batches)
        return pd.DataFrame(table | {"n_steps": self._n})


def standard_error(batches: np.ndarray) -> np.ndarray:
    """Standard error of the mean of correlated series, from the means of batches of consecutive steps.

    batches: (restarts, batches, n). Models of neighbouring steps are nearly the same, so their similarities are not
    independent. The means of √steps batches nearly are, and restarts are independent. There are two estimates: from
    differences between the batches of a restart and, with two or more restarts, from differences between restarts. The
    larger one is returned, because an error bar must not be too short. NaN where there is neither.
    """
    n_restarts, n_batches, _ = batches.shape
    nothing = np.full(batches.shape[2], np.nan)
    within = (batches.var(axis=1, ddof=1) / n_batches).sum(axis=0) / n_restarts**2 if n_batches > 1 else nothing
    between = batches.mean(axis=1).var(axis=0, ddof=1) / n_restarts if n_restarts > 1 else nothing
    return np.sqrt(np.fmax(within, between))
