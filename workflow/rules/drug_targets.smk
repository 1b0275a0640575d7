if "compoundinfo" in INPUT:

    rule compare_drug_targets:
        input:
            compoundinfo=INPUT["compoundinfo"],
            signatures=rules.ingest.output.signatures,
            scaling=rules.draw_split.output.scaling,
            values=rules.gather_values.output.values,
            baselines=BASELINES,
        output:
            table=report(
                f"{RESULTS}/{{target}}/drug_targets.csv",
                category="Drug targets",
                labels={"target": "{target}"},
                caption="../report/drug_targets.rst",
            ),
        log:
            f"{LOGS}/compare_drug_targets-{{target}}.log",
        benchmark:
            f"{BENCHMARKS}/compare_drug_targets-{{target}}.tsv"
        conda:
            "../../envs/dvgs.yaml"
        threads: config["threads"]
        resources:
            mem_mb=memory(3000, 1.2),
            runtime=foreseen("compare_drug_targets"),
        params:
            similarity=config["score"]["similarity"],
            settings=config["drug_targets"],
            bootstrap=config["statistics"]["bootstrap"],
            device=config["device"],
            seed=config["seed"],
        script:
            "../../scripts/compare_drug_targets.py"


DRUG_TARGETS = (
    expand(rules.compare_drug_targets.output.table, target=TARGETS)
    if "compoundinfo" in INPUT
    else []
)
