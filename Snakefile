from snakemake.utils import min_version

min_version("9.0")


include: "workflow/Snakefile"


# Rules that come in by include are never the default target, so the door has one of its own.
rule default:
    default_target: True
    input:
        rules.all.input,
