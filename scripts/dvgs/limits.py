"""How many profiles, or numbers, are taken at once, where more than one wing has to agree on it."""

BLOCK = 8192
LAID_OUT = 50_000  # profiles that UMAP takes at most; beyond, it takes hours and a picture shows no more
# Multiplications of a forward pass up to which stacking was faster, on two cores and on an H200.
MOST_PRODUCTS = {"cpu": 100_000_000, "cuda": 20_000_000_000}


def block_of(n):
    """Profiles that are never divided among shards: the most that a chunk holds, on a GPU many where there are many."""
    return BLOCK if n < 16 * BLOCK else 4 * BLOCK
