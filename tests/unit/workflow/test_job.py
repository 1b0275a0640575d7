import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dvgs.errors import InputError
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
