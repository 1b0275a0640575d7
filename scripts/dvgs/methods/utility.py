"""How good models are that were trained on coalitions of the source: leave-one-out and Data Shapley need it."""

import time

import torch

from dvgs.errors import InputError
from dvgs.methods.task import Task
from dvgs.progress import duration, logger
from dvgs.seeds import derive_seed
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together, group_size, predict_together

TRIED_ROWS = 512  # by which a training is timed
TRIED_STEPS = {"cpu": 3, "cuda": 40}  # the same; on a GPU most of them are captured
MOST_PREDICTED = 1 << 26  # numbers predicted for the target by the coalitions that are trained together: 256 MiB


def utilities(task: Task, coalitions: list, schedule: Schedule) -> list[float]:
    """The score on the target after training on each coalition alone, a list of floats.

    coalitions: lists of positions in the source, trained together; none is empty, and all have equally many, or a
    batch and more. schedule: in steps. All trainings start from the same weights and have the same seed, so that a
    utility is a function of the coalition and its order, by which masks of dropout and batches fall to its samples.
    """
    x, y = task.target
    seeds = [derive_seed(task.seed, "coalition")] * len(coalitions)
    predictions = predict_together(task.start(), x, task.loss, task.source, coalitions, schedule, seeds)
    return [task.quality(prediction, y) for prediction in predictions]


def at_once(task: Task, batch_size: int) -> int:
    """How many coalitions to train together: their predictions for the target are held at once."""
    x, _ = task.target
    predicted = len(x) * (task.n_classes or x[0].numel())
    return max(1, min(group_size(task.start(), batch_size, task.device), MOST_PREDICTED // predicted))


def check_hours(task: Task, method: str, n_trainings: int, schedule: Schedule, together: int = 1) -> None:
    """Log how long so many trainings take, so many together, and refuse what takes more than task.most_hours.

    Raises InputError. To be called with what a valuation that was killed has left to do, before it goes on.
    """
    x, _ = task.source
    steps, length = schedule.n_steps(len(x)), min(schedule.batch_size, len(x))
    rows, few = min(TRIED_ROWS, length), TRIED_STEPS[x.device.type]
    tried = Schedule(steps=few, batch_size=rows, learning_rate=schedule.learning_rate)
    seconds = []
    for _ in range(2):  # the first also warms up
        models, own = [task.start() for _ in range(together)], [torch.arange(rows)] * together
        started = time.perf_counter()
        fit_together(models, task.loss, task.source, own, tried, [0] * together)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    whole = n_trainings / together * steps * seconds[1] / few * length / rows
    logger.info("%s: %d trainings of %d steps, about %s", method, n_trainings, steps, duration(whole))
    if whole > 3600 * task.most_hours:
        problem = f"{n_trainings} trainings would take about {whole / 3600:,.0f} hours"
        raise InputError(method, "most_hours", problem, "value a sample of the source, or allow more hours")
