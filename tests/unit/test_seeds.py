import hashlib

import numpy as np

from dvgs.seeds import derive_seed, generator


def test_seeds_differ_by_name_and_stay():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2) < 2**63
    assert len({derive_seed(s, *n) for s in (1, 2) for n in (("a",), ("b",), ("a", "b"), ("ab",))}) == 8
    assert generator(1, "a").random() == generator(1, "a").random()


def test_seeds_are_those_of_earlier_versions():
    """Another seed would change all results."""
    assert derive_seed(1, "split", "general") == 5896419040905766807
    digest = hashlib.blake2b(b"7\x1fa\x1f3", digest_size=8).digest()
    assert derive_seed(7, "a", 3) == int.from_bytes(digest, "big") // 2
    assert generator(7, "a", 3).integers(10**9) == np.random.default_rng(derive_seed(7, "a", 3)).integers(10**9)


def test_names_do_not_run_into_one_another():
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc") != derive_seed(1, "abc")
    assert derive_seed(1, "2") == derive_seed(1, 2)  # names count as text
