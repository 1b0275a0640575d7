"""The rule files, read as text."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

IMPORT = re.compile(r"^(?:from \S+ import \([^)]*\)|(?:from|import) .*)$", re.MULTILINE)


@pytest.mark.parametrize(
    "name, module", [("common.smk", "dvgs.workflow.run_time"), ("common_studies.smk", "dvgs.workflow.study_config")]
)
def test_what_every_call_of_snakemake_imports_is_free_of_torch(name, module):
    imports = IMPORT.findall((ROOT / "workflow/rules" / name).read_text())
    program = "\n".join([*imports, "import sys", f"print('torch' in sys.modules, {module!r} in sys.modules)"])
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "scripts")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == "False True\n"


def test_imports_are_found():
    text = "from math import ceil\nfrom dvgs.a import (\n    b,\n    c,\n)\nx = 'import y'\nimport h5py\n"
    assert IMPORT.findall(text) == ["from math import ceil", "from dvgs.a import (\n    b,\n    c,\n)", "import h5py"]
