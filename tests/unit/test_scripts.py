"""The scripts of rules are thin: the library does the work, in files that can be read at once."""

import ast

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
FILES = sorted(
    [*(ROOT / "scripts" / "dvgs").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").glob("*.py")]
)
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_FILE = 25, 400


def is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def long_functions(text):
    """Names of the functions with too many lines, docstrings not counted."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if is_docstring(node.body[0]) else node.body
            if body and body[-1].end_lineno - body[0].lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                found.append(node.name)
    return found


def work_at_import(text):
    """Lines of the statements that do something when the file is imported."""
    body = ast.parse(text).body
    return [node.lineno for k, node in enumerate(body) if not (is_definition(node) or (k == 0 and is_docstring(node)))]


def is_definition(node):
    """Whether a statement imports, defines a function, class or constant, or is the block of the main program."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id.isupper() for target in node.targets)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_has_short_functions(path):
    assert long_functions(path.read_text()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_does_nothing_when_imported(path):
    assert work_at_import(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE


def test_scripts_are_found():
    assert len(SCRIPTS) > 20 and len(FILES) > 150


@pytest.mark.parametrize("n, expected", [(25, []), (26, ["inner"])])
def test_a_long_function_is_seen(n, expected):
    inner = "".join(f"        x = {k}\n" for k in range(n))
    text = f'class A:\n    def inner(self):\n        """Some\n\n        words."""\n{inner}'
    assert long_functions(text) == expected


@pytest.mark.parametrize(
    "text, lines",
    [
        ('"""Words."""\nimport os\nLIMIT = 3\ndef f(): pass\nif __name__ == "__main__":\n    f()\n', []),
        ("import sys\nsys.path.append('x')\n", [2]),
        ("x = 3\n", [1]),
        ("if True:\n    pass\n", [1]),
        ("import os\n'late words'\n", [2]),
        ("for k in range(3):\n    pass\nwith open('x') as file:\n    pass\n", [1, 3]),
    ],
)
def test_work_at_import_is_seen(text, lines):
    assert work_at_import(text) == lines
