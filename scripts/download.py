"""Download a file of the release; a download that was interrupted goes on."""

from dvgs.io.transfer import download
from dvgs.workflow.job import job

if __name__ == "__main__":
    with job(snakemake):
        download(**snakemake.params.source, path=snakemake.output[0], field=snakemake.params.field)
