from pathlib import Path

import pytest

from dvgs.errors import InputError


def test_error_names_file_field_problem_and_remedy():
    error = InputError(Path("a/b.gctx"), "input.level5", "no such file", "correct the path")
    assert str(error) == "a/b.gctx: input.level5: no such file; correct the path"
    assert (error.file, error.field) == ("a/b.gctx", "input.level5")
    assert (error.problem, error.remedy) == ("no such file", "correct the path")


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\t", "\x0b", "\u2028", "  "])
def test_error_is_one_line(break_):
    error = InputError("a", f"b{break_}c", f"{break_}d", f"e{break_}")
    assert str(error) == "a: b c: d; e"


def test_error_is_a_value_error():
    with pytest.raises(ValueError, match="a: b: c; d"):
        raise InputError("a", "b", "c", "d")
