import numpy as np

from dvgs.baselines import METHODS, Evidence


def test_more_is_better_in_every_method(rng):
    good = rng.normal(size=(1, 50))
    profiles = np.vstack([good, 3 * good]).astype(np.float32)
    evidence = Evidence(profiles, np.array([0.9, np.nan]), lambda: np.vstack([good, good]), rng)
    values = {name: value(evidence) for name, value in METHODS.items()}
    assert np.array_equal(values["apc"], [0.9, np.nan], equal_nan=True)
    assert np.allclose(values["profile_norm"], [-np.linalg.norm(good), -3 * np.linalg.norm(good)], rtol=1e-6)
    assert np.allclose(values["reconstruction_error"], [0, -4 * np.square(good).mean()], atol=1e-6)
    assert values["random"].shape == (2,)


def test_random_is_seeded():
    draws = [
        METHODS["random"](Evidence(np.zeros((5, 1)), None, None, np.random.default_rng(seed))) for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
