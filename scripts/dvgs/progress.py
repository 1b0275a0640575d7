"""Words while work is done: the log, how far a loop is, sizes and times as a person says them."""

import logging
import time

logger = logging.getLogger("dvgs")
PROGRESS_SECONDS = 5


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
