import numpy as np

from dvgs.methods.evidence import Evidence
from dvgs.methods.registry import BASELINES, METHODS


def test_more_is_better_in_every_method(rng):
    good = rng.normal(size=(1, 50))
    profiles = np.vstack([good, 3 * good, 2 * good]).astype(np.float32)

    def blocks():
        yield np.arange(2), profiles[:2]
        yield np.arange(2, 3), profiles[2:]

    evidence = Evidence(np.array([0.9, np.nan, 0]), blocks, lambda rows, x: np.repeat(good, len(x), axis=0), rng)
    values = {name: METHODS[name].load()(evidence) for name in BASELINES}
    assert np.array_equal(values["apc"], [0.9, np.nan, 0], equal_nan=True)
    assert np.allclose(values["profile_norm"], -np.linalg.norm(good) * np.array([1, 3, 2]), rtol=1e-6)
    assert np.allclose(values["reconstruction_error"], -np.square(good).mean() * np.array([0, 4, 1]), atol=1e-6)
    assert values["random"].shape == (3,)


def test_random_is_seeded():
    draws = [
        METHODS["random"].load()(Evidence(np.zeros(5), None, None, np.random.default_rng(seed))) for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
