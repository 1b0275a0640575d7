"""How many profiles, or numbers, are taken at once, where more than one wing has to agree on it."""

LARGEST_CHUNK = 8192
LAID_OUT = 50_000  # profiles that UMAP takes at most; beyond, it takes hours and a picture shows no more
# Multiplications of a forward pass up to which stacking was faster, on two cores and on an H200.
MOST_PRODUCTS = {"cpu": 100_000_000, "cuda": 20_000_000_000}


def largest_chunk(n):
    """Profiles that are never divided among shards: the most that a chunk holds, on a GPU many where there are many."""
    return LARGEST_CHUNK if n < 16 * LARGEST_CHUNK else 4 * LARGEST_CHUNK
