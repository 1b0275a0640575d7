"""Read the profiles and their tables; write the selected profiles, and the ledger of the others."""

from dvgs.compendium.ingestion import ingest
from dvgs.compendium.ledger import read_n_input
from dvgs.compendium.metadata import describe_profiles, describe_replicates, gene_table
from dvgs.compendium.selection import Selection
from dvgs.io.files import write_csv
from dvgs.io.formats import open_matrix
from dvgs.io.tables import read_geneinfo, read_instinfo, read_siginfo
from dvgs.progress import logger
from dvgs.workflow.job import job


def main(input, output, kind, select, columns, counts):
    with open_matrix(input[kind], f"input.{kind}") as matrix:
        if kind == "profiles":
            profiles, genes = describe_profiles(matrix, columns), gene_table(matrix)
        else:
            profiles, genes = read_siginfo(input.siginfo), read_geneinfo(input.geneinfo)
            if kind == "level4":
                profiles = describe_replicates(read_instinfo(input.instinfo), profiles)
        selection = {"pert_types": select["pert_type"]} | {k: select[k] for k in ("qc_pass", "genes", "bad_values")}
        ledger = ingest(output.signatures, matrix, profiles, genes, Selection(**selection, counts=counts))
    n_input = read_n_input(output.signatures)
    logger.info("%d of %d profiles are used", n_input - len(ledger), n_input)
    for reason, n in ledger["reason"].value_counts().items():
        logger.info("  %d: %s", n, reason)
    write_csv(output.ledger, ledger, sep="\t")


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
