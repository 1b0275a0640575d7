"""The public data sets of the studies, from their official addresses or from a folder: ADULT, BLOG and CIFAR10."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvgs.errors import InputError
from dvgs.progress import logger
from dvgs.studies.datasets import adult, blog, cifar10

READERS = {"adult": adult.read, "blog": blog.read, "cifar10": cifar10.read}
FILES = {"adult": adult.FILES, "blog": blog.FILES, "cifar10": cifar10.FILES}  # each name with url, size and sha256


@dataclass
class PublicData:
    """The official training and test part, pairs (x, y): x float32 (n, ...), y int64 (n,), classes from 0."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def read_public_data(name: str, folder: Path) -> PublicData:
    """Read "adult", "blog" or "cifar10" from a folder that holds its official files.

    Nothing is scaled yet, but pixels are in [-1, 1]. Raises InputError for files that are missing, cut or something
    else. If a file can be read but is not the official one, the log says so.
    """
    check_files(name, folder)
    for file, official in FILES[name].items():
        with open(Path(folder) / file, "rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != official["sha256"]:
                logger.warning("%s is not the official file, whose sha256 is %s", content.name, official["sha256"])
    return PublicData(*READERS[name](Path(folder)))


def check_files(name: str, folder: Path) -> None:
    """Raise InputError for a file of a data set that is not in its folder."""
    for file in FILES[name]:
        if not Path(folder, file).is_file():
            problem = "no such file"
            remedy = "put it there, or leave studies.directory out, and it is downloaded to resources/data"
            raise InputError(Path(folder, file), "studies.directory", problem, remedy)
