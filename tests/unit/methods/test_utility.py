import numpy as np
import pytest
import torch
from task_examples import blobs

from dvgs.errors import InputError
from dvgs.methods import utility
from dvgs.seeds import derive_seed
from dvgs.training.fit import fit
from dvgs.training.schedule import Schedule

SCHEDULE = Schedule(steps=7, batch_size=6, learning_rate=0.05)


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_utilities_are_scores_of_models_trained_on_each_coalition_alone(rng, n_classes):
    task = blobs(rng, n_classes=n_classes)
    coalitions = [rng.choice(task.n, size, replace=False) for size in (6, 9, 30)]
    found = utility.utilities(task, coalitions, SCHEDULE)
    for coalition, score in zip(coalitions, found, strict=True):
        x, y = task.source
        model = fit(
            task.start(), task.loss, (x[coalition], y[coalition]), SCHEDULE, derive_seed(task.seed, "coalition")
        )
        assert score == pytest.approx(task.score(model, *task.target), abs=1e-5)


def test_a_utility_does_not_depend_on_what_is_trained_beside_it(rng):
    task = blobs(rng)
    coalitions = [rng.choice(task.n, 8, replace=False) for _ in range(4)]
    together = utility.utilities(task, coalitions, SCHEDULE)
    assert np.allclose(together, [utility.utilities(task, [own], SCHEDULE)[0] for own in coalitions], atol=1e-6)


def test_predictions_held_at_once_are_bounded(rng, monkeypatch):
    task = blobs(rng)
    assert utility.at_once(task, 10) > 3
    monkeypatch.setattr(utility, "MOST_PREDICTED", 3 * len(task.target[0]) * task.n_classes)
    assert utility.at_once(task, 10) == 3
    monkeypatch.setattr(utility, "MOST_PREDICTED", 1)
    assert utility.at_once(task, 10) == 1


def test_hours_are_proportional_to_trainings_and_steps(rng, monkeypatch, caplog):
    """With a clock by which every step of a trial takes one second."""
    task, clock = blobs(rng, most_hours=1), [0.0]
    monkeypatch.setattr(utility.time, "perf_counter", lambda: clock[0])

    def fit_together(models, loss, samples, rows, schedule, seeds):
        clock[0] += schedule.steps
        assert schedule.batch_size == 6 and [len(own) for own in rows] == [6] * len(models)

    monkeypatch.setattr(utility, "fit_together", fit_together)
    caplog.set_level("INFO", "dvgs")
    utility.check_hours(task, "leave_one_out", 500, SCHEDULE)
    assert "leave_one_out: 500 trainings of 7 steps, about 58 min 20 s" in caplog.text  # 3,500 seconds
    utility.check_hours(task, "leave_one_out", 1000, SCHEDULE, together=2)
    with pytest.raises(InputError, match="leave_one_out: most_hours: 1000 trainings would take about 2 hours"):
        utility.check_hours(task, "leave_one_out", 1000, SCHEDULE)


def test_a_trial_leaves_the_random_state(rng):
    state = torch.get_rng_state()
    utility.check_hours(blobs(rng), "dvrl", 3, SCHEDULE, together=2)
    assert torch.equal(state, torch.get_rng_state())
