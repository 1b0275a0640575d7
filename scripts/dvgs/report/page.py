"""The page that a biologist decides from: its pictures, and its rendering."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from dvgs.methods.registry import label_of
from dvgs.plotting import to_svg
from dvgs.report.facts import (
    Facts,
    apc_facts,
    convergence_facts,
    counts,
    drug_target_facts,
    flat,
    interval,
    is_significant,
    noise_rows,
    number,
    target_facts,
)
from dvgs.report.figures import (
    agreement_figure,
    apc_figure,
    curve_figure,
    drug_target_figure,
    forest_figure,
    truth_figure,
    umap_figure,
    value_figure,
)
from dvgs.report.results import Results, TargetResults

NAMED = 20  # unusable replicates, by name


def render_report(results: Results) -> str:
    """The report as one HTML page that needs no other file; the same results give the same bytes."""
    ledger, lost = results.ledger, results.replicate_ledger
    null_within = results.config["apc"]["null_within"]
    return _template().render(
        compendium=results.compendium,
        similarity=results.similarity,
        targets=[_section(target, results) for target in results.targets],
        apc=_apc_section(results),
        null_within={"cell_iname": "cell line"}.get(null_within, null_within),
        ledger={
            "n_input": results.n_input,
            "n_out": len(ledger),
            "n_used": len(results.apc),
            "reasons": counts(ledger["reason"]),
        },
        lost={"n": len(lost), "reasons": counts(lost["reason"])},
        named=lost.head(NAMED).to_dict("records"),
        config=flat(results.config),
        versions=results.versions,
    )


def _section(target: TargetResults, results: Results) -> dict[str, Any]:
    """All that the page says and shows of one target."""
    facts = target_facts(target, results.similarity)
    drug = None if target.drug_targets is None else drug_target_facts(target.drug_targets)
    figures = _figures(target, facts, results)
    if drug and drug["rows"]:
        figures["drug_targets"] = drug_target_figure(target.drug_targets, target.name)
    return {
        "facts": facts,
        "pictures": {kind: _picture(figure, f"{target.name}, {kind}") for kind, figure in figures.items()},
        "planted": noise_rows(target.truth),
        "convergence": convergence_facts(target.convergence),
        "drug": drug,
    }


def _figures(target: TargetResults, facts: Facts, results: Results) -> dict[str, Figure]:
    """{kind: figure} of one target; without an APC or without planted faults there is nothing to draw of them."""
    similarity, values = results.similarity, target.values
    figures = {
        "curves": curve_figure(target.curves, facts["quantile"]),
        "values": value_figure(values, similarity),
        "umap": umap_figure(target.umap, similarity),
    }
    if found := facts["agreement"]:
        apc = results.apc.set_index(results.apc.columns[0])["apc"]
        figures["agreement"] = agreement_figure(
            values[similarity].to_numpy(float),
            apc.reindex(values["profile_id"]).to_numpy(float),
            f"value ({similarity})",
            f"{target.name}, n = {found['n']:,.0f}\n"
            f"Pearson {interval(found, 'pearson')}\nSpearman {interval(found, 'spearman')}",
        )
        figures["forest"] = forest_figure(target.correlations, target.name)
    if target.truth is not None:
        figures["truth"] = truth_figure(target.truth)
    return figures


def _apc_section(results: Results) -> Facts:
    facts = apc_facts(results.apc)
    if facts["n_known"]:
        figure = apc_figure(results.apc, is_significant(results.apc))
        facts["picture"] = _picture(figure, "Distribution of APC")
    return facts


def _picture(figure: Figure, alt: str) -> dict[str, Any]:
    """An image that the page carries in itself; as an image, its ids and its text stay apart from the page's."""
    data = base64.b64encode(to_svg(figure).encode()).decode()
    return {"src": f"data:image/svg+xml;base64,{data}", "alt": alt, "width": round(100 * figure.get_figwidth())}


def _template() -> Template:
    # Names come from metadata that anyone may have written, hence autoescape.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "method": label_of, "count": "{:,.0f}".format}
    environment.globals |= {"interval": interval}
    return environment.get_template("page.html.jinja")
