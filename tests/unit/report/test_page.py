import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from dvgs.report.page import render_report
from unit.report.result_examples import (
    HOSTILE,
    LIMITS,
    SIMILARITIES,
    make_drug_targets,
    make_results,
    with_target,
    without_apc,
)


@pytest.fixture
def found(rng):
    return make_results(rng)


class Page(HTMLParser):
    """The tags of a page and what they refer to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]


def test_page_says_whether_the_training_was_long_enough(found):
    text = render_report(found)
    assert "4,321" in text and all(f"<td>{r}</td>" in text for r in ("0.110", "0.220", "0.330", "0.440"))
    assert "too short for a stable ranking: for surer ranks make trajectory.epochs larger" in text
    convergence = found.targets[0].convergence.assign(spearman=0.995)
    assert "long enough: half as many steps" in render_report(with_target(found, convergence=convergence))


def pictures(page):
    prefix = "data:image/svg+xml;base64,"
    assert all(reference.startswith(prefix) for reference in page.references)
    return [base64.b64decode(reference.removeprefix(prefix)).decode() for reference in page.references]


def test_page_is_self_contained_and_escaped(found):
    text = render_report(found)
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"url\(|@import", text)
    svgs = pictures(page)
    assert len(svgs) == page.tags.count("img") == 8
    for svg in svgs:
        assert HOSTILE not in svg and "\x00" not in svg
        assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', svg))


def test_page_says_what_it_promises(found):
    text = render_report(found)
    assert "5 left out + 120 valued = 125 in the input" in text
    assert "and 10 more, see <code>replicate_ledger.tsv</code>" in text
    assert "R² rose by 0.050" in text and "n = 80" in text
    assert re.search(r"differs from siginfo&#39;s cc_q75 by 0.020 \(median of \d+ signatures\), in 0.0 % by", text)
    assert "Cell lines explain n/a % of the variance of APC" in text  # which is all that is known of them here
    assert re.search(r"<code>seed</code></th><td><code>7</code>", text)
    assert "model.latent" in text and f"numpy {np.__version__}" in text


def test_page_says_what_apc_goes_with(found):
    cell = np.where(found.apc["apc"] > found.apc["apc"].median(), "A375", "PC3")
    apc = found.apc.assign(cell_iname=cell, pert_dose=found.apc["apc"] + 1, pert_time=24)
    text = render_report(replace(found, apc=apc))
    share = float(re.search(r"Cell lines explain (\S+) % of the variance", text).group(1))
    assert 0 < share < 100
    assert "with dose is 1.000 (published 0.166) and with time n/a (published -0.005)" in text


def test_same_tables_give_the_same_bytes(found):
    assert render_report(found) == render_report(found)


def test_without_planted_faults(found):
    assert "Planted faults" not in render_report(with_target(found, truth=None))


def test_drug_targets_are_told_by_their_intervals(found):
    def text(table):
        return render_report(with_target(found, drug_targets=table))

    page = text(make_drug_targets())
    assert "are more similar than others: difference 0.250 [0.150, 0.350], p = 0.010." in page and "1,234 comp" in page
    more = "Dropping 30 % by DVGS left them more similar than dropping as many at random did."
    assert f"Dropping by DVGS shows no clear difference from dropping nothing. {more}" in page
    less = "Dropping 30 % by DVGS left them less similar than dropping nothing did."
    unsure = text(make_drug_targets(change=-0.2, gain=0.05).assign(p=0.2))
    assert f"{less} Dropping by DVGS shows no clear difference from dropping as many at random." in unsure
    assert "not surely more similar" in unsure and more not in unsure
    assert "share a drug target" not in text(None)


def test_no_pair_that_shares_a_drug_target(found):
    table = pd.DataFrame(columns=make_drug_targets().columns, data=[{"n_pairs": 0, "reason": f"no pair {HOSTILE}"}])
    text = render_report(with_target(found, drug_targets=table))
    assert "Nothing could be compared: no pair &lt;script&gt;" in text and HOSTILE not in text
    assert Page(text).tags.count("img") == 7


def test_without_any_apc(found):
    text = render_report(without_apc(found))
    assert "No profile has an APC, so" in text and "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_shares_above_non_replicates_are_of_those_that_have_some(found):
    apc = found.apc.assign(apc=0.5, apc_null_p=np.nan, apc_fdr=np.nan, reason="")
    text = render_report(replace(found, apc=apc))
    assert "The share above non-replicates is n/a: no plate has enough known perturbagens" in text
    assert "percent replicating" not in text
    apc.loc[:9, ["apc_null_p", "apc_fdr"]] = [0.01, 0.02]
    apc.loc[5:9, ["apc_null_p", "apc_fdr"]] = 0.5
    text = render_report(replace(found, apc=apc))
    assert "50.0 % of the 10 that could be compared lie above" in text and "50.0 % at a false discovery rate" in text


def test_missing_values(found):
    (target,) = found.targets
    target.values.loc[:50, [*SIMILARITIES, "cosine_se"]] = np.nan
    target.curves.loc[::2, "r2"] = np.nan
    target.truth.loc[::3, [f"auroc{end}" for end in LIMITS]] = np.nan
    target.umap.loc[:3, ["x", "value"]] = np.nan
    target.decision.update(r2_before_sd=np.nan, r2_after_sd=np.nan)
    assert "no repeated trainings to compare" in render_report(found)


def test_nothing_missing_from_the_replicates(found):
    text = render_report(replace(found, replicate_ledger=found.replicate_ledger.head(0)))
    assert "every replicate that the table names was read and used" in text
