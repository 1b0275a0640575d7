"""Leave-one-out: what the score on the target loses without a sample (Cook 1977).

    v_i = V(N) - V(N without i)

V(S) is the score on the target of a model trained on S. Caveats: one sample in a thousand changes almost nothing, so
the noise of training hides the values (without a sample, all later ones get other batches and other masks of dropout);
n + 1 trainings. If a sample has a copy, both are worth nothing.
Published settings: 200 epochs of Adam at 1e-4, batches of 250.
"""

import numpy as np

from dvgs.methods.task import Task
from dvgs.methods.utility import at_once, check_hours, utilities
from dvgs.progress import Progress
from dvgs.training.schedule import Schedule, steps_per_epoch


def value(task: Task, *, epochs: int = 200, batch_size: int = 250, learning_rate: float = 1e-4) -> np.ndarray:
    schedule = Schedule(
        steps=epochs * steps_per_epoch(task.n, batch_size), batch_size=batch_size, learning_rate=learning_rate
    )
    everyone = np.arange(task.n)
    size = at_once(task, batch_size)
    checkpoint = task.checkpoint("leave_one_out", schedule)
    without = list((checkpoint.load() or {"without": []})["without"])
    check_hours(task, "leave_one_out", task.n + 1 - len(without), schedule, size)
    whole = utilities(task, [everyone], schedule)[0]
    progress = Progress("leave-one-out, trainings", task.n - len(without))
    while len(without) < task.n:
        left_out = everyone[len(without) : len(without) + size]
        without += utilities(task, [np.delete(everyone, i) for i in left_out], schedule)
        if checkpoint.due():
            checkpoint.save({"without": without})
        progress.advance(len(left_out))
    return whole - np.array(without)
