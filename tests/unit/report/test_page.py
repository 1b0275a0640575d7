import base64
import re
from html.parser import HTMLParser
from itertools import product

import numpy as np
import pandas as pd
import pytest

from dvgs.plotting import to_svg
from dvgs.report.figures import LOWEST_R2, agreement_figure, curve_figure
from dvgs.report.page import render_report, summarise

HOSTILE = "<script>alert(1)</script>"
SIMILARITIES = ("cosine", "dot", "projection", "l2")
N = 120
LIMITS = ("", "_low", "_high")


def limits(name, estimate):
    return {f"{name}{end}": estimate + shift for end, shift in zip(LIMITS, (0, -0.1, 0.1), strict=True)}


def make_curves(rng):
    names = ["profiles", "method", "drop", "quantile", "replicate"]
    table = pd.DataFrame(
        product(["all", "with_apc"], ["dvgs", "random", "apc"], ["low", "high"], [0, 0.5], range(3)), columns=names
    )
    table = table[(table["profiles"] == "with_apc") | (table["method"] != "apc")]
    return table.assign(n_train=100, steps=50, r2=rng.normal(0.4, 0.01, len(table)), r2_validation=0.4)


def make_correlations(cell):
    rows = [(name, "overall", "all", 80, 0.25) for name in SIMILARITIES]
    rows += [("cosine", "cell_iname", name, 20, 0.1) for name in np.unique(cell)]
    rows += [("cosine", "n_replicates", "3", 30, 0.1), ("cosine", "dose", "above 10 µM", 2, np.nan)]
    return pd.DataFrame(
        {"similarity": similarity, "by": by, "group": group, "n": n} | limits("pearson", r) | limits("spearman", r)
        for similarity, by, group, n, r in rows
    )


def make_truth():
    areas = {"dvgs_cosine": 0.7, "dvgs_l2": 0.8, "random": 0.5, "profile_norm": 0.9, "reconstruction_error": 0.6}
    return pd.DataFrame(
        {"profiles": profiles, "method": method, "fault": fault, "n": N, "n_faulty": 20, "found_at_20": 0.5}
        | limits("auroc", areas[method])
        | limits("spearman_noise", -0.3)
        for profiles, method, fault in product(["all", "with_apc"], areas, ["any", "noise", "bad_plate", "swapped"])
    )


def make_drug_targets(change=0.05, gain=0.2):
    rows = product(["dvgs", "random"], [0, 0.3], ["0", "1", "all"])
    return pd.DataFrame(
        {"method": method, "quantile": quantile, "replicate": replicate, "n_profiles": 60, "steps": 9, "reason": np.nan}
        | {"n_compounds": 1234, "n_pairs": 20, "n_random_pairs": 300, "p": 0.01}
        | limits("difference", 0.25)
        | limits("auroc", 0.7)
        | limits("change", change if quantile else 0)
        | limits("gain", gain if method == "dvgs" and quantile else 0)
        for method, quantile, replicate in rows
    )


