rule draw_split:
    input:
        signatures=rules.ingest.output.signatures,
        apc=rules.compute_apc.output.apc,
    output:
        split=f"{RESULTS}/{{target}}/split.parquet",
        scaling=f"{RESULTS}/{{target}}/scaling.parquet",
    log:
        f"{LOGS}/draw_split-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/draw_split-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, 0.2),
        runtime=foreseen("draw_split"),
    params:
        target=lambda wildcards: config["targets"][wildcards.target],
        scale=config["scale"],
        seed=config["seed"],
    script:
        "../../scripts/draw_split.py"
