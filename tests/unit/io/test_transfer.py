import builtins
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT
from web_server import web_server

from dvgs.errors import InputError
from dvgs.io import transfer as room
from dvgs.io.transfer import download

BODY = bytes(range(256)) * 1200  # several blocks
CUT = {"cut": 0}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with web_server({"file": BODY}) as server:
        yield server


@pytest.fixture
def fetch(server, tmp_path):
    def fetch(**changes):
        download(**{"url": server.url("file"), "path": tmp_path / "file", "backoff": 0.001} | changes)

    return fetch


def partial_bytes(folder):
    return (folder / ".file.partial").read_bytes()


def is_whole(folder):
    return [path.name for path in folder.iterdir()] == ["file"] and (folder / "file").read_bytes() == BODY


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def test_a_file_comes_whole_and_is_not_fetched_again(server, fetch, tmp_path):
    fetch(size=len(BODY), sha256=sha256(BODY).upper())
    assert is_whole(tmp_path) and server.asked == [None]
    fetch(size=len(BODY), sha256=sha256(BODY))
    assert server.asked == [None]


def test_a_file_that_is_there_needs_no_server(tmp_path):
    (tmp_path / "file").write_text("my own")
    download("http://127.0.0.1:9/file", tmp_path / "file", size=5, attempts=1)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "my own"


def test_it_goes_on_after_cuts_anywhere(server, fetch, tmp_path, rng):
    """Many more cuts than attempts, for each brings a new byte."""
    cuts = rng.integers(1, len(BODY) // 40, 50)
    server.acts = [{"cut": int(n)} for n in cuts]
    fetch(attempts=2, sha256=sha256(BODY))
    assert is_whole(tmp_path)
    begins = [0] + cuts.cumsum().tolist()
    reached = sum(begin < len(BODY) for begin in begins)
    assert reached > 40 and server.asked == [None] + [f"bytes={n}-" for n in begins[1:reached]]


def test_it_goes_on_from_every_byte(server, tmp_path):
    """A process that was killed leaves its files cut at any byte."""
    server.files["file"] = body = BODY[:150]
    for n in range(len(body) + 1):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / ".file.partial").write_bytes(body[:n])
        origin = {"url": server.url("file"), "size": len(body), "ETag": '"1"', "Last-Modified": None}
        (folder / ".file.partial.json").write_text(json.dumps(origin))
        download(server.url("file"), folder / "file")
        assert (folder / "file").read_bytes() == body and len(list(folder.iterdir())) == 1
    assert server.asked == [None] + [f"bytes={n}-" for n in range(1, len(body))]  # all bytes there: nothing to ask


def test_a_process_that_is_killed_leaves_what_had_come(server, fetch, tmp_path):
    server.always = {"longer": 10, "cut": 200_000}  # and then it waits for an hour
    code = f"from dvgs.io.transfer import download; download({server.url('file')!r}, 'file', backoff=3600)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".file.partial").exists() or len(partial_bytes(tmp_path)) < 200_000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file").exists()
    server.files["file"], server.always = BODY + bytes(10), {}
    fetch()
    assert (tmp_path / "file").read_bytes() == BODY + bytes(10) and server.asked == [None, "bytes=200000-"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_an_error_that_passes_is_waited_for(server, fetch, tmp_path, status):
    server.acts = [{"status": status}] * 3 + [{"cut": 1000}] + [{"status": status}] * 3
    fetch(attempts=4)
    assert is_whole(tmp_path) and len(server.asked) == 8


def test_waits_grow_and_begin_again_with_every_byte(server, fetch, monkeypatch):
    waits = []
    monkeypatch.setattr(room.time, "sleep", waits.append)
    server.acts = [{"status": 500}] * 8 + [{"cut": 9}] + [CUT] * 2
    fetch(backoff=1.0)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 1, 2, 4]


def test_it_gives_up_in_one_line_and_goes_on_when_asked_again(server, fetch, tmp_path):
    server.acts, server.always = [{"cut": 1000}], {"status": 500}
    with pytest.raises(InputError) as caught:
        fetch(attempts=3, field="input.download.level5")
    assert str(caught.value) == (
        f"{server.url('file')}: input.download.level5: the server answered 500 Internal Server Error (3 attempts in a "
        f"row); the same command goes on where this one ended, or put the file at {tmp_path / 'file'}"
    )
    assert partial_bytes(tmp_path) == BODY[:1000] and not (tmp_path / "file").exists()
    server.always = {}
    fetch()
    assert is_whole(tmp_path) and server.asked[-1] == "bytes=1000-"


