"""What every job does around its work: a log that a person can read, progress, and errors in one line."""

import logging
import os
import sys
import time
from contextlib import contextmanager

from dvgs.errors import InputError

logger = logging.getLogger("dvgs")
PROGRESS_SECONDS = 5


@contextmanager
def job(snakemake):
    """Log to the job's log file and to stderr; use the threads given; end an InputError as one line.

    snakemake: the object that Snakemake puts into a rule's script; only its attributes are used.
    """
    handlers = [logging.StreamHandler(sys.stderr)]
    if snakemake.log:
        handlers.append(logging.FileHandler(snakemake.log[0], mode="w"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    if "torch" in sys.modules:
        from dvgs.devices import keep_freed_memory

        sys.modules["torch"].set_num_threads(snakemake.threads)
        keep_freed_memory()
    if "SLURM_JOB_ID" in os.environ:
        where = [os.environ.get(name, "none") for name in ("SLURM_JOB_ID", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES")]
        logger.info("SLURM job %s on node %s, GPU %s", *where)
    started = time.monotonic()
    try:
        yield
        logger.info("done in %.1f s; %.1f s of CPU from the start", time.monotonic() - started, time.process_time())
    except InputError as error:
        logger.error("error: %s", error)
        sys.exit(1)
    except Exception as error:
        if "No space left on device" in str(error):  # of whatever type: HDF5 has its own
            logger.error("error: the disk is full (%s); free some space and give the same command again", error)
        else:
            logger.exception("this is a defect, please report it with this log")
        sys.exit(1)
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


class Progress:
    """Logs how far a loop is and how long it will still take, at most every few seconds."""

    def __init__(self, what, total):
        self._what, self._total, self._done = what, total, 0
        self._start = self._last = time.monotonic()

    def skip(self, n):
        """What was done already counts neither as done nor as left."""
        self._total -= n

    def advance(self, n=1):
        self._done += n
        now = time.monotonic()
        if self._done > n and now - self._last >= PROGRESS_SECONDS:  # the first round also warms up
            self._last = now
            left = (now - self._start) / self._done * (self._total - self._done)
            logger.info("%s: %s, about %s left", self._what, self._amount(now - self._start), duration(left))

    def _amount(self, seconds):
        return f"{self._done} of {self._total}"


class ByteProgress(Progress):
    """The same for bytes, with their rate; `before` of them were there already."""

    def __init__(self, what, total, before=0):
        super().__init__(what, total - before)
        self._before = before

    def _amount(self, seconds):
        done, total, rate = self._before + self._done, self._before + self._total, self._done / seconds
        return f"{readable_size(done)} of {readable_size(total)}, {readable_size(rate)}/s"


def readable_size(n_bytes):
    """A number of bytes with three digits, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def duration(seconds):
    """Seconds as a person says them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
