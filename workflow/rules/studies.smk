# As in download.smk, only a missing file has a rule.
for name, files in FILES.items():
    for file, source in files.items():
        if not Path(DATA, name, file).exists():

            rule:
                name:
                    f"download_{name}_{list(files).index(file)}"
                output:
                    f"{DATA}/{name}/{file}",
                log:
                    f"{STUDY_LOGS}/download-{file}.log",
                benchmark:
                    f"{STUDY_BENCHMARKS}/download-{file}.tsv"
                localrule: True  # as in download.smk
                conda:
                    "../../envs/dvgs.yaml"
                threads: 1
                resources:
                    mem_mb=memory(500),
                    runtime=minutes(60),
                params:
                    source=source,
                    field=name,
                script:
                    "../../scripts/download.py"


rule draw_study:
    input:
        unpack(data_of),
    output:
        drawn=temp(f"{STUDIED}/{{study}}/drawn/{{replicate}}.npz"),
    log:
        f"{STUDY_LOGS}/draw_study-{{study}}-{{replicate}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/draw_study-{{study}}-{{replicate}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 20),
        runtime=minutes(30),
    params:
        study=study_of,
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/draw_study.py"


rule value_study:
    input:
        drawn=rules.draw_study.output.drawn,
    output:
        values=f"{STUDIED}/{{study}}/values/{{method}}-{{replicate}}.parquet",
        seconds=f"{STUDIED}/{{study}}/seconds/{{method}}-{{replicate}}.csv",
    log:
        f"{STUDY_LOGS}/value_study-{{study}}-{{method}}-{{replicate}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/value_study-{{study}}-{{method}}-{{replicate}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 6),
        runtime=lambda wildcards, attempt: int(
            (15 + 60 * study_of(wildcards)["most_hours"]) * attempt
        ),
    params:
        model=model_of,
        settings=lambda wildcards: study_of(wildcards)["methods"][wildcards.method],
        most_hours=lambda wildcards: study_of(wildcards)["most_hours"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/value_study.py"


rule trace_study:
    input:
        drawn=rules.draw_study.output.drawn,
        values=lambda wildcards: expand(
            rules.value_study.output.values,
            study=wildcards.study,
            replicate=wildcards.replicate,
            method=study_of(wildcards)["methods"],
        ),
    output:
        curves=f"{STUDIED}/{{study}}/curves/{{replicate}}.csv",
    log:
        f"{STUDY_LOGS}/trace_study-{{study}}-{{replicate}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/trace_study-{{study}}-{{replicate}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 6),
        runtime=minutes(480),
    params:
        methods=lambda wildcards: list(study_of(wildcards)["methods"]),
        model=model_of,
        curves=lambda wildcards: study_of(wildcards)["curves"],
        seed=config["seed"],
        device=config["device"],
    script:
        "../../scripts/trace_study.py"


rule gather_study:
    input:
        values=runs_of(rules.value_study.output.values),
        seconds=runs_of(rules.value_study.output.seconds),
        curves=lambda wildcards: expand(
            rules.trace_study.output.curves,
            study=wildcards.study,
            replicate=range(study_of(wildcards)["replicates"]),
        ),
    output:
        detection=f"{STUDIED}/{{study}}/detection.csv",
        summary=f"{STUDIED}/{{study}}/summary.csv",
        comparisons=f"{STUDIED}/{{study}}/comparisons.csv",
        seconds=f"{STUDIED}/{{study}}/seconds.csv",
        curves=f"{STUDIED}/{{study}}/curves.csv",
        bands=f"{STUDIED}/{{study}}/bands.csv",
        curve_comparisons=f"{STUDIED}/{{study}}/curve_comparisons.csv",
        picture=f"{STUDIED}/{{study}}/curves.svg",
    log:
        f"{STUDY_LOGS}/gather_study-{{study}}.log",
    benchmark:
        f"{STUDY_BENCHMARKS}/gather_study-{{study}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        methods=lambda wildcards: list(study_of(wildcards)["methods"]),
        n_replicates=lambda wildcards: study_of(wildcards)["replicates"],
    script:
        "../../scripts/gather_study.py"


rule studies:
    input:
        expand(rules.gather_study.output.summary, study=STUDIES),
