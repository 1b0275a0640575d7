"""Read level 5 and its tables; write the selected signatures and the ledger of the others."""

import logging

from dvgs.compendium import ingest, read_n_input
from dvgs.files import write_csv
from dvgs.jobs import job
from dvgs.matrices import open_matrix
from dvgs.tables import read_geneinfo, read_siginfo


def main(input, output, select):
    with open_matrix(input.level5, "input.level5") as level5:
        ledger = ingest(
            output.signatures,
            level5,
            read_siginfo(input.siginfo),
            read_geneinfo(input.geneinfo),
            pert_types=select["pert_type"],
            qc_pass=select["qc_pass"],
            genes=select["genes"],
            bad_values=select["bad_values"],
        )
    n_input = read_n_input(output.signatures)
    log = logging.getLogger("dvgs")
    log.info("%d of %d profiles are used", n_input - len(ledger), n_input)
    for reason, n in ledger["reason"].value_counts().items():
        log.info("  %d: %s", n, reason)
    write_csv(output.ledger, ledger, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.params.select)
