# The truth stands apart: nothing before evaluate_truth may read it.
TRUTH = f"resources/{config['compendium']}/truth"

if SIMULATED:

    rule simulate_release:
        output:
            level5=INPUT["level5"],
            level4=INPUT["level4"],
            siginfo=INPUT["siginfo"],
            geneinfo=INPUT["geneinfo"],
            instinfo=INPUT["instinfo"],
            compoundinfo=INPUT["compoundinfo"],
            truth_signatures=f"{TRUTH}/signatures.tsv",
            truth_profiles=f"{TRUTH}/profiles.tsv",
        log:
            f"{LOGS}/simulate_release.log",
        benchmark:
            f"{BENCHMARKS}/simulate_release.tsv"
        conda:
            "../../envs/dvgs.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: int(
                (1000 + 0.1 * config["simulation"]["n_signatures"]) * attempt
            ),
            runtime=lambda wildcards, attempt: ceil(
                (10 + config["simulation"]["n_signatures"] / 1000) * attempt
            ),
        params:
            simulation=config["simulation"],
            seed=config["seed"],
        script:
            "../../scripts/simulate_release.py"