@pytest.fixture
def found(rng):
    """A made-up result with one target, planted faults, and names that mean harm."""
    ids = [f"{HOSTILE}{i}" for i in range(N)]
    cell = np.array([HOSTILE, "$\\frac{", "_hidden", "A375\x00", "PC3"])[rng.integers(5, size=N)]
    apc = np.where(rng.random(N) < 0.7, rng.random(N), np.nan)
    values = pd.DataFrame({name: rng.normal(size=N) for name in (*SIMILARITIES, "gradient_norm", "loss")})
    values = values.assign(
        profile_id=ids, cosine_se=rng.random(N), role=["source", "target", "validation", "test"] * 30
    )
    decision = {
        "cutoff": "auto",
        "quantile": 0.5,
        "threshold": 0.1,
        "n_in": N,
        "n_kept": 70,
        "n_dropped": 50,
        "n_validation": 9,
        "stability": 0.9,
    }
    steps = ["eighth", "quarter", "half", "alternate"]
    convergence = pd.DataFrame({"steps": steps, "n_steps": 4321, "spearman": [0.11, 0.22, 0.33, 0.44]})
    decision |= {"r2_before": 0.4, "r2_before_sd": 0.001, "r2_after": 0.45, "r2_after_sd": 0.001}
    return {
        "compendium": "demo",
        "similarity": "cosine",
        "config": {
            "seed": 7,
            "apc": {"null_within": "plate"},
            "model": {"hidden": [64], "latent": 16},
            "input": {"level5": HOSTILE},
        },
        "versions": {"numpy": np.__version__},
        "n_input": N + 5,
        "ledger": pd.DataFrame({"profile_id": ids[:5], "reason": ["qc_pass is not 1"] * 3 + [HOSTILE] * 2}),
        "replicate_ledger": pd.DataFrame({"sig_id": ids[:30], "profile_id": ids[:30], "reason": "missing"}),
        "apc": pd.DataFrame(
            {
                "sig_id": ids,
                "spearman_q75": apc,
                "cc_q75": apc + 0.02,
                "n_replicates": 3,
                "apc": apc,
                "apc_null_p": 0.5 - apc / 2,
                "apc_fdr": 0.5 - apc / 2,
            }
        ).assign(reason=np.where(np.isnan(apc), "single replicate", "")),
        "values": {"general": values},
        "convergence": {"general": convergence},
        "curves": {"general": make_curves(rng)},
        "correlations": {"general": make_correlations(cell)},
        "truth": {"general": make_truth()},
        "drug_targets": {"general": make_drug_targets()},
        "cleaning": {"general": decision},
        "umaps": {
            "general": pd.DataFrame(
                {"x": rng.normal(size=N), "y": rng.normal(size=N), "value": 0.1, "cell_iname": cell}
            )
        },
    }


def without_apc(found):
    """The same result, had no signature two replicates."""
    found["apc"] = found["apc"].assign(apc=np.nan, apc_null_p=np.nan, apc_fdr=np.nan, reason="single replicate")
    curves, correlations = found["curves"]["general"], found["correlations"]["general"]
    found["curves"] = {"general": curves[curves["profiles"] == "all"]}
    overall = correlations[correlations["by"] == "overall"].assign(n=0)
    overall[[f"{r}{end}" for r in ("pearson", "spearman") for end in LIMITS]] = np.nan
    found["correlations"] = {"general": overall}
    return found


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
    text = render_report(**found)
    assert "4,321" in text and all(f"<td>{r}</td>" in text for r in ("0.110", "0.220", "0.330", "0.440"))
    assert "short of a settled ranking: for surer ranks make trajectory.epochs larger" in text
    found["convergence"]["general"]["spearman"] = 0.995
    assert "long enough: half as many steps" in render_report(**found)


def pictures(page):
    prefix = "data:image/svg+xml;base64,"
    assert all(reference.startswith(prefix) for reference in page.references)
    return [base64.b64decode(reference.removeprefix(prefix)).decode() for reference in page.references]


def test_page_is_self_contained_and_escaped(found):
    text = render_report(**found)
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
    text = render_report(**found)
    assert "5 left out + 120 valued = 125 in the input" in text
    assert "and 10 more, see <code>replicate_ledger.tsv</code>" in text
    assert "R² rose by 0.050" in text and "n = 80" in text
    assert re.search(r"differs from siginfo&#39;s cc_q75 by 0.020 \(median of \d+ signatures\), in 0.0% by", text)
    assert "Cell lines explain n/a % of the variance of APC" in text  # which is all that is known of them here
    assert re.search(r"<code>seed</code></th><td><code>7</code>", text)
    assert "model.latent" in text and f"numpy {np.__version__}" in text


def test_page_says_what_apc_goes_with(found):
    apc = found["apc"]
    found["apc"] = apc.assign(
        cell_iname=np.where(apc["apc"] > apc["apc"].median(), "A375", "PC3"), pert_dose=apc["apc"] + 1, pert_time=24
    )
    text = render_report(**found)
    share = float(re.search(r"Cell lines explain (\S+) % of the variance", text).group(1))
    assert 0 < share < 100
    assert "with dose is 1.000 (published 0.166) and with time n/a (published -0.005)" in text


def test_same_tables_give_the_same_bytes(found):
    assert render_report(**found) == render_report(**found)


def test_without_planted_faults(found):
    found["truth"] = None
    assert "Planted faults" not in render_report(**found)
    assert not any("planted" in line for line in summarise(**found))


