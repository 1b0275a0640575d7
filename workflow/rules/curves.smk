rule trace_curve:
    input:
        signatures=rules.ingest.output.signatures,
        scaling=rules.draw_split.output.scaling,
        values=rules.gather_values.output.values,
        baselines=BASELINES,
    output:
        curves=f"{RESULTS}/{{target}}/curves/{{shard}}.csv",
    log:
        f"{LOGS}/trace_curve-{{target}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/trace_curve-{{target}}-{{shard}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(2500, 1.2),
        runtime=foreseen("trace_curve"),
    params:
        similarity=config["score"]["similarity"],
        methods=METHODS,
        quantiles=QUANTILES,
        replicates=lambda wildcards: CURVE_SHARDS[int(wildcards.shard)],
        training={
            k: config["curves"][k]
            for k in ("budget", "epochs", "batch_size", "learning_rate")
        },
        model=config["model"],
        device=config["device"],
        seed=config["seed"],
    script:
        "../../scripts/trace_curve.py"


rule gather_curves:
    input:
        curves=expand(
            rules.trace_curve.output.curves,
            shard=range(len(CURVE_SHARDS)),
            allow_missing=True,
        ),
    output:
        curves=report(
            f"{RESULTS}/{{target}}/curves.csv",
            category="Filter curves",
            labels={"target": "{target}"},
            caption="../report/curves.rst",
        ),
    log:
        f"{LOGS}/gather_curves-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/gather_curves-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(500),
        runtime=foreseen("gather_curves"),
    script:
        "../../scripts/gather_curves.py"
