rule train_trajectory:
    input:
        signatures=rules.ingest.output.signatures,
        split=rules.draw_split.output.split,
        scaling=rules.draw_split.output.scaling,
    output:
        first=f"{RESULTS}/{{target}}/trajectory_first.h5",
        second=f"{RESULTS}/{{target}}/trajectory_second.h5",
    log:
        f"{LOGS}/train_trajectory-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/train_trajectory-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        # Natural gradients need some matrices with as many rows and columns as there are genes.
        mem_mb=memory(5500 if config["trajectory"]["natural"] else 2500, 0.1),
        runtime=foreseen("train_trajectory"),
    params:
        model=config["model"],
        trajectory=config["trajectory"],
        device=config["device"],
        seed=config["seed"],
    script:
        "../../scripts/train_trajectory.py"


rule score_shard:
    input:
        signatures=rules.ingest.output.signatures,
        split=rules.draw_split.output.split,
        scaling=rules.draw_split.output.scaling,
        first=rules.train_trajectory.output.first,
        second=rules.train_trajectory.output.second,
    output:
        values=f"{RESULTS}/{{target}}/shards/{{shard}}.parquet",
    log:
        f"{LOGS}/score_shard-{{target}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/score_shard-{{target}}-{{shard}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 0.1),
        runtime=foreseen("score_shard"),
    params:
        n_shards=len(SHARDS),
        precision=config["precision"],
        device=config["device"],
    script:
        "../../scripts/score_shard.py"


rule gather_values:
    input:
        split=rules.draw_split.output.split,
        shards=expand(rules.score_shard.output.values, shard=SHARDS, allow_missing=True),
    output:
        values=f"{RESULTS}/{{target}}/values.parquet",
        calibration=f"{RESULTS}/{{target}}/calibration.parquet",
        convergence=f"{RESULTS}/{{target}}/convergence.csv",
    log:
        f"{LOGS}/gather_values-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/gather_values-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 4),
        runtime=foreseen("gather_values"),
    script:
        "../../scripts/gather_values.py"


BASELINES = f"{RESULTS}/{{target}}/baselines.parquet"


# One job for all targets, because a target takes only half a minute.
rule value_baselines:
    input:
        signatures=rules.ingest.output.signatures,
        apc=rules.compute_apc.output.apc,
        splits=expand(rules.draw_split.output.split, target=TARGETS),
        scalings=expand(rules.draw_split.output.scaling, target=TARGETS),
        firsts=expand(rules.train_trajectory.output.first, target=TARGETS),
        seconds=expand(rules.train_trajectory.output.second, target=TARGETS),
    output:
        baselines=expand(BASELINES, target=TARGETS),
    log:
        f"{LOGS}/value_baselines.log",
    benchmark:
        f"{BENCHMARKS}/value_baselines.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(2500, 0.2),
        runtime=foreseen("value_baselines"),
    params:
        targets=TARGETS,
        seed=config["seed"],
    script:
        "../../scripts/value_baselines.py"


# Users ask for it by the name of its file. No rule depends on it.
rule value_by_method:
    input:
        signatures=rules.ingest.output.signatures,
        split=rules.draw_split.output.split,
        scaling=rules.draw_split.output.scaling,
    output:
        values=f"{RESULTS}/{{target}}/methods/{{method}}.parquet",
    log:
        f"{LOGS}/value_by_method-{{target}}-{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/value_by_method-{{target}}-{{method}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 3),
        runtime=minutes(15 + 60 * config["most_hours"]),
    params:
        model=config["model"],
        most_hours=config["most_hours"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/value_by_method.py"
