DOWNLOADS = config.get("input", {}).get("download", {})

# Only a missing file has a rule. If an existing file had one, Snakemake would remove the file and run the rule again when
# the config or a script has changed, and nobody wants to download 89 GB twice.
for name, source in DOWNLOADS.items():
    if not Path(INPUT[name]).exists():

        rule:
            name:
                f"download_{name}"
            output:
                INPUT[name],
            log:
                f"{LOGS}/download_{name}.log",
            benchmark:
                f"{BENCHMARKS}/download_{name}.tsv"
            localrule: True  # the nodes of many clusters have no network
            conda:
                "../../envs/dvgs.yaml"
            threads: 1
            resources:
                mem_mb=memory(500),
                runtime=minutes(24 * 60),
            params:
                source=source,
                field=f"input.download.{name}",
            script:
                "../../scripts/download.py"


if DOWNLOADS:

    # Only the downloads, for a machine with a network when the nodes of the cluster have none.
    rule download:
        input:
            [INPUT[name] for name in DOWNLOADS],
