"""Links of the documents lead to files and headings that exist; the index of the studies links and quotes its pages."""

import re

import pytest
from conftest import ROOT

from .pages import STUDIES

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")


def links(document):
    """The relative links and images of a document, without those to the web."""
    return [link for link in LINK.findall(CODE.sub("", document.read_text())) if not re.match(r"\w+:", link)]


def anchors(document):
    """The anchors of the headings of a document, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document):
    for link in links(document):
        path, _, anchor = link.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


def test_the_index_links_every_page():
    pages = {page.name for page in STUDIES.glob("*.md")} - {"README.md"}
    assert len(pages) >= 12
    assert pages <= {link.partition("#")[0] for link in links(STUDIES / "README.md")}


def findings():
    """The sentences of the index that say what came out: the text of each, and the page it links."""
    index = (STUDIES / "README.md").read_text()
    items = re.findall(r"^- (.+?)\(\[[^\]]+\]\((\w+\.md)\)\)\.$", index, re.DOTALL | re.MULTILINE)
    return [pytest.param(text, page, id=f"{number}-{page}") for number, (text, page) in enumerate(items)]


@pytest.mark.parametrize("text, page", findings())
def test_a_number_of_the_index_stands_on_its_page(text, page):
    content = (STUDIES / page).read_text()
    for number in re.findall(r"(?<!\w)(?:\N{MINUS SIGN}?\d*\.\d+|\d+(?:,\d+)*)", text):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", content), number


def test_the_index_has_such_sentences():
    assert len(findings()) >= 20
