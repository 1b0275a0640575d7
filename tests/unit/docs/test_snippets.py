"""The Python that stands in the studies' pages imports what exists."""

import importlib
import re

from .pages import PAGES


def test_what_the_pages_import_from_the_library_exists():
    lines = {
        line for page in PAGES for line in re.findall(r"^from (dvgs\S*) import (.+)$", page.read_text(), re.MULTILINE)
    }
    assert len(lines) >= 4
    for module, names in lines:
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name.partition(" as ")[0]), (module, name)
