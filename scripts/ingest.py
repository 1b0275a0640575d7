"""Read level 5 and its tables; write the selected signatures and the ledger of the others."""

import logging

from dvgs.compendium import ingest, write_h5ad
from dvgs.files import write_csv
from dvgs.gctx import GctxFile
from dvgs.jobs import job
from dvgs.tables import read_geneinfo, read_siginfo


def main(input, output, select):
    with GctxFile(input.level5, "input.level5") as level5:
        signatures, ledger = ingest(
            level5,
            read_siginfo(input.siginfo),
            read_geneinfo(input.geneinfo),
            pert_types=select["pert_type"],
            qc_pass=select["qc_pass"],
            genes=select["genes"],
        )
    log = logging.getLogger("dvgs")
    log.info("%d signatures x %d genes used, %d left out", *signatures.shape, len(ledger))
    for reason, n in ledger["reason"].value_counts().items():
        log.info("  %d: %s", n, reason)
    write_h5ad(output.signatures, signatures)
    write_csv(output.ledger, ledger, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.params.select)
