"""Who imports whom: the table of docs/architecture.md is the rule, and this holds the code to it."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

LIBRARY = ROOT / "scripts" / "dvgs"
DOORS = {"__init__", "__main__"}  # of the package: they open every room


def table_of_the_page():
    """By wing what it may import of others; all may import the ground floor, and rooms of their own wing."""
    section = (ROOT / "docs/architecture.md").read_text().split("## Who may import whom")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return {re.findall("`(.+?)`", who)[0]: re.findall("`(.+?)`", may) for who, may in rows}


ALLOWED = table_of_the_page()
# Where a job that reads a table, or a dry run, would wait for torch.
TORCH_FREE = ["ground", "io", "compendium", "replicates", "plotting", "report", "workflow", "methods.registry"]
MODULES = {
    ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(LIBRARY.rglob("*.py"))
}


def wing_of(module):
    """The row of ALLOWED under which a module stands."""
    if module in ALLOWED:
        return module
    return module.split(".")[0] if "." in module or (LIBRARY / module).is_dir() else "ground"


def imported(path):
    """The modules of the library that a file imports, wherever in it: names without the leading `dvgs.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("dvgs.") in MODULES else node.module for name in whole}
    return {name.removeprefix("dvgs.") for name in found if name.startswith("dvgs.")}


def forbidden(module, path):
    """What a module imports and must not."""
    wing = wing_of(module)
    may = [wing, "ground", *ALLOWED[wing]]
    return [
        other
        for other in sorted(imported(path))
        if wing_of(other) not in may and not any(other == room or other.startswith(f"{room}.") for room in may)
    ]


@pytest.mark.parametrize("module", [module for module in MODULES if module not in DOORS])
def test_imports_are_those_of_the_house(module):
    assert forbidden(module, MODULES[module]) == []


def test_a_forbidden_import_is_seen(tmp_path):
    path = tmp_path / "room.py"
    path.write_text(
        "import dvgs.valuation.api\ndef late():\n    from dvgs.workflow import job\n    from dvgs.io import gctx\n"
    )
    assert forbidden("compendium.room", path) == ["valuation.api", "workflow.job"]
    assert forbidden("methods.registry", path) == ["io.gctx", "valuation.api", "workflow.job"]


def test_every_wing_has_a_row():
    assert {wing_of(module) for module in MODULES if module not in DOORS} == set(ALLOWED)


def test_package_files_are_empty():
    full = [module for module, path in MODULES.items() if path.name == "__init__.py" and path.read_text()]
    assert full == ["__init__", "gradients"]


@pytest.mark.parametrize("wing", TORCH_FREE)
def test_torch_stays_outside(wing):
    rooms = [f"dvgs.{module}" for module in MODULES if wing_of(module) == wing and module not in DOORS | {"devices"}]
    program = (
        f"import sys, importlib\nfor room in {rooms}: importlib.import_module(room)\nprint('torch' in sys.modules)"
    )
    run = [sys.executable, "-c", program]
    found = subprocess.run(run, env={"PYTHONPATH": str(LIBRARY.parent)}, capture_output=True, text=True, check=True)
    assert rooms and found.stdout == "False\n"


def test_the_picture_of_the_house_is_true():
    """Every wing imports only from lines below its own."""
    picture = (ROOT / "docs/architecture.md").read_text().split("## The wings of the library")[1].split("| wing |")[0]
    lines = [line[33:].split() for line in picture.splitlines() if line.startswith("    ")][::-1]
    floor = {wing: k for k, line in enumerate(lines[1:], 1) for wing in line}
    assert {*floor, "ground"} == set(ALLOWED) and {*lines[0]} >= {"errors", "seeds", "limits"}
    for wing in floor:
        assert all(floor[other if other in floor else other.split(".")[0]] < floor[wing] for other in ALLOWED[wing])
