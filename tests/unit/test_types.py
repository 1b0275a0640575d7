"""Public functions say what they take and give; `make lint` has mypy check that it is true."""

import ast

import pytest
from conftest import ROOT

LIBRARY = ROOT / "scripts" / "dvgs"
PARTLY_PUBLIC = ("__init__", "__call__")


def unannotated(text):
    """Public functions, and methods of public classes, that leave a parameter or what they return without a type."""
    found = []

    def visit(body, prefix=""):
        overloaded = {node.name for node in body if isinstance(node, ast.FunctionDef) and node.decorator_list
                      and ast.unparse(node.decorator_list[0]) == "overload"}  # fmt: skip
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name in overloaded and not node.decorator_list:
                continue  # the overloads have the types
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                visit(node.body, f"{node.name}.")
            if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name in PARTLY_PUBLIC):
                given = node.args
                parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                untyped = [p.arg for p in parameters if p and p.annotation is None and p.arg not in ("self", "cls")]
                if untyped or (node.returns is None and node.name != "__init__"):
                    found.append(prefix + node.name)

    visit(ast.parse(text).body)
    return found


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_public_functions_are_annotated(path):
    assert unannotated(path.read_text()) == []


def test_a_missing_type_is_seen():
    text = (
        "def f(a: int, *, b): pass\ndef g() -> None: pass\ndef _h(a): pass\nclass C:\n    def m(self, a: int): pass\n"
    )
    assert unannotated(text) == ["f", "C.m"]
