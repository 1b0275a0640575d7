"""How many profiles or numbers are processed at once, where several wings must agree on it."""

LARGEST_CHUNK = 8192
LAID_OUT = 50_000  # most profiles that UMAP gets; with more it takes hours, and a picture shows no more
# Stacked training was faster up to this many multiplications in a forward pass, on two cores and on an H200.
MOST_PRODUCTS = {"cpu": 100_000_000, "cuda": 20_000_000_000}


def largest_chunk(n: int) -> int:
    """The most profiles in a chunk, for a compendium of n profiles. A chunk is never divided among shards.

    Large compendia have larger chunks, because a GPU is faster with these.
    """
    return LARGEST_CHUNK if n < 16 * LARGEST_CHUNK else 4 * LARGEST_CHUNK
