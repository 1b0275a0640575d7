from itertools import pairwise

import pytest

from dvgs.limits import largest_chunk
from dvgs.valuation.shards import Shard


@pytest.mark.parametrize("n", [0, 1, 8193, 16 * 8192 - 1, 16 * 8192, 720_216])
def test_shards_end_where_chunks_do(n):
    for n_shards in (1, 3, 64):
        shards = [Shard.of(n, shard, n_shards) for shard in range(n_shards)]
        assert shards[0].start == 0 and shards[-1].stop == n
        assert all(before.stop == after.start for before, after in pairwise(shards))
        assert all(shard.start % largest_chunk(n) == 0 for shard in shards if shard.start < n)
