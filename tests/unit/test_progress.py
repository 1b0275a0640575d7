import logging

import pytest

from dvgs import progress


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


def test_progress_leaves_out_what_an_earlier_run_did(monkeypatch, caplog):
    clock = iter([0, 1, 10])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    loop = progress.Progress("chunks", 100)
    loop.skip(60)
    with caplog.at_level(logging.INFO, "dvgs"):
        loop.advance()
        loop.advance()
    assert [r.getMessage() for r in caplog.records] == ["chunks: 2 of 40, about 3 min 10 s left"]


def test_a_single_round_says_nothing(monkeypatch, caplog):
    clock = iter([0, 1000])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "dvgs"):
        progress.Progress("steps", 2).advance()
    assert caplog.records == []


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert progress.duration(seconds) == text
