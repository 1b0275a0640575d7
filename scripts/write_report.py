"""Write the page that a biologist decides from, and its summary for the terminal."""

import platform
from importlib.metadata import version

import pandas as pd

from dvgs.compendium.ledger import check_accounts, read_ledger, read_n_input
from dvgs.io.files import read_json, written_whole
from dvgs.progress import logger
from dvgs.report.page import render_report, summarise
from dvgs.report.results import PACKAGES, read_apc, read_umap
from dvgs.workflow.job import job


def main(input, output, config):
    targets, similarity = list(config["targets"]), config["score"]["similarity"]

    def tables(paths, read):
        return dict(zip(targets, map(read, paths), strict=True))

    apc, ledger = read_apc(input), read_ledger(input.ledger)
    n_input = read_n_input(input.signatures)
    check_accounts(input, n_input, ledger, targets)
    found = {
        "compendium": config["compendium"],
        "similarity": similarity,
        "config": config,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "n_input": n_input,
        "ledger": ledger,
        "replicate_ledger": read_ledger(input.replicate_ledger),
        "apc": apc,
        "values": tables(input.values, pd.read_parquet),
        "convergence": tables(input.convergence, pd.read_csv),
        "curves": tables(input.curves, pd.read_csv),
        "correlations": tables(input.correlations, pd.read_csv),
        "truth": tables(input.truth, pd.read_csv) if input.truth else None,
        "drug_targets": tables(input.drug_targets, pd.read_csv) if input.drug_targets else None,
        "cleaning": tables(input.decisions, read_json),
        "umaps": tables(input.cleaned, lambda path: read_umap(path, similarity)),
    }
    with written_whole(output.page) as partial:
        partial.write_text(render_report(**found), encoding="utf-8")
    lines = summarise(**found)
    with written_whole(output.summary) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        logger.info(line)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
