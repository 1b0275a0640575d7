import numpy as np
import pytest

from dvgs.errors import InputError
from dvgs.studies.corruption import add_noise, corrupt_labels


def test_the_share_of_labels_is_exact_and_every_other_class_is_given(rng):
    y = rng.integers(0, 4, 1000)
    new, changed = corrupt_labels(y, 4, 0.2, rng)
    assert changed.sum() == 200 and np.array_equal(new != y, changed)
    for c in range(4):
        assert set(new[changed & (y == c)]) == set(range(4)) - {c}


@pytest.mark.parametrize("rate, n", [(0, 0), (1, 7)])
def test_none_and_all(rng, rate, n):
    y = np.ones(7, int)
    new, changed = corrupt_labels(y, 2, rate, rng)
    assert changed.sum() == n and (new == 1 - changed).all() and (y == 1).all()


def test_same_seed_same_faults():
    y, x = np.zeros(50, int), np.zeros((50, 3), np.float32)
    for fault in (lambda rng: corrupt_labels(y, 3, 0.3, rng), lambda rng: add_noise(x, 3, rng)):
        one, same, other = (fault(np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
        assert not np.array_equal(one[0], other[0])


def test_noise_has_the_deviation_that_is_told(rng):
    x = rng.normal(size=(200, 3, 20, 20)).astype(np.float32)
    noisy, sd = add_noise(x, 3, rng)
    assert noisy.dtype == np.float32 and noisy.shape == x.shape
    assert np.allclose((noisy - x).reshape(200, -1).std(axis=1), sd, rtol=0.15)
    assert sd.min() >= 0 and sd.max() < 3 and abs(sd.mean() - 1.5) < 0.3


@pytest.mark.parametrize("rate", [1.2, -0.1, float("nan")])
def test_impossible_rate(rng, rate):
    with pytest.raises(InputError, match="rate"):
        corrupt_labels(np.zeros(5, int), 2, rate, rng)


@pytest.mark.parametrize("y", [[0.0, 1.0], ["a", "b"], [[0, 1], [1, 0]], [0, 2], [-1, 0]], ids=str)
def test_labels_in_the_wrong_form(rng, y):
    with pytest.raises(InputError, match="class numbers"):
        corrupt_labels(np.array(y), 2, 0.5, rng)


def test_one_class_cannot_be_another(rng):
    with pytest.raises(InputError, match="no other class"):
        corrupt_labels(np.zeros(5, int), 1, 0.5, rng)


@pytest.mark.parametrize("largest", [-1, float("inf"), float("nan")])
def test_impossible_noise(rng, largest):
    with pytest.raises(InputError, match="noise_sd"):
        add_noise(np.zeros((2, 2), np.float32), largest, rng)
