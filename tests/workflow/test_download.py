"""A release that is downloaded: continued after a failed job, and left alone once it is there."""

import hashlib

import pytest
from web_server import web_server

from .conftest import FILES, WITHOUT_SIMULATION, write_release

INGESTED = "results/small/signatures.h5ad"


@pytest.fixture
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(folder)
    with web_server({path.name: path.read_bytes() for path in folder.iterdir()}) as server:
        yield server


def test_release_from_a_server(snakemake, server, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    body = server.files["level5.gctx"]
    (tmp_path / "my").mkdir()
    (tmp_path / "my/genes.txt").write_bytes(server.files["geneinfo.txt"])  # a local file, though it has an address
    files = FILES | {"geneinfo": "../my/genes.txt"}
    download = {name: {"url": server.url(path)} for name, path in files.items()}
    download["level5"] |= {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    config = WITHOUT_SIMULATION | {"input": {"directory": "release"} | files | {"download": download}}

    server.acts, server.always = [{"cut": 100_000}, {"status": 403}], {"status": 403}
    done = snakemake(tmp_path, config, "--", "release/level5.gctx")
    assert done.returncode == 1 and not (tmp_path / "release/level5.gctx").exists()
    line = f"error: {server.url('level5.gctx')}: input.download.level5: the server answered 403 Forbidden;"
    assert sum(line in text for text in done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert (tmp_path / "release/.level5.gctx.partial").read_bytes() == body[:100_000]

    server.always = {}
    done = snakemake(tmp_path, config, "--", INGESTED)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "release/level5.gctx").read_bytes() == body and server.asked.count("bytes=100000-") == 2
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == ["level5.gctx", "siginfo.txt"]
    assert "done in" in (tmp_path / "logs/small/download_level5.log").read_text()

    server.stop()
    download["level5"]["size"] += 1  # a rule whose parameters changed would run again, and remove its output before
    done = snakemake(tmp_path, config, "--", INGESTED)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    plan = snakemake(tmp_path, config, "--dry-run", "--forceall").stdout
    assert "rule download_level4:" in plan and plan.count("rule download_") == 1
