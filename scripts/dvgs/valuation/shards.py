"""Shards: how the profiles to score are divided among jobs."""

from dataclasses import dataclass

from dvgs.limits import largest_chunk


@dataclass(frozen=True)
class Shard:
    """The rows [start, stop) of `total` that one job scores.

    Shards end where chunks end. A matrix product with other rows may round differently, so a profile must be in the
    same chunk for any number of shards. Then any number of shards gives the same bytes.
    """

    start: int
    stop: int
    total: int

    @classmethod
    def of(cls, total: int, shard: int = 0, n_shards: int = 1) -> "Shard":
        """Shard number `shard`, from 0, of n_shards shards of `total` rows."""
        chunk = largest_chunk(total)
        n_chunks = -(-total // chunk)
        first, last = shard * n_chunks // n_shards, (shard + 1) * n_chunks // n_shards
        return cls(min(first * chunk, total), min(last * chunk, total), total)
