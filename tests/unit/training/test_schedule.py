import pytest

from dvgs.training.schedule import Schedule, steps_per_epoch


@pytest.mark.parametrize("n, batch_size, steps", [(1, 5, 1), (5, 5, 1), (6, 5, 2), (4000, 1024, 4), (0, 3, 0)])
def test_an_epoch_takes_every_sample(n, batch_size, steps):
    assert steps_per_epoch(n, batch_size) == steps
    assert Schedule(epochs=3, batch_size=batch_size, learning_rate=0.1).n_steps(n) == 3 * steps


def test_steps_are_the_same_for_any_number_of_samples():
    schedule = Schedule(epochs=7, batch_size=10, learning_rate=0.1).with_steps(12)
    assert schedule == Schedule(steps=12, batch_size=10, learning_rate=0.1)
    assert schedule.n_steps(1) == schedule.n_steps(10**6) == 12


@pytest.mark.parametrize("length", [{}, {"steps": 3, "epochs": 1}])
def test_either_steps_or_epochs(length):
    with pytest.raises(ValueError, match="one of the two"):
        Schedule(batch_size=10, learning_rate=0.1, **length)


def test_it_is_taken_from_settings():
    settings = {"epochs": 2, "quantiles": [0.1], "batch_size": 5, "learning_rate": 0.3, "budget": "equal_steps"}
    schedule, others = Schedule.split(settings)
    assert schedule == Schedule(epochs=2, batch_size=5, learning_rate=0.3)
    assert others == {"quantiles": [0.1], "budget": "equal_steps"} and len(settings) == 5
