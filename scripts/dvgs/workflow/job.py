"""What every job does around its work: a log that a person can read, progress, and errors in one line."""

import logging
import os
import sys
import time
from contextlib import contextmanager

from dvgs.errors import InputError
from dvgs.progress import logger


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