def test_a_server_that_is_away_is_one_line(server, fetch, tmp_path):
    server.acts = [{"cut": 1000}, {"status": 404}]
    with pytest.raises(InputError, match=r"404 Not Found; correct the address, or put the file at .*/file"):
        fetch()
    server.stop()
    with pytest.raises(InputError, match=r"url: .*Connection refused \(2 attempts in a row\);"):
        fetch(attempts=2)
    assert partial_bytes(tmp_path) == BODY[:1000]


def test_all_bytes_but_the_new_name_need_no_server(server, fetch, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(room.os, "replace", interrupt_last(os.replace))
        fetch()
    server.stop()
    fetch()
    assert is_whole(tmp_path)


def interrupt_last(replace):
    def replace_or_stop(source, target):
        if str(source).endswith(".partial"):
            raise KeyboardInterrupt
        replace(source, target)

    return replace_or_stop


def test_a_truncated_answer_is_not_the_file(server, fetch, tmp_path):
    server.always = {"longer": 100}  # more than the body has, always
    with pytest.raises(InputError, match=r"100 more expected\) \(3 attempts in a row\)"):
        fetch(attempts=3)
    assert not (tmp_path / "file").exists() and partial_bytes(tmp_path) == BODY


def test_a_truncated_file_on_the_server_is_a_wrong_size(server, fetch, tmp_path):
    server.files["file"] = BODY[:-1]
    with pytest.raises(InputError, match=r"url.size: the file has 307199 bytes on the server, not 307200;"):
        fetch(size=len(BODY))
    assert not (tmp_path / "file").exists()


def test_a_wrong_size_throws_nothing_away_that_had_come(server, fetch, tmp_path):
    """A page of a proxy, say, in place of a file of which most is there."""
    server.acts = [{"cut": 1000}, {"status": 404}]
    with pytest.raises(InputError):
        fetch(size=len(BODY))
    server.files["file"], server.always = b"please log in", {"ranges": False}
    with pytest.raises(InputError, match=r"has 13 bytes on the server, not 307200"):
        fetch(size=len(BODY))
    assert partial_bytes(tmp_path) == BODY[:1000]


def test_a_wrong_checksum_removes_what_came(server, fetch, tmp_path):
    wrong = sha256(b"")
    with pytest.raises(InputError, match=rf"its sha256 is {sha256(BODY)}, not {wrong}; what came was removed"):
        fetch(sha256=wrong)
    assert list(tmp_path.iterdir()) == []


def test_without_a_length_the_size_must_be_known(server, fetch, tmp_path):
    server.always = {"length": False}
    with pytest.raises(InputError, match=r"the server does not say how large the file is; give url.size"):
        fetch()
    server.acts = [{"length": False, "cut": 1000}]  # looks like a good end
    fetch(size=len(BODY))
    assert is_whole(tmp_path) and server.asked == [None, None, "bytes=1000-"]


def test_an_answer_that_is_too_long_is_removed(server, fetch, tmp_path):
    server.always = {"length": False}
    with pytest.raises(InputError, match=r"131072 bytes came, not 70000; what came was removed"):
        fetch(size=70_000)
    assert list(tmp_path.iterdir()) == []


def test_without_ranges_it_starts_again_and_says_so(server, fetch, tmp_path, caplog):
    server.acts, server.always = [{"cut": 1000}], {"ranges": False}
    with caplog.at_level(logging.INFO, "dvgs"):
        fetch()
    assert is_whole(tmp_path) and server.asked == [None, "bytes=1000-"]
    assert any(
        "does not send ranges of files, so it is fetched from the start again" in r.getMessage() for r in caplog.records
    )


def test_without_ranges_cuts_come_to_an_end(server, fetch):
    server.acts = [{"ranges": False, "cut": n} for n in (1000, 500) * 10]  # the third brings no byte that is new
    with pytest.raises(InputError, match="attempts in a row"):
        fetch(attempts=3)
    assert len(server.asked) == 4


@pytest.mark.parametrize("body", [BODY[::-1], BODY[::-1] * 2, BODY[900::-1]], ids=["equal", "longer", "shorter"])
def test_a_file_that_changed_is_not_stitched(server, fetch, tmp_path, body):
    server.acts = [{"cut": 1000}, {"status": 404}]
    with pytest.raises(InputError):
        fetch()
    server.files["file"], server.version = body, 2
    fetch()
    assert (tmp_path / "file").read_bytes() == body and server.asked[2:] == ["bytes=1000-", None]


def test_without_validators_the_size_tells(server, fetch, tmp_path):
    server.always = {"validators": False}
    server.acts = [{"cut": 1000, "validators": False}] * 2 + [{"status": 404}]
    with pytest.raises(InputError):
        fetch()
    assert partial_bytes(tmp_path) == BODY[:2000]
    server.files["file"] = BODY[::-1] + b"more"
    fetch()
    assert (tmp_path / "file").read_bytes() == BODY[::-1] + b"more"


def test_another_address_is_another_file(server, fetch, tmp_path):
    server.files["other"] = BODY[::-1]
    server.acts = [{"cut": 1000}, {"status": 404}]
    with pytest.raises(InputError):
        fetch()
    fetch(url=server.url("other"))
    assert (tmp_path / "file").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("origin", [None, ""])
def test_a_partial_file_of_nobody_knows_what_is_not_used(fetch, tmp_path, origin):
    (tmp_path / ".file.partial").write_bytes(BODY[:999:-1])
    if origin is not None:
        (tmp_path / ".file.partial.json").write_text(origin)
    fetch()
    assert is_whole(tmp_path)


def test_another_part_than_the_one_asked_for_is_not_used(server, fetch, tmp_path):
    server.acts = [{"cut": 1000}, {"shift": 7}]
    fetch()
    assert is_whole(tmp_path) and server.asked == [None, "bytes=1000-", "bytes=1000-"]


def test_too_little_space_is_seen_before(server, fetch, tmp_path, monkeypatch):
    server.acts = [{"cut": 1000}, {"status": 404}]
    with pytest.raises(InputError):
        fetch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(BODY) - 1001))
        with pytest.raises(InputError, match=r"306 kB are to come and the disk has 306 kB left; free some space"):
            fetch()
        assert partial_bytes(tmp_path) == BODY[:1000]
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(BODY) - 1000))
        fetch()
    assert is_whole(tmp_path)


