"""CIFAR10: 32 x 32 colour photographs of ten kinds of things (Krizhevsky 2009).

It is read from the official binary archive: records of one byte of class and 3,072 bytes of pixels, channel by channel.
The Python version of the archive is not used, because unpickling is not safe. Pixels are scaled to [-1, 1], as
published.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from dvgs.errors import InputError

FILES = {
    "cifar-10-binary.tar.gz": {
        "url": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "size": 170052171,
        "sha256": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
}
SHAPE = 3, 32, 32
RECORD = 1 + 3 * 32 * 32
N_CLASSES = 10


def read(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(x, y) of the training part and of the test part; x (n, 3, 32, 32)."""
    path = folder / "cifar-10-binary.tar.gz"
    batches: dict[str, list] = {"data_batch": [], "test_batch": []}
    try:
        with tarfile.open(path, "r:gz") as archive:
            # Nothing is unpacked: names in an archive may lead anywhere.
            for member in archive:
                name = member.name.rpartition("/")[2]
                kind = name[: len("data_batch")]
                if member.isfile() and name.endswith(".bin") and kind in batches:
                    content = archive.extractfile(member)
                    assert content is not None  # because it is a file
                    batches[kind].append((name, _read_records(path, name, content.read())))
            while archive.fileobj.read(1 << 20):  # to the end, where the checksum is
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(path, "cifar10", f"not a whole tar.gz archive ({error})", "get it again") from None
    for kind, found in batches.items():
        if not found:
            raise InputError(path, "cifar10", f"it lacks {kind}*.bin", "get the binary version of the archive")
    numbered = {f"data_batch_{k}.bin" for k in range(1, 1 + len(batches["data_batch"]))}
    if lacking := numbered - {name for name, _ in batches["data_batch"]}:
        raise InputError(path, "cifar10", f"it lacks {min(lacking)}", "get it again")
    train, test = (
        np.concatenate([records for _, records in sorted(found, key=lambda batch: batch[0])])
        for found in batches.values()
    )
    return _split(train), _split(test)


def _read_records(path, name, content):
    if not content or len(content) % RECORD:
        problem = f"its {len(content)} bytes are not whole records of {RECORD}, the file may be cut"
        raise InputError(path, name, problem, "get it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= N_CLASSES:
        raise InputError(path, name, f"a class {records[:, 0].max()}, not 0 to 9", "get the CIFAR-10 archive")
    return records


def _split(records):
    pixels = records[:, 1:].reshape(-1, *SHAPE).astype(np.float32)
    return pixels / np.float32(127.5) - 1, records[:, 0].astype(np.int64)
