import os
import re
import shutil
import subprocess
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and threads that wait for each other crawl

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("DVGS_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data():
    """Folder of real measurements, which are not part of the repository; DVGS_TEST_DATA says where they are."""
    if not (REAL_DATA / "l1000").is_dir():
        pytest.skip("no real L1000 data here: set DVGS_TEST_DATA to a folder that has l1000/")
    return REAL_DATA


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 kB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def readme_example(word):
    """The Python example of the README in which a word stands."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if word in block)


@pytest.fixture
def rng():
    return np.random.default_rng(20240517)
