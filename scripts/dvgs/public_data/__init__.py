"""The public data sets of the studies, from their official addresses or from a folder: ADULT, BLOG and CIFAR10."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvgs.errors import InputError
from dvgs.jobs import logger
from dvgs.public_data import adult, blog, cifar10

READERS = {"adult": adult.read, "blog": blog.read, "cifar10": cifar10.read}
FILES = {"adult": adult.FILES, "blog": blog.FILES, "cifar10": cifar10.FILES}  # each name with url, size and sha256


@dataclass
class PublicData:
    """The official training and test part, pairs (x, y): x float32 (n, ...), y int64 (n,), classes from 0."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def read_public_data(name, folder):
    """Read "adult", "blog" or "cifar10" from a folder that holds its official files.

    Nothing is scaled yet, but pixels are in [-1, 1]. Raises InputError for files that are missing, cut or something
    else.
    """
    for file, official in FILES[name].items():
        path = Path(folder) / file
        if not path.is_file():
            raise InputError(path, name, "no such file", "put it there, or let the workflow download it")
        if path.stat().st_size != official["size"]:
            logger.warning("%s has %d bytes, the official one %d", path, path.stat().st_size, official["size"])
    return PublicData(*READERS[name](Path(folder)))
