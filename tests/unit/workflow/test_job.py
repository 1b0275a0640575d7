import errno
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dvgs import progress
from dvgs.errors import InputError
from dvgs.seeds import derive_seed, generator
from dvgs.workflow.job import job


@pytest.fixture
def snakemake(tmp_path):
    return SimpleNamespace(log=[str(tmp_path / "job.log")], threads=1)


def test_input_error_is_one_line_and_status_1(snakemake):
    with pytest.raises(SystemExit) as exit, job(snakemake):
        raise InputError("a.gctx", "input.level5", "two\nlines", "do this")
    assert exit.value.code == 1
    lines = Path(snakemake.log[0]).read_text().splitlines()
    assert len(lines) == 1 and lines[0].endswith("error: a.gctx: input.level5: two lines; do this")


def test_defect_keeps_its_traceback(snakemake):
    with pytest.raises(SystemExit) as exit, job(snakemake):
        raise KeyError("x")
    assert exit.value.code == 1 and "Traceback" in Path(snakemake.log[0]).read_text()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("(errno = 28, "
                         "error message = 'No space left on device')")])  # fmt: skip
def test_full_disk_is_one_line(snakemake, error):
    with pytest.raises(SystemExit) as exit, job(snakemake):
        raise error
    lines = Path(snakemake.log[0]).read_text().splitlines()
    assert exit.value.code == 1 and len(lines) == 1 and "the disk is full" in lines[0] and "free some" in lines[0]


def test_progress_says_how_long_it_still_takes(monkeypatch, caplog):
    clock = iter([0, 1, 6, 7, 12])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    loop = progress.Progress("steps", 1000)
    with caplog.at_level(logging.INFO, "dvgs"):
        for _ in range(4):
            loop.advance(10)
    assert [r.getMessage() for r in caplog.records] == [
        "steps: 20 of 1000, about 4 min 54 s left",
        "steps: 40 of 1000, about 4 min 48 s left",
    ]


def test_progress_of_bytes_has_a_rate(monkeypatch, caplog):
    clock = iter([0, 1, 10])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    loop = progress.ByteProgress("downloading", 89_000_000_000, before=88_000_000_000)
    with caplog.at_level(logging.INFO, "dvgs"):
        loop.advance(100_000_000)
        loop.advance(150_000_000)
    assert [r.getMessage() for r in caplog.records] == ["downloading: 88.2 GB of 89 GB, 25 MB/s, about 30 s left"]


def test_sizes_are_readable():
    sizes = [0, 999, 1000, 999_499, 999_500, 412_420_734, 89e9, 1.5e12]
    assert list(map(progress.readable_size, sizes)) == (
        ["0 B", "999 B", "1 kB", "999 kB", "1 MB", "412 MB", "89 GB", "1.5 TB"]
    )


def test_seeds_differ_by_name_and_stay():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2) < 2**63
    assert len({derive_seed(s, *n) for s in (1, 2) for n in (("a",), ("b",), ("a", "b"), ("ab",))}) == 8
    assert generator(1, "a").random() == generator(1, "a").random()
