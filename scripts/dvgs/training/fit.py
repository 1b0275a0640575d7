"""How models are trained, and R² in one pass."""

from itertools import islice

import torch

from dvgs.devices import fork_random, seed_device
from dvgs.seeds import derive_seed

PREDICTION_CHUNK = 8192


def make_optimizer(model, learning_rate):
    """Adam with torch's defaults, fused: one pass over the parameters a step."""
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


def fit(
    model, loss, x, y, *, steps, batch_size, learning_rate, seed, rows=None, before_step=None, optimizer=None, start=0
):
    """Train with Adam for a number of steps; epochs are shuffled by `seed`, and so are the masks of dropout.

    x, y: tensors on the model's device; x may be profiles.Batches, and y x itself. rows: positions of the samples to
    train on, a tensor on the CPU, or None for all. loss(prediction, y) gives one loss per sample; its mean over the
    batch is minimised. A batch_size of n or more trains on everything at once. The model stays in the mode it is in.
    before_step(step, loss) is called when the gradients of a step are there and the parameters have not moved yet;
    if it returns true, training ends there. With the optimizer and the parameters of an interrupted training,
    and the step at which it stood as `start`, it goes on as if nothing had happened.
    """
    optimizer = optimizer or make_optimizer(model, learning_rate)
    rows = torch.arange(len(x)) if rows is None else rows
    order = islice(batches(len(rows), batch_size, seed), start, None)
    with fork_random(x.device):
        for step in range(start, steps):
            seed_device(x.device, derive_seed(seed, "step", step))
            drawn = rows[next(order)].to(x.device)
            optimizer.zero_grad()
            batch = x[drawn]
            batch_loss = loss(model(batch), batch if y is x else y[drawn]).mean()
            batch_loss.backward()
            if before_step is not None and before_step(step, batch_loss):
                break
            optimizer.step()
    return model


def batches(n, batch_size, seed):
    """Yield the positions of one batch of n samples after the other, without end; every pass is shuffled anew."""
    rng = torch.Generator().manual_seed(seed)
    if batch_size >= n:
        while True:
            yield torch.arange(n)
    # What an epoch leaves over begins the next one: a short batch, of one profile at worst, would weigh as much as a
    # whole one and spoil the model that ends on it.
    rows = torch.empty(0, dtype=torch.long)
    while True:
        if len(rows) < batch_size:
            rows = torch.cat([rows, torch.randperm(n, generator=rng)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


def steps_per_epoch(n, batch_size):
    """Steps that take at least one pass over n profiles."""
    return -(-n // batch_size)


@torch.no_grad()
def predict(model, x):
    """What a model in evaluation mode says of x; the model is back in its mode afterwards."""
    mode = model.training
    model.eval()
    found = torch.cat([model(block) for block in x.split(PREDICTION_CHUNK)])
    model.train(mode)
    return found


@torch.no_grad()
def r2(model, x):
    """R² of the reconstruction of x (n, genes), averaged uniformly over genes, in one pass over blocks.

    Sums are float64, taken about the first profile so that a large mean costs no digits.
    """
    model.eval()
    origin = x[:1].double()
    total = squares = residual = 0
    for block in x.split(PREDICTION_CHUNK):
        centred = block.double() - origin
        total = total + centred.sum(0)
        squares = squares + centred.square().sum(0)
        residual = residual + (block.double() - model(block).double()).square().sum(0)
    return explained(residual, squares - total.square() / len(x), squares).mean().item()


def explained(residual, variance, squares):
    """R² of each feature from sums over samples: of squared residuals, about the mean, and about a sample.

    One without variance counts 1 if it is predicted exactly and 0 if not, as in scikit-learn's r2_score.
    """
    constant = variance <= 1e-12 * squares
    return torch.where(constant, (residual == 0).double(), 1 - residual / variance)