class FullDisk(io.FileIO):
    """Takes 100,000 bytes and no more."""

    def write(self, data):
        room = 100_000 - os.fstat(self.fileno()).st_size
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data[:room])


def test_a_disk_that_becomes_full_is_one_line_and_loses_nothing(server, fetch, tmp_path, monkeypatch):
    def open_full(path, mode):
        if mode == "ab":
            return io.BufferedWriter(FullDisk(path, mode))
        return builtins.open(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(room, "open", open_full, raising=False)
        with pytest.raises(InputError, match=r"/file: url: No space left on device; free some space and give the same"):
            fetch()
    assert partial_bytes(tmp_path) == BODY[:100_000]
    fetch()
    assert is_whole(tmp_path) and server.asked == [None, "bytes=100000-"]


def test_a_place_that_cannot_be_written_is_one_line(fetch, tmp_path):
    (tmp_path / "no_folder").touch()
    with pytest.raises(InputError, match=r"no_folder.*; name a path that can be written"):
        fetch(path=tmp_path / "no_folder/file")


def test_two_do_not_write_one_file(fetch, tmp_path):
    with open(tmp_path / ".file.partial", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is downloading it"):
            fetch()
    fetch()
    assert is_whole(tmp_path)


@pytest.mark.parametrize("url", ["http://", "nowhere", "ftp://127.0.0.1/file"])
def test_an_address_that_is_none_is_one_line(fetch, url):
    with pytest.raises(InputError, match="; correct the address"):
        fetch(url=url)


def test_an_empty_file_is_a_file(server, fetch, tmp_path):
    server.files["file"] = b""
    fetch()
    assert (tmp_path / "file").read_bytes() == b""


def test_bytes_are_those_of_the_server_even_if_it_says_gzip(server, fetch, tmp_path, monkeypatch):
    """Objects in a store may be kept compressed and labelled so; sizes and ranges are those of the kept bytes."""
    import web_server

    send_header = web_server._Handler.send_header

    def label(self, name, value):
        if name == "Content-Length":
            send_header(self, "Content-Encoding", "gzip")
        send_header(self, name, value)

    monkeypatch.setattr(web_server._Handler, "send_header", label)
    fetch()
    assert is_whole(tmp_path)
