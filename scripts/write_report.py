"""Write the page on which a biologist bases decisions, and its summary for the terminal."""

from dvgs.compendium.ledger import check_cleaned, read_ledger, read_n_input
from dvgs.io.files import written_whole
from dvgs.progress import logger
from dvgs.report.page import render_report
from dvgs.report.results import read_results
from dvgs.report.terminal import summarise
from dvgs.workflow.job import job


def main(input, output, config):
    n_input, ledger = read_n_input(input.signatures), read_ledger(input.ledger)
    check_cleaned(input, n_input, ledger, config["targets"])
    results = read_results(input, config, n_input, ledger, read_ledger(input.replicate_ledger))
    with written_whole(output.page) as partial:
        partial.write_text(render_report(results), encoding="utf-8")
    lines = summarise(results)
    with written_whole(output.summary) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        logger.info(line)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
