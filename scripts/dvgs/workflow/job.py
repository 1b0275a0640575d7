"""What every job does around its work: a readable log, the threads it was given, and errors in one line."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dvgs.errors import InputError
from dvgs.progress import logger


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """In the context, log to the job's log file and to stderr, and use its threads. Errors end the process.

    snakemake: the object that Snakemake puts into a rule's script. Only its attributes `log` and `threads` are used.
    An InputError or a full disk is logged as one line, anything else with its traceback; the status is then 1.
    """
    handlers = _log_to(snakemake.log)
    _prepare_torch(snakemake.threads)
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
        if "No space left on device" in str(error):  # of any type, because HDF5 has a type of its own
            logger.error("error: the disk is full (%s); free some space and give the same command again", error)
        else:
            logger.exception("this is a defect, please report it with this log")
        sys.exit(1)
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _log_to(files: Any) -> list[logging.Handler]:
    """Log to stderr and to the first of the job's log files, if it has one. Returns the handlers."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if files:
        handlers.append(logging.FileHandler(files[0], mode="w"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handlers


def _prepare_torch(threads: int) -> None:
    """Set the threads of torch, in jobs that have imported it. The others should not wait for its import."""
    if "torch" in sys.modules:
        from dvgs.devices import keep_freed_memory

        sys.modules["torch"].set_num_threads(threads)
        keep_freed_memory()
