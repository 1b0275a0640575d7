rule correlate:
    input:
        signatures=rules.ingest.output.signatures,
        apc=rules.compute_apc.output.apc,
        values=rules.gather_values.output.values,
    output:
        correlations=report(
            f"{RESULTS}/{{target}}/correlations.csv",
            category="DVGS and APC",
            labels={"target": "{target}"},
            caption="../report/correlations.rst",
        ),
    log:
        f"{LOGS}/correlate-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/correlate-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 1),
        runtime=foreseen("correlate"),
    params:
        similarity=config["score"]["similarity"],
        bootstrap=config["statistics"]["bootstrap"],
        seed=config["seed"],
    script:
        "../../scripts/correlate.py"


if SIMULATED:

    rule evaluate_truth:
        input:
            truth=(
                rules.simulate_release.output.truth_profiles
                if KIND == "level4"
                else rules.simulate_release.output.truth_signatures
            ),
            signatures=rules.ingest.output.signatures,
            values=rules.gather_values.output.values,
            baselines=BASELINES,
        output:
            truth=report(
                f"{RESULTS}/{{target}}/truth.csv",
                category="Planted faults",
                labels={"target": "{target}"},
                caption="../report/truth.rst",
            ),
        log:
            f"{LOGS}/evaluate_truth-{{target}}.log",
        benchmark:
            f"{BENCHMARKS}/evaluate_truth-{{target}}.tsv"
        conda:
            "../../envs/dvgs.yaml"
        threads: 1
        resources:
            mem_mb=memory(1000, 1),
            runtime=foreseen("correlate"),
        params:
            bootstrap=config["statistics"]["bootstrap"],
            seed=config["seed"],
        script:
            "../../scripts/evaluate_truth.py"


rule write_report:
    input:
        signatures=rules.ingest.output.signatures,
        ledger=rules.ingest.output.ledger,
        replicate_ledger=rules.compute_apc.output.replicate_ledger,
        apc=rules.compute_apc.output.apc,
        values=expand(rules.gather_values.output.values, target=TARGETS),
        convergence=expand(rules.gather_values.output.convergence, target=TARGETS),
        curves=expand(rules.gather_curves.output.curves, target=TARGETS),
        correlations=expand(rules.correlate.output.correlations, target=TARGETS),
        decisions=expand(rules.clean.output.decision, target=TARGETS),
        cleaned=rules.embed.output.cleaned,
        dropped=expand(rules.clean.output.dropped, target=TARGETS),
        truth=(
            expand(rules.evaluate_truth.output.truth, target=TARGETS)
            if SIMULATED
            else []
        ),
        drug_targets=DRUG_TARGETS,
    output:
        page=report(
            f"{RESULTS}/report.html", category="Report", caption="../report/page.rst"
        ),
        summary=f"{RESULTS}/summary.txt",
    log:
        f"{LOGS}/write_report.log",
    benchmark:
        f"{BENCHMARKS}/write_report.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 0.5),
        runtime=foreseen("write_report"),
    params:
        config=config,
    script:
        "../../scripts/write_report.py"
