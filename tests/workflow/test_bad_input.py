"""Each kind of bad input ends with one line that names file, field and remedy, and with exit status 1."""

import gzip
import shutil

import pytest

from .conftest import FILES, WITHOUT_SIMULATION, write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(folder)
    return folder


@pytest.fixture
def folder(release, tmp_path):
    shutil.copytree(release, tmp_path / "release")
    return tmp_path


def config(**changes):
    found = WITHOUT_SIMULATION | {"input": {"directory": "release"} | FILES}
    for key, value in changes.items():
        found[key] = (found.get(key, {}) | value) if isinstance(value, dict) else value
    return found


def gzip_level5(folder):
    path = folder / "release/level5.gctx"
    path.write_bytes(gzip.compress(path.read_bytes()))


def rename_sig_id(folder):
    path = folder / "release/siginfo.txt"
    path.write_text(path.read_text().replace("sig_id", "signature", 1))


LARGE = {"general": {"target_size": 70, "test_size": 5}, "high_apc": {"target_size": 10, "test_size": 4}}
CASES = {
    "missing file": ({"input": {"level5": "nope.gctx"}}, None, "release/nope.gctx: input.level5: no such file"),
    "no drug targets": ({"input": {"compoundinfo": "no.txt"}}, None, "release/no.txt: input.compoundinfo: no such"),
    "wrong directory": ({"input": {"directory": "there"}}, None, "there/level5.gctx: input.level5: no such file"),
    "quantile": ({"curves": {"quantiles": [1.5]}}, None, "config: curves.quantiles.0: 1.5 is greater"),
    "cutoff": ({"clean": {"cutoff": 1.5}}, None, "config: clean.cutoff: 1.5 is greater"),
    "misspelt key": ({"select": {"pert_typ": 0}}, None, "config: select.pert_typ: unknown key; did you mean"),
    "no HDF5": ({}, gzip_level5, "release/level5.gctx: input.level5: not an HDF5 file; give a GCTX file"),
    "no sig_id": ({}, rename_sig_id, "release/siginfo.txt: siginfo: it has no column 'sig_id'"),
    "no profile left": ({"select": {"pert_type": ["trt_xpr"]}}, None, "level5.gctx: select: no profile is left"),
    "too few": ({"targets": LARGE}, None, "config: targets.general: 131 profiles are needed"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_status_1(snakemake, folder, case):
    changes, spoil, message = CASES[case]
    if spoil:
        spoil(folder)
    done = snakemake(folder, config(**changes), "--until", "draw_split")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error: " in line]
    assert done.returncode == 1
    assert len(lines) == 1 and message in lines[0] and ";" in lines[0], done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(folder.rglob("*.partial.*"))
