# The effects of settings, size and time on DVGS. These rules have targets of their own, and use those studies of the
# preset that ask for them.
rule value_grid:
    input:
        drawn=f"{STUDIED}/{{study}}/drawn/0.npz",
    output:
        found=f"{STUDIED}/{{study}}/grid/{{shard}}.csv",
    log:
        f"{STUDY_LOGS}/value_grid-{{study}}-{{shard}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/value_grid-{{study}}-{{shard}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(2000, 6),
        runtime=minutes(120),
    params:
        grid=lambda wildcards: study_of(wildcards)["hyperparameters"],
        hidden=lambda wildcards: study_of(wildcards)["hidden"],
        n_shards=lambda wildcards: len(grid_shards(wildcards)),
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/value_grid.py"


rule gather_grid:
    input:
        shards=lambda wildcards: expand(
            rules.value_grid.output.found,
            study=wildcards.study,
            shard=grid_shards(wildcards),
        ),
    output:
        settings=f"{STUDIED}/{{study}}/hyperparameters.csv",
        effects=f"{STUDIED}/{{study}}/hyperparameter_effects.csv",
        summary=f"{STUDIED}/{{study}}/hyperparameter_summary.csv",
        picture=f"{STUDIED}/{{study}}/hyperparameters.svg",
    log:
        f"{STUDY_LOGS}/gather_grid-{{study}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/gather_grid-{{study}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        grid=lambda wildcards: study_of(wildcards)["hyperparameters"],
        n_bootstrap=config["statistics"]["bootstrap"],
        seed=config["seed"],
    script:
        "../../scripts/gather_grid.py"


rule hyperparameters:
    input:
        expand(rules.gather_grid.output.settings, study=studies_with("hyperparameters")),


rule measure_scalability:
    input:
        unpack(data_of),
    output:
        measured=f"{STUDIED}/{{study}}/scalability/{{replicate}}.csv",
    log:
        f"{STUDY_LOGS}/measure_scalability-{{study}}-{{replicate}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/measure_scalability-{{study}}-{{replicate}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 20),
        runtime=minutes(120),
    params:
        study=study_of,
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/measure_scalability.py"


rule gather_scalability:
    input:
        measured=lambda wildcards: expand(
            rules.measure_scalability.output.measured,
            study=wildcards.study,
            replicate=range(study_of(wildcards)["scalability"]["replicates"]),
        ),
    output:
        measured=f"{STUDIED}/{{study}}/scalability.csv",
        slopes=f"{STUDIED}/{{study}}/scalability_slopes.csv",
        quality=f"{STUDIED}/{{study}}/scalability_quality.csv",
        picture=f"{STUDIED}/{{study}}/scalability.svg",
    log:
        f"{STUDY_LOGS}/gather_scalability-{{study}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/gather_scalability-{{study}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    script:
        "../../scripts/gather_scalability.py"


rule scalability:
    input:
        expand(
            rules.gather_scalability.output.measured, study=studies_with("scalability")
        ),


# It uses the finished studies, so that it never starts one.
rule run_times:
    input:
        detection=finished(rules.gather_study.output.detection),
        seconds=finished(rules.gather_study.output.seconds),
    output:
        table=f"{STUDIED}/run_times.csv",
        picture=f"{STUDIED}/run_times.svg",
    log:
        f"{STUDY_LOGS}/run_times.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/run_times.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    script:
        "../../scripts/compare_run_times.py"
