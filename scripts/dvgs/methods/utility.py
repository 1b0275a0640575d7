"""The score of models trained on coalitions of the source, for leave-one-out and Data Shapley."""

import time

import torch

from dvgs.errors import InputError
from dvgs.methods.task import Task
from dvgs.progress import duration, logger
from dvgs.seeds import derive_seed
from dvgs.training.schedule import Schedule
from dvgs.training.stacked import fit_together, group_size, predict_together

TRIED_ROWS = 512  # batch of the short training that is timed
TRIED_STEPS = {"cpu": 3, "cuda": 40}  # steps of that training; on a GPU most of them are captured
MOST_PREDICTED = 1 << 26  # numbers that coalitions trained together predict for the target: 256 MiB


def utilities(task: Task, coalitions: list, schedule: Schedule) -> list[float]:
    """The score on the target after training on each coalition alone, a list of floats.

    coalitions: lists of positions in the source, trained together; none is empty, and all have equally many, or all
    have at least a batch. schedule: in steps. All trainings start from the same weights and have the same seed. So a
    utility depends only on the coalition and its order, which decides the batches and masks of dropout of its samples.
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
    """Log how long n_trainings take, with `together` at a time; raise InputError if that is more than task.most_hours.

    A valuation that was killed and goes on counts only the trainings that are left.
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