def test_drug_targets_are_told_by_their_intervals(found):
    def text(table):
        return render_report(**found | {"drug_targets": table and {"general": table[0]}})

    page = text([make_drug_targets()])
    assert "are more alike than others: difference 0.250 [0.150, 0.350], p = 0.010." in page and "1,234 comp" in page
    more = "Dropping 30 % by DVGS left them more alike than dropping as many at random did."
    assert f"Dropping by DVGS cannot be told from dropping nothing. {more}" in page
    less = "Dropping 30 % by DVGS left them less alike than dropping nothing did."
    unsure = text([make_drug_targets(change=-0.2, gain=0.05).assign(p=0.2)])
    assert f"{less} Dropping by DVGS cannot be told from dropping as many at random." in unsure
    assert "not surely more alike" in unsure and more not in unsure
    assert "share a drug target" not in text(None)


def test_no_pair_that_shares_a_drug_target(found):
    table = pd.DataFrame(columns=make_drug_targets().columns, data=[{"n_pairs": 0, "reason": f"no pair {HOSTILE}"}])
    text = render_report(**found | {"drug_targets": {"general": table}})
    assert "Nothing could be compared: no pair &lt;script&gt;" in text and HOSTILE not in text
    assert Page(text).tags.count("img") == 7


def test_without_any_apc(found):
    text = render_report(**without_apc(found))
    assert "None has an APC" in text and "nan" not in re.sub(r"base64,[^\"]*", "", text)
    assert any("no profile has an APC" in line for line in summarise(**found))


def test_shares_above_non_replicates_are_of_those_that_have_some(found):
    apc = found["apc"].assign(apc=0.5, apc_null_p=np.nan, apc_fdr=np.nan, reason="")
    text = render_report(**found | {"apc": apc})
    assert "The share above non-replicates is n/a: no plate has enough known perturbagens" in text
    assert "percent replicating" not in text
    apc.loc[:9, ["apc_null_p", "apc_fdr"]] = [0.01, 0.02]
    apc.loc[5:9, ["apc_null_p", "apc_fdr"]] = 0.5
    text = render_report(**found | {"apc": apc})
    assert "50.0 % of the 10 that could be compared lie above" in text and "50.0 % at a false discovery rate" in text


def test_missing_values(found):
    values, decision = found["values"]["general"], found["cleaning"]["general"]
    values.loc[:50, [*SIMILARITIES, "cosine_se"]] = np.nan
    found["curves"]["general"].loc[::2, "r2"] = np.nan
    found["truth"]["general"].loc[::3, [f"auroc{end}" for end in LIMITS]] = np.nan
    found["umaps"]["general"].loc[:3, ["x", "value"]] = np.nan
    decision |= {"r2_before_sd": np.nan, "r2_after_sd": np.nan}
    assert "no repeated trainings to compare" in render_report(**found)


def test_nothing_missing_from_the_replicates(found):
    found["replicate_ledger"] = found["replicate_ledger"].head(0)
    assert "every replicate that the table names was read and used" in render_report(**found)


def test_summary(found):
    assert summarise(**found) == [
        "demo: 125 profiles in, 5 left out, 120 valued; 30 replicates could not be used",
        "general: 70 of 120 profiles kept, 50 dropped (cutoff quantile 0.5); test R² 0.400 → 0.450",
        "general: Pearson of DVGS (cosine) and APC 0.250 [0.150, 0.350], n = 80",
        "general: planted noise found with AUROC DVGS l2 0.800 (best similarity), random 0.500, profile norm 0.900, "
        "reconstruction error 0.600",
    ]


def test_summary_of_many_targets_has_ten_lines(found):
    by_target = ("values", "convergence", "curves", "correlations", "truth", "drug_targets", "cleaning", "umaps")
    found |= {key: {f"target{i}": found[key]["general"] for i in range(5)} for key in by_target}
    lines = summarise(**found)
    assert len(lines) == 10 and "report" in lines[-1]


def test_many_profiles_are_counted_in_hexagons(rng):
    value, apc = rng.normal(size=(2, 20_000))
    assert len(to_svg(agreement_figure(value, apc, "value", "title"))) < 1_000_000


def test_curves_of_failed_models_do_not_flatten_the_others(found):
    curves = found["curves"]["general"]
    curves.loc[curves["drop"] == "high", "r2"] = -40
    assert curve_figure(curves, 0.5).axes[0].get_ylim()[0] == LOWEST_R2
