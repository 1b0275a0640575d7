"""The package as a user meets it: installed, and by the README's examples."""

import subprocess
import sys

import pytest
from conftest import ROOT, readme_example


def test_installed_package_imports(tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip finds no setuptools to build with, as without a network")
    assert done.returncode == 0, done.stderr
    program = "import dvgs, dvgs.report.page; print(dvgs.__file__, dvgs.value, dvgs.gradients.similarity)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(tmp_path / "site") in found.stdout
    for name in ("py.typed", "report/page.html.jinja", "workflow/rates.yaml"):
        assert (tmp_path / "site/dvgs" / name).exists()
    shell = [sys.executable, "-m", "dvgs", "value", "--help"]
    found = subprocess.run(
        shell, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True
    )
    assert "--restarts" in found.stdout and "source_x" in found.stdout


def test_readme_example_finds_wrong_labels(capsys):
    exec(readme_example("load_digits"), {})
    assert int(capsys.readouterr().out.split("%")[0]) > 75
