from snakemake.utils import min_version

min_version("9.0")


include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        rules.report.input,
