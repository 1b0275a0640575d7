"""The log, the progress of loops, and readable sizes and durations."""

import logging
import time

logger = logging.getLogger("dvgs")
PROGRESS_SECONDS = 5


class Progress:
    """Logs how far a loop is and how much time is left, at most every few seconds."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._start = self._last = time.monotonic()

    def skip(self, n: int) -> None:
        """Leave out n rounds that an earlier run has done: they count neither as done nor as left."""
        self._total -= n

    def advance(self, n: int = 1) -> None:
        """Count n more rounds as done."""
        self._done += n
        now = time.monotonic()
        if self._done > n and now - self._last >= PROGRESS_SECONDS:  # the first round is slower
            self._last = now
            left = (now - self._start) / self._done * (self._total - self._done)
            logger.info("%s: %s, about %s left", self._what, self._amount(now - self._start), duration(left))

    def _amount(self, seconds: float) -> str:
        return f"{self._done} of {self._total}"


class ByteProgress(Progress):
    """The progress of bytes, with their rate. An earlier run has done the first `before` of them."""

    def __init__(self, what: str, total: int, before: int = 0) -> None:
        super().__init__(what, total - before)
        self._before = before

    def _amount(self, seconds: float) -> str:
        done, total, rate = self._before + self._done, self._before + self._total, self._done / seconds
        return f"{readable_size(done)} of {readable_size(total)}, {readable_size(rate)}/s"


def readable_size(n_bytes: float) -> str:
    """A number of bytes with three digits, in decimal units: "412 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def duration(seconds: float) -> str:
    """A readable duration: "3 h 20 min", "4 min 48 s" or "30 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
