"""Files from the web: continued after any interruption, checked, and there whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO

import requests
import urllib3

from dvgs.errors import InputError
from dvgs.io.files import written_whole
from dvgs.progress import ByteProgress, logger, readable_size

RECEIVED_BYTES = 2**16  # written at once: a connection that breaks loses at most as much
TIMEOUT = (30, 60)  # seconds to connect, and without a byte
LONGEST_WAIT = 60  # seconds between two attempts


class _Interrupted(Exception):
    """An error after which another attempt may succeed."""


def download(
    url: str,
    path: str | Path,
    size: int | None = None,
    sha256: str | None = None,
    *,
    field: str = "url",
    attempts: int = 12,
    backoff: float = 1.0,
) -> None:
    """Fetch a file by HTTP. A file that is at `path` is whole and never fetched again.

    What has come so far lies beside it as .{name}.partial; .{name}.partial.json says which version of the file it
    belongs to. A later call asks only for the rest. size: bytes, sha256: hex, both checked where given. field:
    the config's key for messages. attempts: how many in a row may bring no new byte before the download fails.
    backoff: seconds to wait after an attempt that brought some, doubled with each that brings none.
    Raises InputError when the download fails or cannot write, which keeps the partial file, and for a wrong size or
    checksum, which removes it.
    """
    path = Path(path)
    if path.exists():
        return
    transfer = _Transfer(url, path, size, field)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(transfer.partial, "ab") as file:
            transfer.lock(file)
            if path.exists():  # another process has just renamed the file that was opened
                return
            expected = transfer.fetch(file, attempts, backoff)
        problem = _problem(transfer.partial, expected, sha256)
        if problem:
            transfer.partial.unlink()
        else:
            os.replace(transfer.partial, path)
        transfer.origin.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise transfer.no_space(str(error.strerror)) from error
        raise InputError(path, field, str(error), "name a path that can be written (see input.directory)") from error
    if problem:
        raise InputError(url, field, problem, "what came was removed; correct the config or try again")


class _Transfer:
    """One file on its way."""

    def __init__(self, url: str, path: Path, size: int | None, field: str):
        self.url, self.path, self.size, self.field = url, path, size, field
        self.partial = path.with_name(f".{path.name}.partial")
        self.origin = path.with_name(f".{path.name}.partial.json")

    def lock(self, file: BinaryIO) -> None:
        """Two processes that append to one file would spoil it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another process is downloading it"
            raise InputError(self.path, self.field, problem, "wait for that one, or end it") from None
        except OSError:
            pass  # a file system without locks

    def fetch(self, file: BinaryIO, attempts: int, backoff: float) -> int:
        """Append to the partial file until it is whole; the size it should have."""
        known = self._known()
        if known.get("url") == self.url and file.tell() == known["size"]:
            return self.size or known["size"]
        failures, furthest = 0, file.tell()
        with requests.Session() as session:
            while True:
                try:
                    return self._request(session, file)
                except (_Interrupted, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                    reason = _innermost(error)
                # Bytes that had come before do not count, or a server that always starts again would be asked forever.
                file.flush()
                failures = 0 if file.tell() > furthest else failures + 1
                furthest = max(furthest, file.tell())
                if failures == attempts:
                    problem = f"{reason} ({attempts} attempts in a row)"
                    remedy = f"the same command goes on where this one ended, or put the file at {self.path}"
                    raise InputError(self.url, self.field, problem, remedy)
                wait = min(backoff * 2**failures, LONGEST_WAIT)
                so_far = readable_size(file.tell())
                logger.info("%s: %s; %s so far, next attempt in %g s", self.path.name, reason, so_far, wait)
                time.sleep(wait)

    def _request(self, session: requests.Session, file: BinaryIO) -> int:
        """Ask once for the rest and append it; return the size of the whole file."""
        offset = file.tell()
        headers = {"Accept-Encoding": "identity"}  # so that ranges count bytes of the file, not of a compressed copy
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        except (ValueError, requests.TooManyRedirects) as error:
            raise InputError(self.url, self.field, str(error), "correct the address") from error
        with response:
            begin, expected = self._place(response, file)
            if begin == 0:
                self._begin(response, file, expected)
            self._check_space(expected - begin)
            progress = ByteProgress(f"downloading {self.path.name}", expected, begin)
            for block in response.raw.stream(RECEIVED_BYTES, decode_content=False):
                file.write(block)
                progress.advance(len(block))
                if file.tell() > expected:  # without a length it could go on for ever
                    break
        if file.tell() < expected:
            raise _Interrupted("the answer ended too early")
        return expected

    def _place(self, response: requests.Response, file: BinaryIO) -> tuple[int, int]:
        """Where in the file the body of a response begins (0, or where the partial file ends), and the whole size."""
        code, status = response.status_code, f"the server answered {response.status_code} {response.reason}"
        if code in (408, 429) or code >= 500:
            raise _Interrupted(status)
        if code == 416:
            _empty(file)
            raise _Interrupted(f"{status}: the file is not the one that was begun, so it is fetched from the start")
        if code not in (200, 206):
            raise InputError(self.url, self.field, status, f"correct the address, or put the file at {self.path}")
        begin, total = _range(response)
        expected = self.size or total
        if expected is None:
            problem = "the server does not say how large the file is"
            raise InputError(self.url, self.field, problem, f"give {self.field}.size")
        if total not in (None, expected):
            problem = f"the file has {total} bytes on the server, not {expected}"
            raise InputError(self.url, f"{self.field}.size", problem, "correct the address or the size")
        if begin not in (0, file.tell()):
            raise _Interrupted("the server sent other bytes than those asked for")
        # Compared here, because not every server honours If-Range, which allows no weak ETag either.
        if begin and self._identity(response, expected) != self._known():
            _empty(file)
            raise _Interrupted("the file on the server is not the one that was begun, so it is fetched from the start")
        return begin, expected

    def _begin(self, response: requests.Response, file: BinaryIO, expected: int) -> None:
        """Empty the partial file, and write beside it which version of the file it will hold."""
        if file.tell():
            logger.info(
                "%s: the server does not send ranges of files, so it is fetched from the start again", self.path.name
            )
        _empty(file)
        with written_whole(self.origin) as temporary:
            temporary.write_text(json.dumps(self._identity(response, expected)))

    def _identity(self, response: requests.Response, expected: int) -> dict[str, Any]:
        version = {name: response.headers.get(name) for name in ("ETag", "Last-Modified")}
        return {"url": self.url, "size": expected} | version

    def _known(self) -> dict[str, Any]:
        try:
            return json.loads(self.origin.read_text())
        except (FileNotFoundError, ValueError):
            return {}  # then the partial file is of no use

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise self.no_space(f"{readable_size(needed)} are to come and the disk has {readable_size(free)} left")

    def no_space(self, problem: str) -> InputError:
        remedy = "free some space and give the same command again, which goes on where this one ended"
        return InputError(self.path, self.field, problem, remedy)


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Where the body begins in the file, and the size of the whole file or None."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found:
        raise _Interrupted("the server does not say which bytes it sends")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _problem(path: Path, expected: int, sha256: str | None) -> str | None:
    """What is wrong with a file that has come; None if nothing."""
    size = path.stat().st_size
    if size != expected:
        return f"{size} bytes came, not {expected}"
    if sha256 and (found := _sha256(path)) != sha256.lower():
        return f"its sha256 is {found}, not {sha256}"
    return None


def _sha256(path: Path) -> str:
    found, progress = hashlib.sha256(), ByteProgress(f"checking {path.name}", path.stat().st_size)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            found.update(block)
            progress.advance(len(block))
    return found.hexdigest()


def _innermost(error: BaseException) -> str:
    """The first reason: the libraries wrap it in several layers of names."""
    while error.__context__:
        error = error.__context__
    return str(error) or type(error).__name__
