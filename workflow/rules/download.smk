DOWNLOADS = config.get("input", {}).get("download", {})

# A rule for every file that is missing, and none for one that is there: Snakemake would remove it and run the rule again
# when the config or a script has changed, and 89 GB are not to be fetched twice.
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

    # For clusters whose nodes have no network: the files alone, from a machine that has one.
    rule download:
        input:
            [INPUT[name] for name in DOWNLOADS],
